#include "lockstep/fingerprint/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "lockstep/base/error.h"
#include "lockstep/base/float_mode.h"
#include "lockstep/fingerprint/kernel_internal.h"
#include "lockstep/fingerprint/statistics_inl.h"
#include "lockstep/order/lanes.h"

namespace lockstep::fingerprint {
namespace {

using internal::SampleMoments;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class T, class Widen>
void widen_all(const std::uint8_t* source, std::size_t count, double* out, Widen widen) {
  for (std::size_t i = 0; i < count; ++i) {
    T value;
    std::memcpy(&value, source + i * sizeof(T), sizeof(T));
    out[i] = widen(value);
  }
}

template <class T>
void widen_numbers(const std::uint8_t* source, std::size_t count, double* out) {
  widen_all<T>(source, count, out, [](T value) { return static_cast<double>(value); });
}

/// Elements as doubles: exact for all types but 64-bit integers, which are rounded once.
void widen(const std::uint8_t* source, std::size_t count, DType dtype, double* out) {
  switch (dtype) {
    case DType::boolean:
      return widen_all<std::uint8_t>(source, count, out,
                                     [](std::uint8_t byte) { return byte != 0 ? 1.0 : 0.0; });
    case DType::uint8:
      return widen_numbers<std::uint8_t>(source, count, out);
    case DType::int8:
      return widen_numbers<std::int8_t>(source, count, out);
    case DType::uint16:
      return widen_numbers<std::uint16_t>(source, count, out);
    case DType::int16:
      return widen_numbers<std::int16_t>(source, count, out);
    case DType::uint32:
      return widen_numbers<std::uint32_t>(source, count, out);
    case DType::int32:
      return widen_numbers<std::int32_t>(source, count, out);
    case DType::uint64:
      return widen_numbers<std::uint64_t>(source, count, out);
    case DType::int64:
      return widen_numbers<std::int64_t>(source, count, out);
    case DType::float16:
      return widen_all<std::uint16_t>(source, count, out, internal::widen_float16);
    case DType::bfloat16:
      return widen_all<std::uint16_t>(source, count, out, internal::widen_bfloat16);
    case DType::float32:
      return widen_numbers<float>(source, count, out);
    case DType::float64:
      return widen_numbers<double>(source, count, out);
  }
  fail(ErrorCode::corruption,
       {"statistics", "dtype", "a known one", std::to_string(static_cast<int>(dtype)), {}});
}

/// Elements in blocks of W, each element in its lane.
class Reducer {
 public:
  Reducer(const std::uint8_t* data, std::int64_t n, DType dtype)
      : data_(data),
        n_(static_cast<std::size_t>(n)),
        dtype_(dtype),
        bytes_(dtype_bytes(dtype)),
        lanes_(static_cast<std::size_t>(order::lane_count(n))),
        filled_(std::min(n_, lanes_)) {}

  SampleMoments reduce() {
    internal::Tally tally{kInfinity, -kInfinity, 0, 0};
    clear(sums_), clear(squares_);
    each_block(kernel_.float_moments, kernel_.double_moments, sums_, squares_, tally);
    if (tally.finite == 0) return {0, tally.nans, 0, 0, 0, 0, 0, 0};
    const double sum = total(sums_), squares = total(squares_);
    const double mean = sum / static_cast<double>(tally.finite);
    clear(squares_);
    each_block(kernel_.float_deviations, kernel_.double_deviations, mean,
               tally.finite == static_cast<std::int64_t>(n_), squares_);
    if (is_floating_point(dtype_)) settle_zeros(tally);
    return {tally.finite, tally.nans, sum, squares, mean, total(squares_), tally.min, tally.max};
  }

