// Sums and means. Over axes inside a row: lanes. Over the first axis: a fold over all reduced positions,
// sample first. PyTorch's derivatives, which only spread a gradient.

#include <ATen/ATen.h>
#include <ATen/WrapDimUtils.h>
#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/reduce/reduce.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/division_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/gradient_places_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/row_sum_internal.h"

namespace lockstep::invariant {
namespace {

/// The axes of a reduction, ascending; all where none is named.
std::vector<std::int64_t> axes_of(const at::Tensor& x, at::OptionalIntArrayRef given) {
  std::vector<std::int64_t> axes;
  if (!given.has_value() || given->empty()) {
    axes.resize(static_cast<std::size_t>(x.dim()));
    std::iota(axes.begin(), axes.end(), 0);
    return axes;
  }
  for (const std::int64_t axis : *given) axes.push_back(at::maybe_wrap_dim(axis, x.dim()));
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end())
    fail(ErrorCode::invalid_argument, {"aten::sum", "axes", "each axis once", "one twice", {}});
  return axes;
}

std::vector<std::int64_t> reduced_sizes(const at::Tensor& x, const std::vector<std::int64_t>& axes,
                                        bool keep) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t axis = 0; axis < x.dim(); ++axis) {
    const bool is_reduced = std::binary_search(axes.begin(), axes.end(), axis);
    if (!is_reduced) sizes.push_back(x.size(axis));
    if (is_reduced && keep) sizes.push_back(1);
  }
  return sizes;
}

/// x with the reduced axes first, in their order, or last.
at::Tensor gathered(const at::Tensor& x, const std::vector<std::int64_t>& axes, bool first) {
  std::vector<std::int64_t> kept, order;
  for (std::int64_t axis = 0; axis < x.dim(); ++axis)
    if (!std::binary_search(axes.begin(), axes.end(), axis)) kept.push_back(axis);
  order = first ? axes : kept;
  const auto& rest = first ? kept : axes;
  order.insert(order.end(), rest.begin(), rest.end());
  return x.permute(order).contiguous();
}

std::int64_t extent_of(const at::Tensor& x, const std::vector<std::int64_t>& axes) {
  std::int64_t extent = 1;
  for (const std::int64_t axis : axes) extent *= x.size(axis);
  return extent;
}

bool is_contiguous_run(const std::vector<std::int64_t>& axes) {
  return axes.back() - axes.front() + 1 == static_cast<std::int64_t>(axes.size());
}

/// Axes inside a row: [outer, axis, inner] where they are neighbours, gathered to the end where not.
void lanes_into(const at::Tensor& x, const std::vector<std::int64_t>& axes, const at::Tensor& y) {
  ReduceShape shape{1, extent_of(x, axes), 1};
  at::Tensor source = x.contiguous();
  if (is_contiguous_run(axes)) {
    for (std::int64_t axis = 0; axis < axes.front(); ++axis) shape.outer *= x.size(axis);
    for (std::int64_t axis = axes.back() + 1; axis < x.dim(); ++axis) shape.inner *= x.size(axis);
  } else {
    source = gathered(x, axes, false);
    shape.outer = y.numel();
  }
  const OnDevice on("aten::sum", source);
  by_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    reduce_sum(source.const_data_ptr<T>(), y.mutable_data_ptr<T>(), shape, on.device(), on.stream());
  });
}

at::Tensor sum_of(const at::Tensor& x, at::OptionalIntArrayRef given, bool keep) {
  take_over_thread_count();
  if (x.dim() == 0) return x.clone();
  const std::vector<std::int64_t> axes = axes_of(x, given);
  const at::Tensor y = at::zeros(reduced_sizes(x, axes, keep), x.options());
  if (axes.front() != 0) {
    lanes_into(x, axes, y);
    return y;
  }
  const at::Tensor source = gathered(x, axes, true);  // [reduced, kept]
  const std::int64_t rows = extent_of(x, axes), cols = y.numel();
  const at::Tensor total = at::zeros({cols}, x.options().dtype(at::kDouble));
  OnDevice on("aten::sum", source);
  by_dtype(x, [&](auto zero) {
    fold_rows(on, source.const_data_ptr<decltype(zero)>(), cols, cols, {0, rows, true},
              total.mutable_data_ptr<double>(), nullptr);
  });
  return y.copy_(total.view(y.sizes()));
}

