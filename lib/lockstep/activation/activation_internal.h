#pragma once
// What activation.cpp calls. C++17: activation_cuda.cu sees it.

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
template <class T>
struct BasicCall {
  Formula formula;
  const T* dy = nullptr;
  const T* x = nullptr;
  T* result = nullptr;
  std::int64_t count = 0;
  BasicSoftplusOptions<T> softplus;
};
using Call = BasicCall<float>;
using Call64 = BasicCall<double>;

void run_cpu(const Call& call);
void run_cuda(const Call& call, void* stream);
void run_cpu(const Call64& call);  // activation_fp64.cpp

}  // namespace lockstep::activation_internal
