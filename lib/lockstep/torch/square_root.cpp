#include <ATen/ATen.h>
#include <type_traits>

#include "lockstep/math/math.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/on_device.h"
#include "lockstep/torch/square_root_internal.h"

namespace lockstep::invariant {

at::Tensor square_root(const at::Tensor& x) {
  const InsideKernel inside;
  const at::Tensor dense = x.contiguous(), roots = at::empty(x.sizes(), x.options());
  const OnDevice on("aten::sqrt", dense);
  by_dtype(dense, [&](auto zero) {
    using T = decltype(zero);
    if constexpr (std::is_same_v<T, float>)
      math::sqrt(dense.const_data_ptr<T>(), roots.mutable_data_ptr<T>(), dense.numel(), on.device(),
                 on.stream());
    else
      math::sqrt(dense.const_data_ptr<T>(), roots.mutable_data_ptr<T>(), dense.numel());
  });
  return roots;
}

}  // namespace lockstep::invariant
