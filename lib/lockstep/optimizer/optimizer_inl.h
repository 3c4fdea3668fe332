#pragma once
// The arithmetic of one element, for host and device. The vector forms do the identical operations. C++17.

#include <cmath>

#include "lockstep/base/host_device.h"

namespace lockstep::optimizer {

/// What an SGD step multiplies with: hyperparameters as one rounding leaves them.
template <class T>
struct SgdFactors {
  T minus_lr = 0;
  T momentum = 0;
  T take = 1;  ///< 1 - dampening
  T weight_decay = 0;
  bool nesterov = false;
  bool maximize = false;
};

template <class T>
LOCKSTEP_HOST_DEVICE inline void sgd(T& parameter, T gradient, T* momentum, bool first,
                                     const SgdFactors<T>& factors) {
  T g = factors.maximize ? -gradient : gradient;
  if (factors.weight_decay != T(0)) g = std::fma(factors.weight_decay, parameter, g);
  if (factors.momentum != T(0)) {
    const T buffer = first ? g : std::fma(factors.take, g, factors.momentum * *momentum);
    *momentum = buffer;
    g = factors.nesterov ? std::fma(factors.momentum, buffer, g) : buffer;
  }
  parameter = std::fma(factors.minus_lr, g, parameter);
}

/// What an Adam step multiplies with: hyperparameters and bias corrections as one rounding leaves them.
template <class T>
struct AdamFactors {
  T minus_step_size = 0;         ///< -lr / (1 - beta1^t)
  T root_of_correction = 1;      ///< sqrt(1 - beta2^t)
  T mean_weight = 0;             ///< 1 - beta1
  T beta2 = 0, square_take = 0;  ///< and 1 - beta2
  T eps = 0;
  T weight_decay = 0;  ///< into the gradient; 0 when decoupled
  T keep = 1;          ///< 1 - lr · weight_decay when decoupled
  bool maximize = false;
};

template <class T>
LOCKSTEP_HOST_DEVICE inline T adam_mean(T mean, T gradient, T weight) {
  const T distance = gradient - mean;
  return std::fabs(weight) < T(0.5) ? std::fma(weight, distance, mean)
                                    : std::fma(weight - T(1), distance, gradient);
}

/// `largest` is null without amsgrad.
template <class T>
LOCKSTEP_HOST_DEVICE inline void adam(T& parameter, T gradient, T& mean, T& square, T* largest,
                                      const AdamFactors<T>& factors) {
  T g = factors.maximize ? -gradient : gradient;
  T p = parameter * factors.keep;
  if (factors.weight_decay != T(0)) g = std::fma(factors.weight_decay, p, g);
  mean = adam_mean(mean, g, factors.mean_weight);
  square = std::fma(factors.square_take * g, g, factors.beta2 * square);
  T second = square;
  if (largest != nullptr) {
    if (!(*largest >= square))
      *largest = *largest != *largest ? *largest : square;  // NOLINT(misc-redundant-expression): a NaN stays
    second = *largest;
  }
  const T denominator = std::sqrt(second) / factors.root_of_correction + factors.eps;
  parameter = std::fma(factors.minus_step_size, mean / denominator, p);
}

/// min(1, max_norm / (norm + 1e-6)); NaN stays.
LOCKSTEP_HOST_DEVICE inline float clip_factor(float norm, float max_norm) {
  const float factor = max_norm / (norm + 1e-6f);
  return factor > 1.0f ? 1.0f : factor;
}

}  // namespace lockstep::optimizer
