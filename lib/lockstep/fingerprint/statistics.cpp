#include "lockstep/fingerprint/statistics.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "lockstep/base/error.h"
#include "lockstep/order/lanes.h"

namespace lockstep::fingerprint {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class T>
T load(const std::uint8_t* data, std::int64_t j) {
  T value{};
  std::memcpy(&value, data + static_cast<std::size_t>(j) * sizeof(T), sizeof(T));
  return value;
}

template <class T>
struct Number {
  double operator()(const std::uint8_t* data, std::int64_t j) const { return static_cast<double>(load<T>(data, j)); }
};

struct Truth {
  double operator()(const std::uint8_t* data, std::int64_t j) const { return data[j] != 0 ? 1 : 0; }
};

struct Brain {
  double operator()(const std::uint8_t* data, std::int64_t j) const {
    return std::bit_cast<float>(std::uint32_t{load<std::uint16_t>(data, j)} << 16);
  }
};

struct Half {
  double operator()(const std::uint8_t* data, std::int64_t j) const {
    const std::uint32_t bits = load<std::uint16_t>(data, j);
    const int exponent = static_cast<int>(bits >> 10 & 31);
    const double fraction = bits & 1023;
    double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) magnitude = fraction == 0 ? kInfinity : kNaN;
    return bits >> 15 != 0 ? -magnitude : magnitude;
  }
};

/// What one sample contributes. Sums run over its finite elements.
struct Sample {
  std::int64_t finite = 0, nans = 0, infinities = 0;
  double sum = 0, squares = 0, mean = 0, m2 = 0, min = kInfinity, max = -kInfinity;
};

/// Of equal values the first stands: only the sign of a zero can show it.
template <class Value>
double first_zero(const std::uint8_t* data, std::int64_t n, Value value) {
  for (std::int64_t j = 0; j < n; ++j) {
    if (const double x = value(data, j); x == 0) return x;
  }
  return 0;
}

template <class Value>
Sample reduce(const std::uint8_t* data, std::int64_t n, Value value) {
  Sample sample;
  for (std::int64_t j = 0; j < n; ++j) {
    const double x = value(data, j);
    if (std::isfinite(x)) {
      ++sample.finite;
      if (x < sample.min) sample.min = x;
      if (x > sample.max) sample.max = x;
    } else {
      std::isnan(x) ? ++sample.nans : ++sample.infinities;
    }
  }
  if (sample.finite == 0) return sample;
  const auto finite_or_zero = [&](std::int64_t j) {
    const double x = value(data, j);
    return std::isfinite(x) ? x : 0.0;
  };
  sample.sum = order::lane_sum<double>(n, finite_or_zero);
  sample.squares = order::lane_sum<double>(n, [&](std::int64_t j) {
    const double x = finite_or_zero(j);
    return x * x;
  });
  sample.mean = sample.sum / static_cast<double>(sample.finite);
  sample.m2 = order::lane_sum<double>(n, [&](std::int64_t j) {
    const double x = value(data, j);
    const double distance = x - sample.mean;
    return std::isfinite(x) ? distance * distance : 0.0;
  });
  return sample;
}

Sample reduce(const std::uint8_t* data, std::int64_t n, DType dtype) {
  switch (dtype) {
    case DType::boolean:
      return reduce(data, n, Truth());
    case DType::uint8:
      return reduce(data, n, Number<std::uint8_t>());
    case DType::int8:
      return reduce(data, n, Number<std::int8_t>());
    case DType::uint16:
      return reduce(data, n, Number<std::uint16_t>());
    case DType::int16:
      return reduce(data, n, Number<std::int16_t>());
    case DType::uint32:
      return reduce(data, n, Number<std::uint32_t>());
    case DType::int32:
      return reduce(data, n, Number<std::int32_t>());
    case DType::uint64:
      return reduce(data, n, Number<std::uint64_t>());
    case DType::int64:
      return reduce(data, n, Number<std::int64_t>());
    case DType::float16:
      return reduce(data, n, Half());
    case DType::bfloat16:
      return reduce(data, n, Brain());
    case DType::float32:
      return reduce(data, n, Number<float>());
    case DType::float64:
      return reduce(data, n, Number<double>());
  }
  fail(ErrorCode::internal, {"statistics", "dtype", "a known one", std::to_string(static_cast<int>(dtype)), {}});
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
  for (std::int64_t s = 0; s < count; ++s, data += stride) {
    const Sample sample = reduce(data, n, samples.dtype);
    count_ += n, nan_count_ += sample.nans, inf_count_ += sample.infinities;
    if (sample.finite == 0) continue;
    const auto before = static_cast<double>(finite_count_);
    const auto own = static_cast<double>(sample.finite);
    finite_count_ += sample.finite;
    const auto all = static_cast<double>(finite_count_);
    const double distance = sample.mean - mean_;
    if (before == 0) {
      mean_ = sample.mean, m2_ = sample.m2, min_ = sample.min, max_ = sample.max;
    } else {
      mean_ += distance * (own / all);
      m2_ = m2_ + sample.m2 + distance * distance * (before * (own / all));
      if (sample.min < min_) min_ = sample.min;
      if (sample.max > max_) max_ = sample.max;
    }
    sum_ += sample.sum, squares_ += sample.squares;
  }
}

Statistics StatisticsAccumulator::finish() const {
  const bool any = finite_count_ > 0;
  const auto n = static_cast<double>(finite_count_);
  Statistics result;
  result.count = count_, result.nan_count = nan_count_, result.inf_count = inf_count_;
  result.sum = sum_;
  result.mean = any ? sum_ / n : kNaN;
  result.std = finite_count_ > 1 ? std::sqrt(m2_ / (n - 1)) : kNaN;
  result.min = any ? min_ : kNaN;
  result.max = any ? max_ : kNaN;
  result.norm = std::sqrt(squares_);
  return result;
}

Statistics statistics(const ConstView& tensor) {
  StatisticsAccumulator accumulator;
  accumulator.add(tensor);
  return accumulator.finish();
}

}  // namespace lockstep::fingerprint
