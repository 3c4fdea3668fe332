#pragma once
// A loss's reduction over rows: a fold over the global batch, and one scale for the gradients of all rows,
// wherever the batch is cut (contracts, section 4).

#include <ATen/core/Tensor.h>
#include <cstdint>

namespace lockstep::invariant {

struct ReducedLoss {
  at::Tensor value;    ///< scalar: of this micro-batch's rows, over the global count
  double divisor = 1;  ///< the count of the global batch, rounded to the dtype of the rows; 1 for a sum
  double scale = 1;    ///< of each row's gradient: 1 / divisor, rounded so too
};

/// rows: [rows] contiguous losses of rows; counted: how many targets (or what weight) they count.
/// Inside a micro-batch the rows go into the accumulator's loss too, and a mean is over the count of the
/// global batch; outside they are the whole batch. `reduction` as at::Reduction, not None. Throws
/// Error(invalid_argument) where a mean counts nothing.
ReducedLoss reduce_loss(const char* operation, const at::Tensor& rows, double counted,
                        std::int64_t reduction);

}  // namespace lockstep::invariant
