// Softmax and its kin: PyTorch's derivatives, our sums.

#include <ATen/ATen.h>
#include <ATen/WrapDimUtils.h>

#include "lockstep/base/error.h"
#include "lockstep/softmax/softmax.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/on_device.h"

namespace lockstep::invariant {
namespace {

AxisExtents extents_around(const at::Tensor& tensor, std::int64_t dim) {
  if (tensor.dim() == 0) return {1, 1, 1};
  const std::int64_t axis = at::maybe_wrap_dim(dim, tensor.dim());
  AxisExtents extents{1, tensor.size(axis), 1};
  for (std::int64_t i = 0; i < axis; ++i) extents.outer *= tensor.size(i);
  for (std::int64_t i = axis + 1; i < tensor.dim(); ++i) extents.inner *= tensor.size(i);
  return extents;
}

template <Name name, auto function>
at::Tensor low_forward(c10::DispatchKeySet keys, const at::Tensor& self, std::int64_t dim,
                       bool half_to_float) {
  require_supported(name.text, keys, self);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL(name.text);
  take_over_thread_count();
  (void)half_to_float;  // of 16-bit input alone
  const at::Tensor x = self.contiguous(), y = at::empty(x.sizes(), x.options());
  const OnDevice on(name.text, x);
  by_dtype(x, [&](auto zero) {
    using T = decltype(zero);
    function(x.const_data_ptr<T>(), y.mutable_data_ptr<T>(), extents_around(x, dim), on.device(),
             on.stream());
  });
  return y;
}

template <Name name, auto function>
at::Tensor low_backward(c10::DispatchKeySet keys, const at::Tensor& gradient, const at::Tensor& output,
                        std::int64_t dim, at::ScalarType) {
  require_supported(name.text, keys, gradient);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL(name.text);
  take_over_thread_count();
  const at::Tensor dy = gradient.contiguous(), y = output.contiguous(),
                   dx = at::empty(y.sizes(), y.options());
  const OnDevice on(name.text, dy, y);
  by_dtype(dy, [&](auto zero) {
    using T = decltype(zero);
    function(dy.const_data_ptr<T>(), y.const_data_ptr<T>(), dx.mutable_data_ptr<T>(), extents_around(y, dim),
             on.device(), on.stream());
  });
  return dx;
}

// The room's overloads, each as one object that a template takes.
constexpr auto kSoftmax = [](auto... a) { softmax(a...); };
constexpr auto kLogSoftmax = [](auto... a) { log_softmax(a...); };
constexpr auto kSoftmaxBackward = [](auto... a) { softmax_backward(a...); };
constexpr auto kLogSoftmaxBackward = [](auto... a) { log_softmax_backward(a...); };

}  // namespace

void register_rowwise(Registrar& registrar) {
  registrar.compute("_softmax", TORCH_FN((low_forward<"aten::_softmax", kSoftmax>)));
  registrar.compute("_log_softmax", TORCH_FN((low_forward<"aten::_log_softmax", kLogSoftmax>)));
  registrar.compute("_softmax_backward_data",
                    TORCH_FN((low_backward<"aten::_softmax_backward_data", kSoftmaxBackward>)));
  registrar.compute("_log_softmax_backward_data",
                    TORCH_FN((low_backward<"aten::_log_softmax_backward_data", kLogSoftmaxBackward>)));
}

}  // namespace lockstep::invariant
