#pragma once
// What a class adds to a row's loss and gradient, for host and device. C++17; compile with contraction off.

#include <cmath>
#include <cstdint>

#include "lockstep/base/host_device.h"

namespace lockstep::cross_entropy_internal {

/// How label smoothing shares a row's loss out: `target` to the target's class, `every` to each class.
struct Shares {
  float target = 1, every = 0;
};

LOCKSTEP_HOST_DEVICE inline Shares shares_of(float label_smoothing, std::int64_t classes) {
  return {1.0f - label_smoothing, label_smoothing / static_cast<float>(classes)};
}

/// The loss of one class.
LOCKSTEP_HOST_DEVICE inline float class_loss(float weight, float log_probability) {
  return -(weight * log_probability);
}

/// The loss of a row under label smoothing; `sum` is the lane sum of weight * log-probability over all
/// classes.
LOCKSTEP_HOST_DEVICE inline float smoothed_loss(const Shares& shares, float loss_of_target, float sum) {
  return std::fma(shares.every, -sum, shares.target * loss_of_target);
}

/// The gradient with respect to a class's log-probability.
LOCKSTEP_HOST_DEVICE inline float class_gradient(float share, float row_gradient) {
  return -(share * row_gradient);
}

/// The target's own share under label smoothing.
LOCKSTEP_HOST_DEVICE inline float share_of_target(const Shares& shares, float weight) {
  return std::fma(shares.target, weight, shares.every * weight);
}

}  // namespace lockstep::cross_entropy_internal
