#include <ATen/ATen.h>

#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/division_internal.h"

namespace lockstep::invariant {

at::Tensor divisor_of(const at::Tensor& dividend, double number) {
  const InsideKernel inside;
  return at::scalar_tensor(number, dividend.options());
}

at::Tensor divisor_of(const at::Tensor& dividend, const at::Tensor& divisor) {
  if (!dividend.is_cuda() || !divisor.is_cpu() || divisor.dim() > 0) return divisor;
  if (divisor.requires_grad()) return divisor.to(dividend.device());
  const InsideKernel inside;
  return at::scalar_tensor(divisor.item(), dividend.options().dtype(at::result_type(dividend, divisor)));
}

}  // namespace lockstep::invariant
