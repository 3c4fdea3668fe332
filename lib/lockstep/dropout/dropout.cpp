#include "lockstep/dropout/dropout.h"

#include <cmath>
#include <string>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/base/float_mode.h"
#include "lockstep/dropout/dropout_internal.h"

namespace lockstep {
namespace {

constexpr std::int64_t kWords = std::int64_t{1} << 32;

using internal::check_device;
using internal::check_extent;
using internal::check_memory;
using internal::refuse;

/// A counter's word; `count` numbers from `first` on must fit.
void check_word(const char* operation, const char* name, std::int64_t first, std::int64_t count = 1) {
  check_extent(operation, name, first);
  if (first > kWords - count)
    refuse(operation, name, "at most 2^32 - 1", std::to_string(first + count - 1), ErrorCode::unsupported);
}

void check(const char* operation, std::int64_t samples, std::int64_t elements, double p,
           const DropoutDraw& draw) {
  check_extent(operation, "samples", samples);
  check_extent(operation, "elements", elements);
  if (elements > 4 * kWords)
    refuse(operation, "elements", "at most 2^34", std::to_string(elements), ErrorCode::unsupported);
  if (!(p >= 0 && p <= 1)) refuse(operation, "p", "a probability in [0, 1]", std::to_string(p));
  check_word(operation, "draw.stream", draw.stream);
  check_word(operation, "draw.step", draw.step);
  check_word(operation, "draw.first_sample", draw.first_sample, samples > 0 ? samples : 1);
}

dropout_draws::Call call_of(std::int64_t samples, std::int64_t elements, double p, const DropoutDraw& draw) {
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

void compute(const char* operation, const dropout_draws::Call& call, Device device, void* stream) {
  internal::check_any_device(operation, device);
  if (device == Device::cuda) return dropout_draws::run_cuda(call, stream);
  dropout_draws::run_cpu(call);
}

void check_arrays(const void* x, const void* y, std::int64_t count) {
  check_memory("dropout", "x", x, count);
  check_memory("dropout", "y", y, count);
}

}  // namespace

void dropout(const float* x, float* y, std::int64_t samples, std::int64_t elements, double p,
             const DropoutDraw& draw, Device device, void* stream) {
  check("dropout", samples, elements, p, draw);
  check_arrays(x, y, samples * elements);
  dropout_draws::Call call = call_of(samples, elements, p, draw);
  call.x = x;
  call.y = y;
  compute("dropout", call, device, stream);
}

void dropout(const double* x, double* y, std::int64_t samples, std::int64_t elements, double p,
             const DropoutDraw& draw, Device device, void*) {
  check("dropout", samples, elements, p, draw);
  check_device("dropout", device);
  check_arrays(x, y, samples * elements);
  dropout_draws::run_cpu(x, y, samples, elements, p, draw);
}

void dropout_mask(std::uint8_t* keeps, std::int64_t samples, std::int64_t elements, double p,
                  const DropoutDraw& draw, Device device, void* stream) {
  check("dropout_mask", samples, elements, p, draw);
  check_memory("dropout_mask", "keeps", keeps, samples * elements);
  dropout_draws::Call call = call_of(samples, elements, p, draw);
  call.keeps = keeps;
  compute("dropout_mask", call, device, stream);
}

}  // namespace lockstep
