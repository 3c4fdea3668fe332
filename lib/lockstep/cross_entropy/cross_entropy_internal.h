#pragma once
// What cross_entropy.cpp calls. Everything has been checked, and there are elements.

#include "lockstep/cross_entropy/cross_entropy.h"

namespace lockstep::cross_entropy_internal {

/// What the forward form writes; row_max and row_log_sum are null where the scores are log-probabilities.
struct Forward {
  const float* scores = nullptr;
  float* loss = nullptr;
  float* row_max = nullptr;
  float* row_log_sum = nullptr;
};

/// logits is null where the gradient is that of log-probabilities.
struct Backward {
  const float* logits = nullptr;
  const float* row_max = nullptr;
  const float* row_log_sum = nullptr;
  RowGradients gradients;
  float* result = nullptr;
};

void forward_cpu(const ClassTargets& targets, const Forward& forward);
void backward_cpu(const ClassTargets& targets, const Backward& backward);

}  // namespace lockstep::cross_entropy_internal
