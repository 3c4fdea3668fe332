#pragma once
// The elementary functions of one float, for host and device (contracts, section 7). README.md holds what
// each promises; the vector forms and the arrays of math.h have the same bits. C++17; compile with
// contraction off.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "lockstep/base/host_device.h"
#include "lockstep/math/coefficients_inl.h"

namespace lockstep::math {
namespace internal {

// ---- The operations that elementary_inl.h is written in, for one number

template <class V>
LOCKSTEP_HOST_DEVICE inline V constant(V value) {
  return value;
}
template <class I>
LOCKSTEP_HOST_DEVICE inline I same(I, std::uint64_t value) {
  return static_cast<I>(value);
}
LOCKSTEP_HOST_DEVICE inline std::uint32_t bits(float x) {
  std::uint32_t word;
  std::memcpy(&word, &x, sizeof word);
  return word;
}
LOCKSTEP_HOST_DEVICE inline std::uint64_t bits(double x) {
  std::uint64_t word;
  std::memcpy(&word, &x, sizeof word);
  return word;
}
LOCKSTEP_HOST_DEVICE inline float from_bits(std::uint32_t word) {
  float x;
  std::memcpy(&x, &word, sizeof x);
  return x;
}
LOCKSTEP_HOST_DEVICE inline double from_bits(std::uint64_t word) {
  double x;
  std::memcpy(&x, &word, sizeof x);
  return x;
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V infinity() {
  return static_cast<V>(HUGE_VALF);
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V quiet_nan() {
  return static_cast<V>(from_bits(std::uint32_t{0x7fc00000}));
}

template <class V>
LOCKSTEP_HOST_DEVICE inline V add(V a, V b) {
  return a + b;
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V sub(V a, V b) {
  return a - b;
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V mul(V a, V b) {
  return a * b;
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V div(V a, V b) {
  return a / b;
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V fma(V a, V b, V c) {
  return std::fma(a, b, c);
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V negative_fma(V a, V b, V c) {
  return std::fma(-a, b, c);
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V negate(V a) {
  return -a;
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V abs(V a) {
  return std::fabs(a);
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V copysign(V magnitude, V sign) {
  return std::copysign(magnitude, sign);
}
/// a, its sign turned where that of `by` is set.
LOCKSTEP_HOST_DEVICE inline float flip_sign(float a, float by) {
  return from_bits(bits(a) ^ (bits(by) & 0x80000000u));
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V floor(V a) {
  return std::floor(a);
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V sqrt(V a) {
  return std::sqrt(a);
}

// Both give b where either is NaN.
template <class V>
LOCKSTEP_HOST_DEVICE inline V lesser(V a, V b) {
  return a < b ? a : b;
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V greater(V a, V b) {
  return a > b ? a : b;
}
template <class V>
LOCKSTEP_HOST_DEVICE inline bool less(V a, V b) {
  return a < b;
}
template <class V>
LOCKSTEP_HOST_DEVICE inline bool less_or_equal(V a, V b) {
  return a <= b;
}
template <class V>
LOCKSTEP_HOST_DEVICE inline bool equal(V a, V b) {
  return a == b;
}
template <class V>
LOCKSTEP_HOST_DEVICE inline V select(bool mask, V yes, V no) {
  return mask ? yes : no;
}
LOCKSTEP_HOST_DEVICE inline bool both(bool a, bool b) { return a && b; }
LOCKSTEP_HOST_DEVICE inline bool either(bool a, bool b) { return a || b; }

template <class I>
LOCKSTEP_HOST_DEVICE inline I plus(I a, I b) {
  return a + b;
}
template <class I>
LOCKSTEP_HOST_DEVICE inline I minus(I a, I b) {
  return a - b;
}
template <class I>
LOCKSTEP_HOST_DEVICE inline I both(I a, I b) {
  return a & b;
}
template <class I>
LOCKSTEP_HOST_DEVICE inline I either(I a, I b) {
  return a | b;
}
template <class I>
LOCKSTEP_HOST_DEVICE inline I differ(I a, I b) {
  return a ^ b;
}
template <int count, class I>
LOCKSTEP_HOST_DEVICE inline I shift_left(I a) {
  return a << count;
}
template <int count, class I>
LOCKSTEP_HOST_DEVICE inline I shift_right(I a) {
  return a >> count;
}
LOCKSTEP_HOST_DEVICE inline bool lowest_bit(std::uint64_t a) { return (a & 1) != 0; }

/// table[index mod 32].
template <class V>
LOCKSTEP_HOST_DEVICE inline V lookup(const float* table, std::uint32_t index) {
  return table[index & 31];
}

template <class Function>
LOCKSTEP_HOST_DEVICE inline float through_double(float x, Function function) {
  return static_cast<float>(function(static_cast<double>(x)));
}
template <class Function>
LOCKSTEP_HOST_DEVICE inline float through_double(float x, float y, Function function) {
  return static_cast<float>(function(static_cast<double>(x), static_cast<double>(y)));
}

/// p * 2^n with one rounding, for n of -151 … 129 that `shifted` holds and p of about 1: in two steps, of
/// which the first is exact.
LOCKSTEP_HOST_DEVICE inline float scale(float p, float shifted, float) {
  const std::int32_t n = static_cast<std::int32_t>(bits(shifted)) - 0x4b400000;
  const std::int32_t first = n >> 1;
  const auto power = [](std::int32_t k) { return from_bits(static_cast<std::uint32_t>(k + 127) << 23); };
  return p * power(first) * power(n - first);
}

#define LOCKSTEP_MATH_FUNCTION LOCKSTEP_HOST_DEVICE inline
#define LOCKSTEP_MATH_LAMBDA
#include "lockstep/math/elementary_inl.h"
#undef LOCKSTEP_MATH_LAMBDA
#undef LOCKSTEP_MATH_FUNCTION

/// exp for |x| <= 86, whose results are normal: the same bits by fewer operations.
LOCKSTEP_HOST_DEVICE inline float exp_normal(float x) {
  const Reduced<float> parts = reduce(x);
  const float p = add(1.0f, exp_less_one(whole(parts)));
  return from_bits(bits(p) + (bits(parts.shifted) << 23));  // n lies in the lowest bits
}

// ---- Sine and cosine of any size

constexpr float kTrigonometricLimit = 0x1p40f;

/// Bits 32 index + 1 … 32 index + 32 behind the point of 2 / pi.
LOCKSTEP_HOST_DEVICE inline std::uint64_t two_over_pi_word(int index) {
  switch (index) {
    case 0:
      return kTwoOverPiWord0;
    case 1:
      return kTwoOverPiWord1;
    case 2:
      return kTwoOverPiWord2;
    case 3:
      return kTwoOverPiWord3;
    case 4:
      return kTwoOverPiWord4;
    case 5:
      return kTwoOverPiWord5;
    default:
      return kTwoOverPiWord6;
  }
}

/// The sine or cosine of m 2^e with e of 1 … 104, by Payne and Hanek's reduction: of x 2 / pi only the bits
/// from the weight 2 down are formed, since multiples of 4 are whole turns.
LOCKSTEP_HOST_DEVICE inline double sine_large(std::uint32_t m, int e, std::uint64_t quarter) {
  const int skipped = e - 2;  // bits of 2 / pi whose products are whole turns
  const int word = skipped >= 0 ? skipped / 32 : 0;
  const int shift = skipped - 32 * word;
  const auto from = [&](int k) {  // 32 bits at skipped + 32 k
    const std::uint64_t two = two_over_pi_word(word + k) << 32 | two_over_pi_word(word + k + 1);
    return two << shift >> 32;
  };
  const std::uint64_t wide = m;
  // In units of 2^-62, modulo 4.
  const std::uint64_t turn = ((wide * from(0)) << 32) + wide * from(1) + (wide * from(2) >> 32);
  const std::uint64_t n = (turn + (std::uint64_t{1} << 61)) >> 62;
  const auto left = static_cast<std::int64_t>(turn - (n << 62));
  const double r = static_cast<double>(left) * 0x1p-62 * kHalfPiHigh;
  return sine_of(r, from_bits(bits(kWideRounder) + n + quarter));
}

/// Beyond kTrigonometricLimit.
LOCKSTEP_HOST_DEVICE inline float sine_beyond(float x, std::uint64_t quarter) {
  const std::uint32_t word = bits(x);
  const int exponent = static_cast<int>(word >> 23 & 255);
  if (exponent == 255) return quiet_nan<float>();
  const double size = sine_large((word & 0x7fffff) | 0x800000, exponent - 150, quarter);
  return static_cast<float>(quarter == 0 && x < 0 ? -size : size);
}

LOCKSTEP_HOST_DEVICE inline float sin(float x) {
  return std::fabs(x) >= kTrigonometricLimit ? sine_beyond(x, 0) : sin_within(x);
}
LOCKSTEP_HOST_DEVICE inline float cos(float x) {
  return std::fabs(x) >= kTrigonometricLimit ? sine_beyond(x, 1) : cos_within(x);
}

}  // namespace internal

/// e^x.
LOCKSTEP_HOST_DEVICE inline float exp(float x) { return internal::exp(x); }
/// 2^x.
LOCKSTEP_HOST_DEVICE inline float exp2(float x) { return internal::exp2(x); }
/// e^x - 1, accurate near 0.
LOCKSTEP_HOST_DEVICE inline float expm1(float x) { return internal::expm1(x); }
/// The natural logarithm; -inf at 0, NaN below.
LOCKSTEP_HOST_DEVICE inline float log(float x) { return internal::log(x); }
/// The logarithm to base 2.
LOCKSTEP_HOST_DEVICE inline float log2(float x) { return internal::log2(x); }
/// log(1 + x), accurate near 0; -inf at -1, NaN below.
LOCKSTEP_HOST_DEVICE inline float log1p(float x) { return internal::log1p(x); }
/// x^y, with the special cases of C's pow (ISO C, annex F.10.4.4).
LOCKSTEP_HOST_DEVICE inline float pow(float x, float y) { return internal::pow(x, y); }
LOCKSTEP_HOST_DEVICE inline float tanh(float x) { return internal::tanh(x); }
/// The error function, 2 / sqrt(pi) times the integral of e^(-t^2) over 0 … x.
LOCKSTEP_HOST_DEVICE inline float erf(float x) { return internal::erf(x); }
/// 1 / (1 + e^-x).
LOCKSTEP_HOST_DEVICE inline float sigmoid(float x) { return internal::sigmoid(x); }
/// The IEEE root, for callers that have it beside the others: one rounding.
LOCKSTEP_HOST_DEVICE inline float sqrt(float x) { return internal::sqrt(x); }
/// 1 / sqrt(x), two roundings.
LOCKSTEP_HOST_DEVICE inline float rsqrt(float x) { return internal::rsqrt(x); }
LOCKSTEP_HOST_DEVICE inline float sin(float x) { return internal::sin(x); }
LOCKSTEP_HOST_DEVICE inline float cos(float x) { return internal::cos(x); }

}  // namespace lockstep::math
