#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "lockstep/record/compare_values_internal.h"

namespace lockstep::record {
namespace {

struct FloatFormat {
  int bits;
  std::uint64_t infinity;  ///< also the mask of the exponent
  std::uint64_t quiet_nan;
};

FloatFormat float_format(DType dtype) {
  switch (dtype) {
    case DType::float16:
      return {16, 0x7c00, 0x7e00};
    case DType::bfloat16:
      return {16, 0x7f80, 0x7fc0};
    case DType::float64:
      return {64, 0x7ff0000000000000, 0x7ff8000000000000};
    default:
      return {32, 0x7f800000, 0x7fc00000};
  }
}

std::uint64_t magnitude(std::uint64_t bits, const FloatFormat& format) {
  return bits & ~(std::uint64_t{1} << (format.bits - 1));
}

bool is_nan(std::uint64_t bits, DType dtype) {
  const FloatFormat format = float_format(dtype);
  return magnitude(bits, format) > format.infinity;
}

double float16_value(std::uint64_t bits) {
  const int exponent = static_cast<int>((bits >> 10) & 0x1f);
  const auto fraction = static_cast<double>(bits & 0x3ff);
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  if (exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

bool is_signed(DType dtype) {
  return dtype == DType::int8 || dtype == DType::int16 || dtype == DType::int32 || dtype == DType::int64;
}

std::int64_t signed_value(std::uint64_t bits, DType dtype) {
  const int shift = 64 - 8 * static_cast<int>(dtype_bytes(dtype));
  return static_cast<std::int64_t>(bits << shift) >> shift;
}

std::uint64_t integer_distance(std::uint64_t a, std::uint64_t b, DType dtype) {
  if (!is_signed(dtype)) return a > b ? a - b : b - a;
  const std::int64_t left = signed_value(a, dtype), right = signed_value(b, dtype);
  const auto difference = static_cast<std::uint64_t>(left) - static_cast<std::uint64_t>(right);
  return left > right ? difference : 0 - difference;
}

}  // namespace

std::uint64_t element_bits(std::string_view bytes, DType dtype, std::int64_t element) {
  const std::size_t size = dtype_bytes(dtype);
  std::uint64_t bits = 0;
  for (std::size_t i = size; i-- > 0;) {
    bits = bits << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(element) * size + i]);
  }
  if (is_floating_point(dtype) && is_nan(bits, dtype)) return float_format(dtype).quiet_nan;
  return bits;
}

double float_value(std::uint64_t bits, DType dtype) {
  if (dtype == DType::float64) return std::bit_cast<double>(bits);
  if (dtype == DType::float16) return float16_value(bits);
  const auto word = static_cast<std::uint32_t>(bits);
  return std::bit_cast<float>(dtype == DType::bfloat16 ? word << 16 : word);
}

std::string value_text(std::uint64_t bits, DType dtype) {
  if (is_floating_point(dtype)) {
    if (is_nan(bits, dtype)) return "nan";
    const double value = float_value(bits, dtype);
    return dtype == DType::float64 ? fmt::format("{}", value) : fmt::format("{}", static_cast<float>(value));
  }
  if (dtype == DType::boolean) return bits ? "true" : "false";
  return is_signed(dtype) ? fmt::format("{}", signed_value(bits, dtype)) : fmt::format("{}", bits);
}

std::string bits_text(std::uint64_t bits, DType dtype) {
  return fmt::format("0x{:0{}x}", bits, 2 * dtype_bytes(dtype));
}

std::optional<std::uint64_t> distance(std::uint64_t a, std::uint64_t b, DType dtype) {
  if (!is_floating_point(dtype)) return integer_distance(a, b, dtype);
  if (is_nan(a, dtype) || is_nan(b, dtype)) return std::nullopt;
  const FloatFormat format = float_format(dtype);
  const std::uint64_t left = magnitude(a, format), right = magnitude(b, format);
  const bool same_sign = (a >> (format.bits - 1)) == (b >> (format.bits - 1));
  if (!same_sign) return left + right;
  return left > right ? left - right : right - left;
}

bool agree(std::uint64_t a, std::uint64_t b, DType dtype, const Tolerance& tolerance) {
  if (a == b) return true;
  if (!is_floating_point(dtype)) return false;
  if (is_nan(a, dtype) || is_nan(b, dtype)) return is_nan(a, dtype) && is_nan(b, dtype);
  if (tolerance.exact()) return false;
  const double left = float_value(a, dtype), right = float_value(b, dtype);
  if (std::isinf(left) || std::isinf(right)) return left == right;
  return std::abs(left - right) <=
         tolerance.atol + tolerance.rtol * std::max(std::abs(left), std::abs(right));
}

ValueComparison compare_values(std::string_view a, std::string_view b, DType dtype,
                               const Tolerance& tolerance) {
  ValueComparison result;
  result.elements = static_cast<std::int64_t>(std::min(a.size(), b.size()) / dtype_bytes(dtype));
  for (std::int64_t i = 0; i < result.elements; ++i) {
    const std::uint64_t left = element_bits(a, dtype, i), right = element_bits(b, dtype, i);
    if (agree(left, right, dtype, tolerance)) continue;
    if (result.different++ == 0) {
      result.first = i;
      result.first_a = left, result.first_b = right;
    }
    const auto apart = distance(left, right, dtype);
    if (apart) result.largest_distance = std::max(result.largest_distance.value_or(0), *apart);
  }
  return result;
}

bool statistics_exclude(const fingerprint::Statistics& a, const fingerprint::Statistics& b,
                        const Tolerance& tolerance) {
  if (a.count != b.count || a.nan_count != b.nan_count || a.inf_count != b.inf_count) return true;
  const double largest = std::max({std::abs(a.min), std::abs(a.max), std::abs(b.min), std::abs(b.max)});
  // Each finite pair is at most `reach` apart, so minimum, maximum and mean are, but for the rounding of the
  // mean.
  const double reach = tolerance.atol + tolerance.rtol * largest;
  const double rounding = 1e-12 * largest * static_cast<double>(std::max<std::int64_t>(a.count, 1));
  const auto beyond = [](double x, double y, double limit) { return std::abs(x - y) > limit; };
  return beyond(a.min, b.min, reach) || beyond(a.max, b.max, reach) ||
         beyond(a.mean, b.mean, reach + rounding);
}

}  // namespace lockstep::record
