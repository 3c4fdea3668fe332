#pragma once
// A loss's reduction over rows: a fold over the global batch, and one scale for the gradients of all rows,
// wherever the batch is cut (contracts, section 4). Counts and sums stay on the device of the losses.

#include <ATen/core/Tensor.h>
#include <cstdint>

#include "lockstep/torch/dtype_internal.h"

namespace lockstep::invariant {

/// Scalars, of the dtype and on the device of the rows.
struct ReducedLoss {
  at::Tensor value;    ///< of this micro-batch's rows, over the global count
  at::Tensor divisor;  ///< the count of the global batch, rounded; 1 for a sum
  at::Tensor scale;    ///< of each row's gradient: 1 / divisor, rounded
};

/// rows: [rows] contiguous losses of rows; counted: how many targets (or what weight) they count, a float64
/// scalar on their device. Inside a micro-batch the rows go into the accumulator's loss too, and a mean is
/// over the count of the global batch; outside they are the whole batch. `reduction` as at::Reduction, not
/// None. A mean that counts nothing is Error(invalid_argument) on the CPU, and NaN on a CUDA device, which
/// nobody waits for.
ReducedLoss reduce_loss(const char* operation, const at::Tensor& rows, const at::Tensor& counted,
                        std::int64_t reduction);

/// A float64 scalar beside `like`.
at::Tensor count_beside(const at::Tensor& like, double count);

/// The gradient with respect to each loss, from that with respect to what a reduction made of them.
class LossGradients {
 public:
  /// `scale` is the reduction's, and not used for losses that were not reduced. `sizes` are the losses'.
  LossGradients(const at::Tensor& dy, std::int64_t reduction, const at::Tensor& scale, at::IntArrayRef sizes);

  /// One for each loss; null: all() for each.
  template <class T>
  const T* each() const {
    return data_or_null<T>(each_);
  }
  template <class T>
  T all() const {
    return all_.defined() ? all_.item<T>() : T(1);
  }

 private:
  at::Tensor each_, all_;  ///< all_ lies on the CPU, where a number is read without waiting
};

}  // namespace lockstep::invariant
