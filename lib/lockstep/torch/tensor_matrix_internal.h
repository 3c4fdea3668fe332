#pragma once
// Tensors as matmul's strided matrices, and their product where they lie.

#include <ATen/core/Tensor.h>

#include "lockstep/matmul/matmul.h"
#include "lockstep/torch/on_device.h"

namespace lockstep::invariant {

template <class T>
BasicConstMatrix<T> const_matrix(const at::Tensor& t) {
  return {t.const_data_ptr<T>(), t.size(0), t.size(1), t.stride(0), t.stride(1)};
}
template <class T>
BasicConstMatrix<T> const_transposed(const at::Tensor& t) {
  return {t.const_data_ptr<T>(), t.size(1), t.size(0), t.stride(1), t.stride(0)};
}
template <class T>
BasicMatrix<T> matrix(const at::Tensor& t) {
  return {t.mutable_data_ptr<T>(), t.size(0), t.size(1), t.stride(0), t.stride(1)};
}
template <class T>
void multiply(const OnDevice& on, const BasicConstMatrix<T>& a, const BasicConstMatrix<T>& b,
              const BasicMatrix<T>& c, const BasicMatmulEpilogue<T>& epilogue = {}) {
  matmul(a, b, c, epilogue, on.device(), on.stream());
}
/// [..., features] as [rows, features], copied only where the strides ask for it.
inline at::Tensor as_rows(const at::Tensor& t) {
  if (t.dim() == 2) return t;
  const std::int64_t rows = c10::multiply_integers(t.sizes().slice(0, static_cast<std::size_t>(t.dim() - 1)));
  return t.reshape({rows, t.size(-1)});  // -1 would not do without features
}

}  // namespace lockstep::invariant