 private:
  const double* widened(std::size_t first, std::size_t count) {
    widen(data_ + first * bytes_, count, dtype_, block_);
    return block_;
  }
  /// fp32 is read where it lies, by a form of its own: short rows all at once, so that sums stay in
  /// registers, long ones block by block, as memory lies.
  template <class Form, class... Arguments>
  void each_block(Form float_form, Form double_form, Arguments&&... arguments) {
    std::size_t first = 0;
    if (dtype_ == DType::float32 && n_ <= order::kShortRow && n_ >= lanes_) {
      float_form(data_, n_ / lanes_, lanes_, lanes_, arguments...);
      first = n_ / lanes_ * lanes_;
    }
    for (; first < n_; first += lanes_) {
      const std::size_t count = std::min(lanes_, n_ - first);
      if (dtype_ == DType::float32)
        float_form(data_ + first * bytes_, 1, count, count, arguments...);
      else
        double_form(widened(first, count), 1, count, count, arguments...);
    }
  }
  void clear(double* lanes) const { std::fill_n(lanes, filled_, 0.0); }
  double total(double* lanes) const {
    return kernel_.total(lanes, static_cast<int>(lanes_), static_cast<int>(filled_));
  }
  // Of equal values the first stands; only the sign of a zero can show which.
  void settle_zeros(internal::Tally& tally) {
    if (tally.min != 0 && tally.max != 0) return;
    for (std::size_t first = 0; first < n_; first += lanes_) {
      const std::size_t count = std::min(lanes_, n_ - first);
      const double* const x = widened(first, count);
      const double* const zero = std::find(x, x + count, 0.0);
      if (zero == x + count) continue;
      if (tally.min == 0) tally.min = *zero;
      if (tally.max == 0) tally.max = *zero;
      return;
    }
  }

  const internal::Kernel& kernel_ = internal::kernel();
  const std::uint8_t* data_;
  std::size_t n_;
  DType dtype_;
  std::size_t bytes_, lanes_, filled_;
  alignas(64) double block_[order::kManyLanes];
  alignas(64) double sums_[order::kManyLanes];
  alignas(64) double squares_[order::kManyLanes];
};

SampleMoments reduce_one(const std::uint8_t* data, DType dtype) {
  double x = 0;
  widen(data, 1, dtype, &x);
  return internal::moments_of_one(x);
}

void fold(Moments& moments, const SampleMoments& sample, std::int64_t n) {
  moments.count += n;
  moments.nans += sample.nans;
  if (sample.finite == 0) return;
  const std::int64_t before = moments.finite;
  moments.finite += sample.finite;
  const double share = internal::share_of(sample.finite, moments.finite);
  const double distance = sample.mean - moments.mean;
  moments.mean = internal::mean_with(moments.mean, distance, share);
  moments.m2 += internal::m2_term(sample.m2, distance, internal::weight_of(before, share));
  moments.sum += sample.sum;
  moments.squares += sample.squares;
  if (sample.min < moments.min) moments.min = sample.min;
  if (sample.max > moments.max) moments.max = sample.max;
}

}  // namespace

void StatisticsAccumulator::add(const ConstView& samples) {
  if (samples.device != Device::cpu) {
    fail(ErrorCode::unsupported, {"statistics", "device", "cpu", "cuda", "Copy the tensor to the CPU first"});
  }
  const std::int64_t count = samples.shape.rank() == 0 ? 1 : samples.shape[0];
  if (count == 0 || samples.shape.elements() == 0) return;
  const std::int64_t n = samples.shape.elements() / count;
  const std::size_t stride = static_cast<std::size_t>(n) * dtype_bytes(samples.dtype);
  const auto* data = static_cast<const std::uint8_t*>(samples.data);
  const FloatMode mode;
  for (std::int64_t s = 0; s < count; ++s, data += stride)
    fold(moments_, n == 1 ? reduce_one(data, samples.dtype) : Reducer(data, n, samples.dtype).reduce(), n);
}

Statistics StatisticsAccumulator::finish() const { return fingerprint::finish(moments_); }

Statistics finish(const Moments& moments) {
  const FloatMode mode;
  const bool any = moments.finite > 0;
  const auto n = static_cast<double>(moments.finite);
  Statistics result;
  result.count = moments.count, result.nan_count = moments.nans;
  result.inf_count = moments.count - moments.finite - moments.nans;
  result.sum = moments.sum;
  result.mean = any ? moments.sum / n : kNaN;
  result.std = moments.finite > 1 ? std::sqrt(moments.m2 / (n - 1)) : kNaN;
  result.min = any ? moments.min : kNaN;
  result.max = any ? moments.max : kNaN;
  result.norm = std::sqrt(moments.squares);
  return result;
}

Statistics statistics(const ConstView& tensor) {
  StatisticsAccumulator accumulator;
  accumulator.add(tensor);
  return accumulator.finish();
}

}  // namespace lockstep::fingerprint