/// Sums of whole numbers are exact in any order.
bool is_exact_sum(const at::Tensor& x, std::optional<at::ScalarType> dtype) {
  return !at::isFloatingType(
      dtype.value_or(at::isIntegralType(x.scalar_type(), true) ? at::kLong : x.scalar_type()));
}

void require_same_dtype(const char* name, const at::Tensor& x, std::optional<at::ScalarType> dtype) {
  if (dtype && *dtype != x.scalar_type())
    fail(ErrorCode::unsupported, {name, "dtype", "the input's", "another", "Convert the input first"});
}

at::Tensor low_sum(c10::DispatchKeySet keys, const at::Tensor& self, std::optional<at::ScalarType> dtype) {
  if (is_exact_sum(self, dtype)) return at::_ops::sum::redispatch(keys & below(kLow), self, dtype);
  require_supported("aten::sum", keys, self);
  require_same_dtype("aten::sum", self, dtype);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL("aten::sum");
  return sum_of(self, std::nullopt, false);
}

at::Tensor low_sum_axes(c10::DispatchKeySet keys, const at::Tensor& self, at::OptionalIntArrayRef axes,
                        bool keep, std::optional<at::ScalarType> dtype) {
  if (is_exact_sum(self, dtype))
    return at::_ops::sum_dim_IntList::redispatch(keys & below(kLow), self, axes, keep, dtype);
  require_supported("aten::sum", keys, self);
  require_same_dtype("aten::sum", self, dtype);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL("aten::sum.dim_IntList");
  return sum_of(self, axes, keep);
}

at::Tensor low_mean_axes(c10::DispatchKeySet keys, const at::Tensor& self, at::OptionalIntArrayRef axes,
                         bool keep, std::optional<at::ScalarType> dtype) {
  require_supported("aten::mean", keys, self);
  require_same_dtype("aten::mean", self, dtype);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL("aten::mean.dim");
  const at::Tensor sum = sum_of(self, axes, keep);
  const double count =
      static_cast<double>(self.numel()) / static_cast<double>(std::max<std::int64_t>(1, sum.numel()));
  return sum.div_(divisor_of(sum, count));
}

at::Tensor low_mean(c10::DispatchKeySet keys, const at::Tensor& self, std::optional<at::ScalarType> dtype) {
  return low_mean_axes(keys, self, std::nullopt, false, dtype);
}

/// A mean over samples divides by the samples of this micro-batch, and a mean of means is another number.
void require_no_mean_of_samples(const at::Tensor& self, at::OptionalIntArrayRef given) {
  if (!open_micro_batch() || self.dim() == 0) return;
  const std::vector<std::int64_t> axes = axes_of(self, given);
  if (axes.front() != 0) return;
  fail(ErrorCode::unsupported,
       {"aten::mean", "axes", "a mean inside each sample, in a micro-batch", "a mean over samples",
        "Take the sum, and divide by the count of the global batch; losses with a mean of their own do so"});
}

at::Tensor high_mean(c10::DispatchKeySet keys, const at::Tensor& self, std::optional<at::ScalarType> dtype) {
  require_no_mean_of_samples(self, std::nullopt);
  return at::_ops::mean::redispatch(through_low(keys), self, dtype);
}

at::Tensor high_mean_axes(c10::DispatchKeySet keys, const at::Tensor& self, at::OptionalIntArrayRef axes,
                          bool keep, std::optional<at::ScalarType> dtype) {
  require_no_mean_of_samples(self, axes);
  return at::_ops::mean_dim::redispatch(through_low(keys), self, axes, keep, dtype);
}

}  // namespace

void register_reductions(Registrar& registrar) {
  registrar.compute("sum", TORCH_FN(low_sum));
  registrar.compute("sum.dim_IntList", TORCH_FN(low_sum_axes));
  registrar.whole("mean", TORCH_FN(high_mean));
  registrar.whole("mean.dim", TORCH_FN(high_mean_axes));
  registrar.low.impl("mean", TORCH_FN(low_mean));
  registrar.low.impl("mean.dim", TORCH_FN(low_mean_axes));
}

}  // namespace lockstep::invariant
