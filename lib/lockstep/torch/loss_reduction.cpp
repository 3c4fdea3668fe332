#include <ATen/ATen.h>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/row_sum/row_sum.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/gradient_places_internal.h"
#include "lockstep/torch/loss_reduction_internal.h"

namespace lockstep::invariant {
namespace {

[[noreturn]] void refuse_empty_mean(const char* operation) {
  fail(ErrorCode::invalid_argument, {operation, "mean", "at least one target that counts", "none",
                                     "Every target is ignored, or has weight 0"});
}

void fold(const at::Tensor& rows, const order::FoldSpan& span, double* total, double* open) {
  by_dtype(rows,
           [&](auto zero) { row_sum_fold(rows.const_data_ptr<decltype(zero)>(), 1, 1, span, total, open); });
}

double fold_alone(const at::Tensor& rows) {
  double total = 0;
  fold(rows, {0, rows.numel(), true}, &total, nullptr);
  return total;
}

LossPlace& next_place(const char* operation, MicroBatch& micro_batch, Accumulation& accumulation) {
  const auto visit = static_cast<std::size_t>(micro_batch.loss_visits++);
  if (visit < accumulation.losses.size()) return accumulation.losses[visit];
  if (micro_batch.first_sample != 0)
    fail(ErrorCode::invalid_argument,
         {operation, "micro-batch", "the losses of the first one", "another loss", {}});
  return accumulation.losses.emplace_back();
}

/// The count of the global batch, which the first micro-batch tells when begin() was not told.
double global_count(const MicroBatch& micro_batch, Accumulation& accumulation, double counted) {
  if (accumulation.count > 0) return accumulation.count;
  if (accumulation.derived_count == 0)
    accumulation.derived_count =
        counted / static_cast<double>(micro_batch.samples) * static_cast<double>(micro_batch.global_samples);
  return accumulation.derived_count;
}

}  // namespace

ReducedLoss reduce_loss(const char* operation, const at::Tensor& rows, double counted,
                        std::int64_t reduction) {
  const bool is_mean = reduction == at::Reduction::Mean;
  const MicroBatchPtr& micro_batch = open_micro_batch();
  double count = is_mean ? counted : 1;
  if (micro_batch) {
    const auto accumulation = micro_batch->accumulation.lock();
    LossPlace& place = next_place(operation, *micro_batch, *accumulation);
    if (is_mean) count = global_count(*micro_batch, *accumulation, counted);
    fold(rows, {place.rows, rows.numel(), micro_batch->last()}, &place.total, &place.open);
    place.rows += rows.numel();
    place.counted += counted;
    place.is_mean = is_mean;
  }
  if (!(count > 0)) refuse_empty_mean(operation);
  return by_dtype(rows, [&](auto zero) -> ReducedLoss {
    using T = decltype(zero);
    const auto total = static_cast<T>(fold_alone(rows)), divisor = static_cast<T>(count);
    return {at::scalar_tensor(total / divisor, rows.options()), divisor, 1 / divisor};
  });
}

}  // namespace lockstep::invariant
