#include "lockstep/dropout/dropout.h"

#include <cmath>
#include <string>
#include <utility>

#include "lockstep/base/error.h"
#include "lockstep/base/float_mode.h"
#include "lockstep/dropout/dropout_internal.h"

namespace lockstep {
namespace {

constexpr std::int64_t kWords = std::int64_t{1} << 32;

[[noreturn]] void refuse(const char* operation, const char* what, std::string expected, std::string got,
                         ErrorCode code = ErrorCode::invalid_argument) {
  fail(code, {operation, what, std::move(expected), std::move(got), {}});
}

void check_extent(const char* operation, const char* name, std::int64_t extent) {
  if (extent < 0) refuse(operation, name, "0 or more", std::to_string(extent));
}

/// A counter's word; `count` numbers from `first` on must fit.
void check_word(const char* operation, const char* name, std::int64_t first, std::int64_t count = 1) {
  check_extent(operation, name, first);
  if (first > kWords - count)
    refuse(operation, name, "at most 2^32 - 1", std::to_string(first + count - 1), ErrorCode::unsupported);
}

void check_memory(const char* operation, const char* name, const void* data, std::int64_t elements) {
  if (data == nullptr && elements > 0)
    refuse(operation, name, std::to_string(elements) + " elements of memory", "a null pointer");
}

void check_device(const char* operation, Device device) {
  if (device == Device::cpu) return;
  if (device == Device::cuda)
    fail(ErrorCode::unsupported,
         {operation, "device", "Device::cpu", "Device::cuda", "Copy the memory to the CPU."});
  refuse(operation, "device", "Device::cpu or Device::cuda", "another number");
}

dropout_draws::Call checked(const char* operation, std::int64_t samples, std::int64_t elements, double p,
                            const DropoutDraw& draw, Device device) {
  check_extent(operation, "samples", samples);
  check_extent(operation, "elements", elements);
  if (elements > 4 * kWords)
    refuse(operation, "elements", "at most 2^34", std::to_string(elements), ErrorCode::unsupported);
  if (!(p >= 0 && p <= 1)) refuse(operation, "p", "a probability in [0, 1]", std::to_string(p));
  check_word(operation, "draw.stream", draw.stream);
  check_word(operation, "draw.step", draw.step);
  check_word(operation, "draw.first_sample", draw.first_sample, samples > 0 ? samples : 1);
  check_device(operation, device);
  const FloatMode mode;
  const auto word = [](std::int64_t value) { return static_cast<std::uint32_t>(value); };
  return {nullptr,
          nullptr,
          nullptr,
          samples,
          elements,
          draw.seed,
          word(draw.stream),
          word(draw.step),
          word(draw.first_sample),
          static_cast<std::uint64_t>(p * 0x1p32),
          static_cast<float>(1 / (1 - p))};
}

}  // namespace

void dropout(const float* x, float* y, std::int64_t samples, std::int64_t elements, double p,
             const DropoutDraw& draw, Device device, void*) {
  dropout_draws::Call call = checked("dropout", samples, elements, p, draw, device);
  check_memory("dropout", "x", x, samples * elements);
  check_memory("dropout", "y", y, samples * elements);
  call.x = x;
  call.y = y;
  dropout_draws::run_cpu(call);
}

void dropout_mask(std::uint8_t* keeps, std::int64_t samples, std::int64_t elements, double p,
                  const DropoutDraw& draw, Device device, void*) {
  dropout_draws::Call call = checked("dropout_mask", samples, elements, p, draw, device);
  check_memory("dropout_mask", "keeps", keeps, samples * elements);
  call.keeps = keeps;
  dropout_draws::run_cpu(call);
}

}  // namespace lockstep
