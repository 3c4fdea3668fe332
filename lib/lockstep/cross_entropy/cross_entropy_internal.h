#pragma once
// What cross_entropy.cpp calls. Everything that the host can read has been checked. C++17.

#include "lockstep/cross_entropy/cross_entropy.h"

namespace lockstep::cross_entropy_internal {

/// What the forward form writes; row_max and row_log_sum are null where the scores are log-probabilities.
template <class T>
struct BasicForward {
  const T* scores = nullptr;
  T* loss = nullptr;
  T* row_max = nullptr;
  T* row_log_sum = nullptr;
};
using Forward = BasicForward<float>;
using Forward64 = BasicForward<double>;

/// logits is null where the gradient is that of log-probabilities.
template <class T>
struct BasicBackward {
  const T* logits = nullptr;
  const T* row_max = nullptr;
  const T* row_log_sum = nullptr;
  BasicRowGradients<T> gradients;
  T* result = nullptr;
};
using Backward = BasicBackward<float>;
using Backward64 = BasicBackward<double>;

void forward_cpu(const ClassTargets& targets, const Forward& forward);
void backward_cpu(const ClassTargets& targets, const Backward& backward);
// Targets that are neither classes nor ignored make their row NaN.
void forward_cuda(const ClassTargets& targets, const Forward& forward, void* stream);
void backward_cuda(const ClassTargets& targets, const Backward& backward, void* stream);
void target_weights_cuda(const ClassTargets& targets, float* weights, void* stream);

// cross_entropy_fp64.cpp
void forward_cpu(const ClassTargets64& targets, const Forward64& forward);
void backward_cpu(const ClassTargets64& targets, const Backward64& backward);

}  // namespace lockstep::cross_entropy_internal
