// Clamps on a CUDA device, where LibTorch's own make a clamped -0 of the bound +0 what the CPU does not:
// there an element that is no further than its bound stays as it is. relu, relu6 and hardtanh are clamps too.

#include <ATen/ATen.h>
#include <cmath>

#include "lockstep/activation/activation.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/on_device.h"

namespace lockstep::invariant {
namespace {

using Bound = std::optional<at::Scalar>;

/// +0 from below alone, on floats: relu has the same bits in one pass.
bool is_relu(const at::Tensor& x, const Bound& least, const Bound& most) {
  return least && !most && x.scalar_type() == at::kFloat && least->toDouble() == 0 &&
         !std::signbit(least->toDouble());
}

at::Tensor relu_of(const at::Tensor& self) {
  const at::Tensor x = self.contiguous(), y = at::empty(x.sizes(), x.options());
  const OnDevice on("aten::clamp_min", x);
  relu(x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), x.numel(), on.device(), on.stream());
  return y;
}

/// A bound that is NaN makes everything NaN, as in LibTorch. Bounds stay numbers: a tensor made of one would
/// be copied to the device.
at::Tensor clamped(const at::Tensor& x, const Bound& least, const Bound& most) {
  const InsideKernel inside;
  for (const Bound* bound : {&least, &most})
    if (*bound && std::isnan((*bound)->toDouble())) return at::full_like(x, **bound);
  if (is_relu(x, least, most)) return relu_of(x);
  at::Tensor y = x;
  if (least) y = y.masked_fill(y.lt(*least), *least);
  if (most) y = y.masked_fill(y.gt(*most), *most);
  return y.is_same(x) ? x.clone() : y;
}

at::Tensor low_clamp(c10::DispatchKeySet, const at::Tensor& x, const Bound& least, const Bound& most) {
  return clamped(x, least, most);
}
at::Tensor& low_clamp_(c10::DispatchKeySet, at::Tensor& x, const Bound& least, const Bound& most) {
  return write_into(x, clamped(x, least, most));
}
at::Tensor& low_clamp_out(c10::DispatchKeySet, const at::Tensor& x, const Bound& least, const Bound& most,
                          at::Tensor& out) {
  return write_into(out, clamped(x, least, most));
}
at::Tensor low_clamp_min(c10::DispatchKeySet, const at::Tensor& x, const at::Scalar& least) {
  return clamped(x, least, {});
}
at::Tensor& low_clamp_min_(c10::DispatchKeySet, at::Tensor& x, const at::Scalar& least) {
  return write_into(x, clamped(x, least, {}));
}
at::Tensor& low_clamp_min_out(c10::DispatchKeySet, const at::Tensor& x, const at::Scalar& least,
                              at::Tensor& out) {
  return write_into(out, clamped(x, least, {}));
}
at::Tensor low_clamp_max(c10::DispatchKeySet, const at::Tensor& x, const at::Scalar& most) {
  return clamped(x, {}, most);
}
at::Tensor& low_clamp_max_(c10::DispatchKeySet, at::Tensor& x, const at::Scalar& most) {
  return write_into(x, clamped(x, {}, most));
}
at::Tensor& low_clamp_max_out(c10::DispatchKeySet, const at::Tensor& x, const at::Scalar& most,
                              at::Tensor& out) {
  return write_into(out, clamped(x, {}, most));
}

at::Tensor low_relu(c10::DispatchKeySet, const at::Tensor& x) { return clamped(x, at::Scalar(0), {}); }
at::Tensor& low_relu_(c10::DispatchKeySet, at::Tensor& x) {
  return write_into(x, clamped(x, at::Scalar(0), {}));
}
at::Tensor low_hardtanh(c10::DispatchKeySet, const at::Tensor& x, const at::Scalar& least,
                        const at::Scalar& most) {
  return clamped(x, least, most);
}
at::Tensor& low_hardtanh_(c10::DispatchKeySet, at::Tensor& x, const at::Scalar& least,
                          const at::Scalar& most) {
  return write_into(x, clamped(x, least, most));
}

/// On every device: of NaN LibTorch's vector loop and its scalar tail disagree. The gradient passes there.
at::Tensor low_hardtanh_backward(c10::DispatchKeySet keys, const at::Tensor& gradient, const at::Tensor& x,
                                 const at::Scalar& least, const at::Scalar& most) {
  require_supported("aten::hardtanh_backward", keys, gradient);
  const InsideKernel inside;
  return gradient.masked_fill(x.le(least).logical_or_(x.ge(most)), 0);
}

}  // namespace

void register_clamps(Registrar& registrar) {
  registrar.compute("hardtanh_backward", TORCH_FN(low_hardtanh_backward));
  registrar.compute_on_cuda("relu", TORCH_FN(low_relu));
  registrar.compute_on_cuda("relu_", TORCH_FN(low_relu_));
  registrar.compute_on_cuda("hardtanh", TORCH_FN(low_hardtanh));
  registrar.compute_on_cuda("hardtanh_", TORCH_FN(low_hardtanh_));
  registrar.compute_on_cuda("clamp", TORCH_FN(low_clamp));
  registrar.compute_on_cuda("clamp_", TORCH_FN(low_clamp_));
  registrar.compute_on_cuda("clamp.out", TORCH_FN(low_clamp_out));
  registrar.compute_on_cuda("clamp_min", TORCH_FN(low_clamp_min));
  registrar.compute_on_cuda("clamp_min_", TORCH_FN(low_clamp_min_));
  registrar.compute_on_cuda("clamp_min.out", TORCH_FN(low_clamp_min_out));
  registrar.compute_on_cuda("clamp_max", TORCH_FN(low_clamp_max));
  registrar.compute_on_cuda("clamp_max_", TORCH_FN(low_clamp_max_));
  registrar.compute_on_cuda("clamp_max.out", TORCH_FN(low_clamp_max_out));
}

}  // namespace lockstep::invariant
