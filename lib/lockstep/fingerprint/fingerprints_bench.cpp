// Fingerprints of all parameters of GPT-2 124M on a CUDA device, beside a copy of its memory.

#include <cstddef>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device_timing_internal.h"
#include "lockstep/fingerprint/fingerprints.h"

namespace {

using lockstep::Shape;
namespace fingerprint = lockstep::fingerprint;

std::vector<Shape> gpt2_parameters() {
  std::vector<Shape> shapes{{50257, 768}, {1024, 768}};
  for (int layer = 0; layer < 12; ++layer) {
    for (const Shape& shape :
         {Shape{768}, Shape{768}, Shape{2304, 768}, Shape{2304}, Shape{768, 768}, Shape{768}, Shape{768},
          Shape{768}, Shape{3072, 768}, Shape{3072}, Shape{768, 3072}, Shape{768}})
      shapes.push_back(shape);
  }
  shapes.insert(shapes.end(), {Shape{768}, Shape{768}});
  return shapes;
}

/// 256 bytes of other tensors' memory lie between two tensors.
std::size_t place_after(const Shape& shape) {
  return (static_cast<std::size_t>(shape.elements()) * sizeof(float) / 256 + 2) * 256;
}

std::vector<float> ordinary_numbers(std::size_t bytes) {
  std::vector<float> numbers(bytes / sizeof(float));
  std::uint32_t state = 1;
  for (float& number : numbers) {
    state = state * 1664525 + 1013904223;
    number = static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-36f;
  }
  return numbers;
}

void gpt2_on_device(benchmark::State& state) {
  if (lockstep::cuda_device_count() == 0) return state.SkipWithError(lockstep::cuda_trouble().c_str());
  const std::vector<Shape> shapes = gpt2_parameters();
  std::size_t held = 0, moved = 0;
  for (const Shape& shape : shapes) held += place_after(shape);
  lockstep::DeviceBuffer memory(held);
  memory.copy_from_host(ordinary_numbers(held).data());
  std::vector<fingerprint::FingerprintRequest> requests;
  std::size_t at = 0;
  for (const Shape& shape : shapes) {
    const auto* data = static_cast<const std::byte*>(memory.data()) + at;
    requests.push_back({{data, lockstep::DType::float32, shape, lockstep::Device::cuda}});
    requests.back().statistics = state.range(0) != 0;
    moved += requests.back().tensor.bytes();
    at += place_after(shape);
  }
  lockstep::DeviceBuffer results(requests.size() * sizeof(fingerprint::Fingerprint));
  lockstep::DeviceBuffer scratch(static_cast<std::size_t>(fingerprint::fingerprints_scratch_bytes(requests)) +
                                 1);
  lockstep::internal::time_beside_device_copy(state, moved, [&] {
    fingerprint::fingerprints(requests, static_cast<fingerprint::Fingerprint*>(results.data()),
                              scratch.data(), lockstep::Device::cuda);
  });
}

BENCHMARK(gpt2_on_device)->ArgName("statistics")->Arg(0)->Arg(1)->Iterations(1)->UseManualTime();

}  // namespace
