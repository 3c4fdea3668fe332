#pragma once
// Tensors as matmul's strided matrices.

#include <ATen/core/Tensor.h>

#include "lockstep/matmul/matmul.h"

namespace lockstep::invariant {

inline ConstMatrix const_matrix(const at::Tensor& t) {
  return {t.const_data_ptr<float>(), t.size(0), t.size(1), t.stride(0), t.stride(1)};
}
inline ConstMatrix const_transposed(const at::Tensor& t) {
  return {t.const_data_ptr<float>(), t.size(1), t.size(0), t.stride(1), t.stride(0)};
}
inline Matrix matrix(const at::Tensor& t) {
  return {t.mutable_data_ptr<float>(), t.size(0), t.size(1), t.stride(0), t.stride(1)};
}
/// [..., features] as [rows, features], copied only where the strides ask for it.
inline at::Tensor as_rows(const at::Tensor& t) { return t.dim() == 2 ? t : t.reshape({-1, t.size(-1)}); }

}  // namespace lockstep::invariant
