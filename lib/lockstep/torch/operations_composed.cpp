// Operations that are made of others of ours, gradients included; and the variance, whose computation alone
// is ours.

#include <ATen/ATen.h>
#include <ATen/WrapDimUtils.h>
#include <algorithm>
#include <limits>
#include <tuple>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/reduce/reduce.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/square_root_internal.h"

namespace lockstep::invariant {
namespace {

// Products and differences as autograd has them, of one operation an element: where x is a leaf its gradient
// here is no fold over rows.
at::Tensor product(const at::Tensor& x, const at::Tensor& y) {
  const InsideKernel inside;
  return at::mul(x, y);
}
at::Tensor difference(const at::Tensor& x, const at::Tensor& y) {
  const InsideKernel inside;
  return at::sub(x, y);
}

// ---- Activations

at::Tensor high_mish(c10::DispatchKeySet keys, const at::Tensor& x) {
  require_supported("aten::mish", keys, x);
  LOCKSTEP_COUNT_CALL("aten::mish");
  return product(x, at::tanh(at::softplus(x)));
}

/// The logarithm of the sigmoid, which is -softplus(-x).
at::Tensor high_log_sigmoid(c10::DispatchKeySet keys, const at::Tensor& x) {
  require_supported("aten::log_sigmoid", keys, x);
  LOCKSTEP_COUNT_CALL("aten::log_sigmoid");
  return at::neg(at::softplus(at::neg(x)));
}

/// scale · x above 0, scale · alpha · (e^(input_scale · x) - 1) elsewhere. The exponential of what is not
/// chosen must not be infinite, or its gradient is no number.
at::Tensor high_elu(c10::DispatchKeySet keys, const at::Tensor& x, const at::Scalar& alpha,
                    const at::Scalar& scale, const at::Scalar& input_scale) {
  require_supported("aten::elu", keys, x);
  LOCKSTEP_COUNT_CALL("aten::elu");
  const at::Tensor below = at::expm1(at::mul(at::clamp_max(x, 0), input_scale));
  return at::where(at::gt(x, 0), at::mul(x, scale), at::mul(below, alpha.toDouble() * scale.toDouble()));
}

at::Tensor high_celu(c10::DispatchKeySet keys, const at::Tensor& x, const at::Scalar& alpha) {
  if (alpha.toDouble() == 0)
    fail(ErrorCode::invalid_argument, {"aten::celu", "alpha", "a number other than 0", "0", {}});
  return high_elu(keys, x, alpha, 1, 1 / alpha.toDouble());
}

at::Tensor high_hardsigmoid(c10::DispatchKeySet keys, const at::Tensor& x) {
  require_supported("aten::hardsigmoid", keys, x);
  LOCKSTEP_COUNT_CALL("aten::hardsigmoid");
  return at::div(at::clamp(at::add(x, 3), 0, 6), 6);
}

at::Tensor high_hardswish(c10::DispatchKeySet keys, const at::Tensor& x) {
  require_supported("aten::hardswish", keys, x);
  LOCKSTEP_COUNT_CALL("aten::hardswish");
  return at::div(product(x, at::clamp(at::add(x, 3), 0, 6)), 6);
}

/// The operand of an operation in place. Backward wants it as it was.
at::Tensor kept(const at::Tensor& self) {
  return records_gradients() && self.requires_grad() ? self.clone() : self;
}

/// The operation in place.
template <auto function>
at::Tensor& in_place(c10::DispatchKeySet keys, at::Tensor& self) {
  return self.copy_(function(keys, kept(self)));
}

at::Tensor& high_elu_(c10::DispatchKeySet keys, at::Tensor& self, const at::Scalar& alpha,
                      const at::Scalar& scale, const at::Scalar& input_scale) {
  return self.copy_(high_elu(keys, kept(self), alpha, scale, input_scale));
}

at::Tensor& high_celu_(c10::DispatchKeySet keys, at::Tensor& self, const at::Scalar& alpha) {
  return self.copy_(high_celu(keys, kept(self), alpha));
}

// ---- The logarithm of a sum of exponentials

at::Tensor high_logsumexp(c10::DispatchKeySet keys, const at::Tensor& x, at::IntArrayRef axes, bool keep) {
  require_supported("aten::logsumexp", keys, x);
  LOCKSTEP_COUNT_CALL("aten::logsumexp");
  if (x.numel() == 0) return at::log(at::sum(x, axes, keep));
  const at::Tensor largest = at::amax(x.detach(), axes, true);
  const at::Tensor finite = largest.masked_fill(at::isinf(largest), 0);  // inf - inf is no number
  const at::Tensor sum = at::log(at::sum(at::exp(difference(x, finite)), axes, keep));
  return at::add(sum, keep ? finite : finite.reshape(sum.sizes()));
}

// ---- Variance inside a row

struct RowAxes {
  at::Tensor source;  ///< contiguous
  ReduceShape shape;
  std::vector<std::int64_t> sizes;  ///< of the result
};

/// A variance over samples is a mean of theirs, which a micro-batch does not have.
RowAxes row_axes(const char* name, const at::Tensor& x, at::OptionalIntArrayRef given, bool keep) {
  std::vector<std::int64_t> axes, kept;
  if (!given.has_value() || given->empty())
    for (std::int64_t axis = 0; axis < x.dim(); ++axis) axes.push_back(axis);
  else
    for (const std::int64_t axis : *given) axes.push_back(at::maybe_wrap_dim(axis, x.dim()));
  std::sort(axes.begin(), axes.end());
  if (std::adjacent_find(axes.begin(), axes.end()) != axes.end())
    fail(ErrorCode::invalid_argument, {name, "axes", "each axis once", "one twice", {}});
  if (axes.empty() || axes.front() == 0)
    fail(ErrorCode::unsupported,
         {name, "axes", "a variance inside each sample", "one over the first axis, the samples",
          "Normalise inside a sample (LayerNorm, GroupNorm)"});
  RowAxes to;
  to.shape = {1, 1, 1};
  for (std::int64_t axis = 0; axis < x.dim(); ++axis) {
    const bool is_reduced = std::binary_search(axes.begin(), axes.end(), axis);
    (is_reduced ? to.shape.axis : to.shape.outer) *= x.size(axis);
    if (!is_reduced) kept.push_back(axis);
    if (!is_reduced || keep) to.sizes.push_back(is_reduced ? 1 : x.size(axis));
  }
  kept.insert(kept.end(), axes.begin(), axes.end());
  to.source = x.permute(kept).contiguous();
  return to;
}

/// Variance and mean.
std::tuple<at::Tensor, at::Tensor> variance_of(const char* name, c10::DispatchKeySet keys,
                                               const at::Tensor& x, at::OptionalIntArrayRef axes,
                                               const std::optional<at::Scalar>& correction, bool keep) {
  require_supported(name, keys, x);
  const InsideKernel inside;
  take_over_thread_count();
  const RowAxes of = row_axes(name, x, axes, keep);
  const at::Tensor variance = at::empty(of.sizes, x.options()), mean = at::empty(of.sizes, x.options());
  const OnDevice on(name, of.source);
  by_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    reduce_variance(of.source.const_data_ptr<T>(), variance.mutable_data_ptr<T>(), mean.mutable_data_ptr<T>(),
                    of.shape, correction.value_or(1).toDouble(), on.device(), on.stream());
  });
  return {variance, mean};
}

