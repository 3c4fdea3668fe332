#pragma once
// The arithmetic of one element, for host and device; the vector forms do the identical operations. C++17;
// compile with contraction off.

#include <cmath>
#include <cstdint>

#include "lockstep/base/host_device.h"

namespace lockstep::reduce {

/// A variance's lane after x.
LOCKSTEP_HOST_DEVICE inline float add_square(float lane, float x, float mean) {
  const float deviation = x - mean;
  return std::fma(deviation, deviation, lane);
}

/// Whether (value, index) comes before (other, other_index) in the choice: the first NaN, else the larger
/// (smaller) value, else the lower index.
LOCKSTEP_HOST_DEVICE inline bool comes_first(float value, std::int64_t index, float other,
                                             std::int64_t other_index, bool smallest) {
  const bool is_nan = value != value, other_is_nan = other != other;
  if (is_nan || other_is_nan) return is_nan && (!other_is_nan || index < other_index);
  if (value != other) return smallest ? value < other : value > other;
  return index < other_index;
}

/// dx of a variance, with factor = 2 / (axis - correction).
LOCKSTEP_HOST_DEVICE inline float variance_gradient(float dy, float x, float mean, float factor) {
  return (x - mean) * (dy * factor);
}

}  // namespace lockstep::reduce
