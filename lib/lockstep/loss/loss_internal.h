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
struct Operand {
  const float* elements = nullptr;
  float all = 0;
};

/// One stretch of elements; formulas take of the operands what they need, in the order of their parameters.
struct Call {
  Formula formula;
  Operand operands[5];
  float* result = nullptr;
};

/// Elements begin … end - 1 of all `count`, from several threads.
void run_cpu(const Call& call, std::int64_t count);
void row_losses_cpu(const float* loss, float* rows_loss, const LossExtents& extents);

}  // namespace lockstep::loss_internal
