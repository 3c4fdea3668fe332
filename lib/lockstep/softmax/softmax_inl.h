#pragma once
// The arithmetic of one element, for host and device; the vector forms do the identical operations. C++17;
// compile with contraction off.

#include <cmath>

#include "lockstep/base/host_device.h"
#include "lockstep/math/math_inl.h"

namespace lockstep::softmax_internal {

/// The term of an element in its slice's sum, for a largest element m.
LOCKSTEP_HOST_DEVICE inline float exponential_term(float x, float m) {
  return math::internal::exp_nonpositive(x - m);
}

LOCKSTEP_HOST_DEVICE inline float log_probability(float x, float m, float logarithm_of_sum) {
  return (x - m) - logarithm_of_sum;
}

/// dx of softmax, from the slice's sum of dy · y.
LOCKSTEP_HOST_DEVICE inline float softmax_gradient(float dy, float y, float dot) { return (dy - dot) * y; }

/// dx of log-softmax, from the slice's sum of dy.
LOCKSTEP_HOST_DEVICE inline float log_softmax_gradient(float dy, float y, float sum) {
  return dy - math::exp(y) * sum;
}

}  // namespace lockstep::softmax_internal
