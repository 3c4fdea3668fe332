#pragma once
// What loss.cpp calls.

#include <cstdint>

#include "lockstep/loss/loss.h"

namespace lockstep::loss_internal {

enum class Formula {
  mse,
  mse_backward,
  l1,
  l1_backward,
  bce_with_logits,
  bce_with_logits_backward,
  margin_ranking,
  margin_ranking_backward,
};

/// An array of count elements, or one number for all of them.
template <class T>
struct BasicOperand {
  const T* elements = nullptr;
  T all = 0;
};

/// One stretch of elements; formulas take of the operands what they need, in the order of their parameters.
template <class T>
struct BasicCall {
  Formula formula;
  BasicOperand<T> operands[5];
  T* result = nullptr;
};
using Operand = BasicOperand<float>;
using Call = BasicCall<float>;
using Call64 = BasicCall<double>;

/// Elements begin … end - 1 of all `count`, from several threads.
void run_cpu(const Call& call, std::int64_t count);
void row_losses_cpu(const float* loss, float* rows_loss, const LossExtents& extents);

// loss_fp64.cpp
void run_cpu(const Call64& call, std::int64_t count);
void row_losses_cpu(const double* loss, double* rows_loss, const LossExtents& extents);

}  // namespace lockstep::loss_internal
