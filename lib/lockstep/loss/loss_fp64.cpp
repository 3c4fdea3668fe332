// The double forms of the losses: the reference, one element after the other.

#include <cstddef>

#include "lockstep/base/float_mode.h"
#include "lockstep/loss/loss_internal.h"
#include "lockstep/loss/loss_ref.h"

namespace lockstep::loss_internal {
namespace {

namespace ref = loss_ref;

/// The element of a formula; `of` gives an operand's.
template <class Of>
double element(Formula formula, Of of) {
  switch (formula) {
    case Formula::mse:
      return ref::mse(of(0), of(1));
    case Formula::mse_backward:
      return ref::mse_backward(of(0), of(1), of(2));
    case Formula::l1:
      return ref::l1(of(0), of(1));
    case Formula::l1_backward:
      return ref::l1_backward(of(0), of(1), of(2));
    case Formula::bce_with_logits:
      return ref::bce_with_logits(of(0), of(1), of(2), of(3));
    case Formula::bce_with_logits_backward:
      return ref::bce_with_logits_backward(of(0), of(1), of(2), of(3), of(4));
    case Formula::margin_ranking:
      return ref::margin_ranking(of(0), of(1), of(2), of(3));
    case Formula::margin_ranking_backward:
      return ref::margin_ranking_backward(of(0), of(1), of(2), of(3), of(4));
  }
  return 0;
}

}  // namespace

void run_cpu(const Call64& call, std::int64_t count) {
  const FloatMode mode;
  for (std::int64_t i = 0; i < count; ++i)
    call.result[i] = element(call.formula, [&](int k) {
      const BasicOperand<double>& operand = call.operands[k];
      return operand.elements == nullptr ? operand.all : operand.elements[i];
    });
}

void row_losses_cpu(const double* loss, double* rows_loss, const LossExtents& extents) {
  const FloatMode mode;
  for (std::int64_t r = 0; r < extents.rows; ++r)
    rows_loss[r] = ref::row_loss(loss + r * extents.features, static_cast<std::size_t>(extents.features));
}

}  // namespace lockstep::loss_internal
