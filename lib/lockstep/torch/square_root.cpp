#include <ATen/ATen.h>

#include "lockstep/math/math.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/square_root_internal.h"

namespace lockstep::invariant {

at::Tensor square_root(const at::Tensor& x) {
  const InsideKernel inside;
  if (!x.is_cuda() || x.scalar_type() != at::kFloat) return x.sqrt();
  const at::Tensor dense = x.contiguous(), roots = at::empty(x.sizes(), x.options());
  const OnDevice on("aten::sqrt", dense);
  math::sqrt(dense.const_data_ptr<float>(), roots.mutable_data_ptr<float>(), dense.numel(), on.device(),
             on.stream());
  return roots;
}

}  // namespace lockstep::invariant
