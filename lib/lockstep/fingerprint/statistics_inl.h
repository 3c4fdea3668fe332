#pragma once
// The arithmetic of the statistics (README, "Statistics") that the CPU and a CUDA device share. C++17.

#include <cmath>
#include <cstdint>
#include <cstring>

#include "lockstep/base/host_device.h"
#include "lockstep/fingerprint/moments.h"

namespace lockstep::fingerprint::internal {

/// What one sample contributes. Sums run over its finite elements; of none, only the counts mean something.
struct SampleMoments {
  std::int64_t finite, nans;
  double sum, squares, mean, m2, min, max;
};

/// Of a sample of one element: labels, biases.
LOCKSTEP_HOST_DEVICE inline SampleMoments moments_of_one(double x) {
  if (!std::isfinite(x)) return {0, std::isnan(x) ? 1 : 0, 0, 0, 0, 0, 0, 0};
  return {1, 0, 0 + x, x * x, 0 + x, 0, x, x};
}

// Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances (1979),
// with the sample as the second set: step by step, since a device takes the steps of many samples apart.

/// The sample's part of all that is finite so far, itself included.
LOCKSTEP_HOST_DEVICE inline double share_of(std::int64_t finite, std::int64_t with_it) {
  return static_cast<double>(finite) / static_cast<double>(with_it);
}
LOCKSTEP_HOST_DEVICE inline double weight_of(std::int64_t before, double share) {
  return static_cast<double>(before) * share;
}
LOCKSTEP_HOST_DEVICE inline double mean_with(double mean, double distance, double share) {
  return mean + distance * share;
}
LOCKSTEP_HOST_DEVICE inline double m2_term(double m2, double distance, double weight) {
  return m2 + distance * distance * weight;
}

LOCKSTEP_HOST_DEVICE inline float float_of_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

LOCKSTEP_HOST_DEVICE inline double widen_bfloat16(std::uint16_t bits) {
  return float_of_bits(std::uint32_t{bits} << 16);
}

LOCKSTEP_HOST_DEVICE inline double widen_float16(std::uint16_t bits) {
  // Exponent and fraction at fp32's place make a number 2^112 too small, subnormals included; what has the
  // largest exponent is no number, and its fraction says which.
  const float magnitude = float_of_bits((bits & 0x7fffu) << 13) * 0x1p112f;
  std::uint32_t wide;
  std::memcpy(&wide, &magnitude, sizeof wide);
  const std::uint32_t beyond = (bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0;
  return float_of_bits(wide | beyond | (bits & 0x8000u) << 16);
}

}  // namespace lockstep::fingerprint::internal
