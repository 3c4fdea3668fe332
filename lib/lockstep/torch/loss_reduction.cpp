#include <ATen/ATen.h>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/gradient_places_internal.h"
#include "lockstep/torch/loss_reduction_internal.h"
#include "lockstep/torch/row_sum_internal.h"

namespace lockstep::invariant {
namespace {

/// Only on the CPU does the host know the count.
void require_counted(const char* operation, const at::Tensor& count) {
  if (!count.is_cpu() || count.item<double>() > 0) return;
  fail(ErrorCode::invalid_argument, {operation, "mean", "at least one target that counts", "none",
                                     "Every target is ignored, or has weight 0"});
}

/// sums: float64, the total and, where a cut leaves a chunk open, its partial.
void fold(const char* operation, const at::Tensor& rows, const order::FoldSpan& span,
          const at::Tensor& sums) {
  OnDevice on(operation, rows, sums);
  auto* const total = sums.mutable_data_ptr<double>();
  by_dtype(rows, [&](auto zero) {
    fold_rows(on, rows.const_data_ptr<decltype(zero)>(), 1, 1, span, total, total + 1);
  });
}

at::Tensor no_sums_beside(const at::Tensor& rows) {
  return at::zeros({2}, rows.options().dtype(at::kDouble));
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
at::Tensor global_count(const MicroBatch& micro_batch, Accumulation& accumulation,
                        const at::Tensor& counted) {
  if (accumulation.count > 0) return count_beside(counted, accumulation.count);
  if (!accumulation.derived_count.defined())
    accumulation.derived_count = counted.div(count_beside(counted, static_cast<double>(micro_batch.samples)))
                                     .mul(static_cast<double>(micro_batch.global_samples));
  return accumulation.derived_count.to(counted.device());
}

void add_to(LossPlace& place, const char* operation, const at::Tensor& rows, const at::Tensor& counted,
            bool is_last) {
  if (!place.sums.defined()) {
    place.sums = no_sums_beside(rows);
    place.counted = count_beside(rows, 0);
  }
  fold(operation, rows, {place.rows, rows.numel(), is_last}, place.sums);
  place.rows += rows.numel();
  place.counted.add_(counted);
}

}  // namespace

at::Tensor count_beside(const at::Tensor& like, double count) {
  return at::scalar_tensor(count, like.options().dtype(at::kDouble));
}

ReducedLoss reduce_loss(const char* operation, const at::Tensor& rows, const at::Tensor& counted,
                        std::int64_t reduction) {
  const bool is_mean = reduction == at::Reduction::Mean;
  at::Tensor count = is_mean ? counted : count_beside(rows, 1);
  if (const MicroBatchPtr& micro_batch = open_micro_batch()) {
    const auto accumulation = micro_batch->accumulation.lock();
    LossPlace& place = next_place(operation, *micro_batch, *accumulation);
    place.is_mean = is_mean;
    if (is_mean) count = global_count(*micro_batch, *accumulation, counted);
    add_to(place, operation, rows, counted, micro_batch->last());
  }
  require_counted(operation, count);
  const at::Tensor alone = no_sums_beside(rows), divisor = count.to(rows.scalar_type());
  fold(operation, rows, {0, rows.numel(), true}, alone);
  return {alone.select(0, 0).to(rows.scalar_type()).div(divisor), divisor, divisor.reciprocal()};
}

LossGradients::LossGradients(const at::Tensor& dy, std::int64_t reduction, const at::Tensor& scale,
                             at::IntArrayRef sizes) {
  if (reduction == at::Reduction::None) {
    each_ = dy.contiguous();
    return;
  }
  const at::Tensor all = dy.mul(scale);
  (dy.is_cpu() ? all_ : each_) = dy.is_cpu() ? all : all.expand(sizes).contiguous();
}

}  // namespace lockstep::invariant
