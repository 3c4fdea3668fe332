// Products of computed tensors: PyTorch's derivatives, our sums.

#include <ATen/ATen.h>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/matmul/matmul.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/dtype_internal.h"
#include "lockstep/torch/tensor_matrix_internal.h"

namespace lockstep::invariant {
namespace {

/// One of a batch: the first.
template <class T>
BasicConstMatrix<T> first_matrix(const at::Tensor& t) {
  return {t.const_data_ptr<T>(), t.size(1), t.size(2), t.stride(1), t.stride(2)};
}

template <class T>
void batched(const char* operation, const at::Tensor& left, const at::Tensor& right, const at::Tensor& out,
             const BasicMatmulEpilogue<T>& epilogue) {
  if (right.size(0) != left.size(0))
    fail(ErrorCode::invalid_argument, {operation,
                                       "matrices",
                                       fmt::format("{} on both sides", left.size(0)),
                                       fmt::format("{} on the right", right.size(0)),
                                       {}});
  const BasicMatrix<T> first{out.mutable_data_ptr<T>(), out.size(1), out.size(2), out.stride(1),
                             out.stride(2)};
  OnDevice on(operation, left, right, out);
  multiply_batched(on, out.size(0), first_matrix<T>(left), left.stride(0), first_matrix<T>(right),
                   right.stride(0), first, out.stride(0), epilogue);
}

at::Tensor low_mm(c10::DispatchKeySet keys, const at::Tensor& left, const at::Tensor& right) {
  require_supported("aten::mm", keys, left);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL("aten::mm");
  take_over_thread_count();
  const at::Tensor out = at::empty({left.size(0), right.size(1)}, left.options());
  OnDevice on("aten::mm", left, right);
  by_dtype(left, [&](auto zero) {
    using T = decltype(zero);
    multiply(on, const_matrix<T>(left), const_matrix<T>(right), matrix<T>(out));
  });
  return out;
}

at::Tensor low_addmm(c10::DispatchKeySet keys, const at::Tensor& offset, const at::Tensor& left,
                     const at::Tensor& right, const at::Scalar& beta, const at::Scalar& alpha) {
  require_supported("aten::addmm", keys, left);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL("aten::addmm");
  take_over_thread_count();
  const at::Tensor out = offset.expand({left.size(0), right.size(1)}).clone(at::MemoryFormat::Contiguous);
  OnDevice on("aten::addmm", left, right, out);
  by_dtype(left, [&](auto zero) {
    using T = decltype(zero);
    multiply(on, const_matrix<T>(left), const_matrix<T>(right), matrix<T>(out),
             BasicMatmulEpilogue<T>{alpha.to<T>(), beta.to<T>(), nullptr});
  });
  return out;
}

at::Tensor low_bmm(c10::DispatchKeySet keys, const at::Tensor& left, const at::Tensor& right) {
  require_supported("aten::bmm", keys, left);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL("aten::bmm");
  take_over_thread_count();
  const at::Tensor out = at::empty({left.size(0), left.size(1), right.size(2)}, left.options());
  by_dtype(left,
           [&](auto zero) { batched("aten::bmm", left, right, out, BasicMatmulEpilogue<decltype(zero)>{}); });
  return out;
}

at::Tensor low_baddbmm(c10::DispatchKeySet keys, const at::Tensor& offset, const at::Tensor& left,
                       const at::Tensor& right, const at::Scalar& beta, const at::Scalar& alpha) {
  require_supported("aten::baddbmm", keys, left);
  const InsideKernel inside;
  LOCKSTEP_COUNT_CALL("aten::baddbmm");
  take_over_thread_count();
  const at::Tensor out =
      offset.expand({left.size(0), left.size(1), right.size(2)}).clone(at::MemoryFormat::Contiguous);
  by_dtype(left, [&](auto zero) {
    using T = decltype(zero);
    batched("aten::baddbmm", left, right, out, BasicMatmulEpilogue<T>{alpha.to<T>(), beta.to<T>(), nullptr});
  });
  return out;
}

at::Tensor low_mv(c10::DispatchKeySet keys, const at::Tensor& left, const at::Tensor& vector) {
  return low_mm(keys, left, vector.unsqueeze(1)).squeeze(1);
}

at::Tensor low_dot(c10::DispatchKeySet keys, const at::Tensor& left, const at::Tensor& right) {
  return low_mm(keys, left.unsqueeze(0), right.unsqueeze(1)).view(at::IntArrayRef{});
}

}  // namespace

void register_matmul(Registrar& registrar) {
  registrar.low.impl("mm", TORCH_FN(low_mm));  // at kHigh they may have a node of ours: operations_linear.cpp
  registrar.low.impl("addmm", TORCH_FN(low_addmm));
  registrar.compute("bmm", TORCH_FN(low_bmm));
  registrar.compute("baddbmm", TORCH_FN(low_baddbmm));
  registrar.compute("mv", TORCH_FN(low_mv));
  registrar.compute("dot", TORCH_FN(low_dot));
}

}  // namespace lockstep::invariant
