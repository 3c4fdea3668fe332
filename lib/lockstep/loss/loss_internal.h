#pragma once
// What loss.cpp calls. C++17: loss_cuda.cu sees it.

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
  std::int64_t period = 0;  ///< where above 0, elements are so many, again and again
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

/// All `count` elements, from several threads; no operand is periodic.
void run_cpu(const Call& call, std::int64_t count);
void row_losses_cpu(const float* loss, float* rows_loss, const LossExtents& extents);

// loss_cuda.cu, or loss_no_cuda.cpp. The third operand may be periodic.
void run_cuda(const Call& call, std::int64_t count, void* stream);
void row_losses_cuda(const float* loss, float* rows_loss, const LossExtents& extents, void* stream);

// loss_fp64.cpp
void run_cpu(const Call64& call, std::int64_t count);
void row_losses_cpu(const double* loss, double* rows_loss, const LossExtents& extents);

}  // namespace lockstep::loss_internal
