// Softmax and its kin: PyTorch's derivatives, our sums.

#include <ATen/ATen.h>
#include <ATen/WrapDimUtils.h>

#include "lockstep/base/error.h"
#include "lockstep/softmax/softmax.h"
#include "lockstep/torch/dispatch_internal.h"

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

using Forward = void (*)(const float*, float*, const AxisExtents&, Device, void*);
using Backward = void (*)(const float*, const float*, float*, const AxisExtents&, Device, void*);

template <Forward function>
at::Tensor low_forward(c10::DispatchKeySet keys, const at::Tensor& self, std::int64_t dim,
                       bool half_to_float) {
  constexpr const char* kName = function == softmax ? "aten::_softmax" : "aten::_log_softmax";
  require_supported(kName, keys, self);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL(kName);
  take_over_thread_count();
  (void)half_to_float;  // of 16-bit input alone
  const at::Tensor x = self.contiguous(), y = at::empty(x.sizes(), x.options());
  function(x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), extents_around(x, dim), Device::cpu,
           nullptr);
  return y;
}

template <Backward function>
at::Tensor low_backward(c10::DispatchKeySet keys, const at::Tensor& gradient, const at::Tensor& output,
                        std::int64_t dim, at::ScalarType) {
  constexpr const char* kName =
      function == softmax_backward ? "aten::_softmax_backward_data" : "aten::_log_softmax_backward_data";
  require_supported(kName, keys, gradient);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL(kName);
  take_over_thread_count();
  const at::Tensor dy = gradient.contiguous(), y = output.contiguous(),
                   dx = at::empty(y.sizes(), y.options());
  function(dy.const_data_ptr<float>(), y.const_data_ptr<float>(), dx.mutable_data_ptr<float>(),
           extents_around(y, dim), Device::cpu, nullptr);
  return dx;
}

}  // namespace

void register_rowwise(Registrar& registrar) {
  registrar.compute("_softmax", TORCH_FN(low_forward<softmax>));
  registrar.compute("_log_softmax", TORCH_FN(low_forward<log_softmax>));
  registrar.compute("_softmax_backward_data", TORCH_FN(low_backward<softmax_backward>));
  registrar.compute("_log_softmax_backward_data", TORCH_FN(low_backward<log_softmax_backward>));
}

}  // namespace lockstep::invariant
