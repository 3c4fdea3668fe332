// linear, addmm, matmul and mm: where one operand is a parameter, its gradient is a fold over rows, and they
// get a node of ours. LibTorch's torch::nn::Linear calls addmm or matmul with the weight transposed, Python's
// calls linear.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/gradient_places_internal.h"
#include "lockstep/torch/linear_node_internal.h"

namespace lockstep::invariant {
namespace {

bool is_parameter(const at::Tensor& tensor) {
  return records_gradients() && resolve_parameter(tensor).base.defined();
}

at::Tensor high_linear(c10::DispatchKeySet keys, const at::Tensor& x, const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias) {
  require_supported("aten::linear", keys, x);
  if (weight.dim() != 2) return at::_ops::linear::redispatch(past_high(keys), x, weight, bias);
  LOCKSTEP_COUNT_CALL("aten::linear");
  return linear("aten::linear", x, weight, bias);
}

at::Tensor high_addmm(c10::DispatchKeySet keys, const at::Tensor& bias, const at::Tensor& x,
                      const at::Tensor& right, const at::Scalar& beta, const at::Scalar& alpha) {
  require_supported("aten::addmm", keys, x);
  const bool is_linear = bias.dim() == 1 && bias.size(0) == right.size(1) && beta.equal(1) && alpha.equal(1);
  if (!is_linear) return at::_ops::addmm::redispatch(through_low(keys), bias, x, right, beta, alpha);
  LOCKSTEP_COUNT_CALL("aten::addmm");
  return linear("aten::addmm", x, right.t(), bias);
}

at::Tensor high_matmul(c10::DispatchKeySet keys, const at::Tensor& left, const at::Tensor& right) {
  require_supported("aten::matmul", keys, left);
  if (right.dim() == 2 && left.dim() >= 2 && is_parameter(right)) {
    LOCKSTEP_COUNT_CALL("aten::matmul");
    return linear("aten::matmul", left, right.t(), std::nullopt);
  }
  return at::_ops::matmul::redispatch(past_high(keys), left, right);
}

at::Tensor high_mm(c10::DispatchKeySet keys, const at::Tensor& left, const at::Tensor& right) {
  require_supported("aten::mm", keys, left);
  if (is_parameter(right)) {
    LOCKSTEP_COUNT_CALL("aten::mm");
    return linear("aten::mm", left, right.t(), std::nullopt);
  }
  return at::_ops::mm::redispatch(through_low(keys), left, right);
}

}  // namespace

void register_linear(Registrar& registrar) {
  registrar.whole("linear", TORCH_FN(high_linear));
  registrar.whole("addmm", TORCH_FN(high_addmm));
  registrar.whole("matmul", TORCH_FN(high_matmul));
  registrar.whole("mm", TORCH_FN(high_mm));
}

}  // namespace lockstep::invariant
