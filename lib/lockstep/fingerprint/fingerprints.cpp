#include "lockstep/fingerprint/fingerprints.h"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/base/scratch_parts_internal.h"
#include "lockstep/fingerprint/fingerprints_cuda_internal.h"
#include "lockstep/fingerprint/kernel_internal.h"
#include "lockstep/fingerprint/statistics.h"

namespace lockstep::fingerprint {
namespace {

using internal::DeviceTensor;

void check(const FingerprintRequest& request, std::size_t index, Device device) {
  const auto refuse = [index](const char* what, std::string expected, std::string got) {
    lockstep::internal::refuse("fingerprints", "requests[" + std::to_string(index) + "]." + what,
                               std::move(expected), std::move(got));
  };
  const ConstView& tensor = request.tensor;
  const auto name = [](Device of) { return of == Device::cpu ? "Device::cpu" : "Device::cuda"; };
  if (tensor.device != device) refuse("tensor.device", name(device), name(tensor.device));
  if (request.first_sample < 0) refuse("first_sample", "0 or more", std::to_string(request.first_sample));
  if (tensor.data == nullptr && tensor.shape.elements() > 0)
    refuse("tensor.data", std::to_string(tensor.shape.elements()) + " elements of memory", "a null pointer");
  const std::size_t alignment = dtype_bytes(tensor.dtype);
  if (device == Device::cuda && reinterpret_cast<std::uintptr_t>(tensor.data) % alignment != 0)
    refuse("tensor.data", "memory at a multiple of " + std::to_string(alignment) + " bytes", "other memory");
}

Fingerprint fingerprint_on_cpu(const FingerprintRequest& request) {
  Fingerprint result;
  result.digest = digest_samples(request.tensor, request.first_sample);
  if (request.unordered) result.unordered = digest_samples_unordered(request.tensor);
  if (request.statistics) {
    StatisticsAccumulator accumulator;
    accumulator.add(request.tensor);
    result.moments = accumulator.moments();
  }
  return result;
}

/// The tensor with its part of the scratch; null results and scratch: only counts.
DeviceTensor device_tensor(const FingerprintRequest& request, Fingerprint* result,
                           lockstep::internal::ScratchParts& parts) {
  const ConstView& view = request.tensor;
  DeviceTensor tensor{};
  tensor.data = static_cast<const std::uint8_t*>(view.data);
  tensor.dtype = view.dtype;
  tensor.canon = internal::canon_of(view.dtype);
  tensor.samples = view.shape.rank() == 0 ? 1 : view.shape[0];
  if (tensor.samples > 0) {
    tensor.elements = view.shape.elements() / tensor.samples;
    tensor.bytes = tensor.elements * static_cast<std::int64_t>(dtype_bytes(view.dtype));
    tensor.first_word =
        static_cast<std::uint64_t>(request.first_sample) * static_cast<std::uint64_t>(tensor.words());
  }
  if (request.statistics && tensor.elements > 1) parts.take(tensor.of_samples, tensor.samples);
  if (result == nullptr) return tensor;
  tensor.digest = &result->digest.lane0;
  if (request.unordered) tensor.unordered = &result->unordered.lane0;
  if (request.statistics) tensor.moments = &result->moments;
  return tensor;
}

void fingerprint_on_cuda(std::span<const FingerprintRequest> requests, Fingerprint* results, void* scratch,
                         void* stream) {
  static_assert(offsetof(DigestSum, lane1) == sizeof(std::uint64_t), "lanes are written as an array");
  lockstep::internal::ScratchParts parts(scratch);
  std::vector<DeviceTensor> tensors;
  tensors.reserve(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i)
    tensors.push_back(device_tensor(requests[i], results + i, parts));
  internal::fingerprints_cuda(tensors.data(), tensors.size(), results, requests.size() * sizeof(Fingerprint),
                              stream);
}

}  // namespace

std::int64_t fingerprints_scratch_bytes(std::span<const FingerprintRequest> requests) {
  lockstep::internal::ScratchParts parts(nullptr);
  for (const FingerprintRequest& request : requests) device_tensor(request, nullptr, parts);
  return parts.bytes();
}

void fingerprints(std::span<const FingerprintRequest> requests, Fingerprint* results, void* scratch,
                  Device device, void* stream) {
  lockstep::internal::check_any_device("fingerprints", device);
  for (std::size_t i = 0; i < requests.size(); ++i) check(requests[i], i, device);
  if (requests.empty()) return;
  lockstep::internal::check_memory("fingerprints", "results", results,
                                   static_cast<std::int64_t>(requests.size()));
  if (device == Device::cpu) {
    for (std::size_t i = 0; i < requests.size(); ++i) results[i] = fingerprint_on_cpu(requests[i]);
    return;
  }
  lockstep::internal::check_memory("fingerprints", "scratch", scratch, fingerprints_scratch_bytes(requests));
  fingerprint_on_cuda(requests, results, scratch, stream);
}

}  // namespace lockstep::fingerprint
