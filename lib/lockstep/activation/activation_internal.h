#pragma once
// What activation.cpp calls.

#include <cstdint>

#include "lockstep/activation/activation.h"

namespace lockstep::activation_internal {

enum class Formula {
  relu,
  relu_backward,
  sigmoid,
  sigmoid_backward,
  tanh,
  tanh_backward,
  silu,
  silu_backward,
  gelu_erf,
  gelu_erf_backward,
  gelu_tanh,
  gelu_tanh_backward,
  softplus,
  softplus_backward,
};

/// A forward formula reads x, a backward one dy as well.
struct Call {
  Formula formula;
  const float* dy = nullptr;
  const float* x = nullptr;
  float* result = nullptr;
  std::int64_t count = 0;
  SoftplusOptions softplus;
};

void run_cpu(const Call& call);

}  // namespace lockstep::activation_internal