at::Tensor low_var(c10::DispatchKeySet keys, const at::Tensor& x, at::OptionalIntArrayRef axes,
                   const std::optional<at::Scalar>& correction, bool keep) {
  LOCKSTEP_COUNT_CALL("aten::var.correction");
  return std::get<0>(variance_of("aten::var", keys, x, axes, correction, keep));
}

at::Tensor low_std(c10::DispatchKeySet keys, const at::Tensor& x, at::OptionalIntArrayRef axes,
                   const std::optional<at::Scalar>& correction, bool keep) {
  LOCKSTEP_COUNT_CALL("aten::std.correction");
  const InsideKernel inside;
  return square_root(std::get<0>(variance_of("aten::std", keys, x, axes, correction, keep)));
}

std::tuple<at::Tensor, at::Tensor> low_var_mean(c10::DispatchKeySet keys, const at::Tensor& x,
                                                at::OptionalIntArrayRef axes,
                                                const std::optional<at::Scalar>& correction, bool keep) {
  LOCKSTEP_COUNT_CALL("aten::var_mean.correction");
  return variance_of("aten::var_mean", keys, x, axes, correction, keep);
}

std::tuple<at::Tensor, at::Tensor> low_std_mean(c10::DispatchKeySet keys, const at::Tensor& x,
                                                at::OptionalIntArrayRef axes,
                                                const std::optional<at::Scalar>& correction, bool keep) {
  LOCKSTEP_COUNT_CALL("aten::std_mean.correction");
  const InsideKernel inside;
  auto both = variance_of("aten::std_mean", keys, x, axes, correction, keep);
  std::get<0>(both) = square_root(std::get<0>(both));
  return both;
}

}  // namespace

void register_composed(Registrar& registrar) {
  registrar.whole("mish", TORCH_FN(high_mish));
  registrar.whole("mish_", TORCH_FN(in_place<high_mish>));
  registrar.whole("log_sigmoid", TORCH_FN(high_log_sigmoid));
  registrar.whole("elu", TORCH_FN(high_elu));
  registrar.whole("elu_", TORCH_FN(high_elu_));
  registrar.whole("celu", TORCH_FN(high_celu));
  registrar.whole("celu_", TORCH_FN(high_celu_));
  registrar.whole("hardsigmoid", TORCH_FN(high_hardsigmoid));
  registrar.whole("hardsigmoid_", TORCH_FN(in_place<high_hardsigmoid>));
  registrar.whole("hardswish", TORCH_FN(high_hardswish));
  registrar.whole("hardswish_", TORCH_FN(in_place<high_hardswish>));
  registrar.whole("logsumexp", TORCH_FN(high_logsumexp));
  registrar.compute("var.correction", TORCH_FN(low_var));
  registrar.compute("std.correction", TORCH_FN(low_std));
  registrar.compute("var_mean.correction", TORCH_FN(low_var_mean));
  registrar.compute("std_mean.correction", TORCH_FN(low_std_mean));
}

}  // namespace lockstep::invariant
