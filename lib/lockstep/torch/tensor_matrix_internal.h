#pragma once
// Tensors as matmul's strided matrices, and their product where they lie.

#include <ATen/core/Tensor.h>
#include <type_traits>

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
/// matmul's scratch, for sums so long that blocks may share them.
inline void* matmul_scratch(OnDevice& on, std::int64_t depth) {
  return depth > order::kRowsPerChunk ? on.zeros<char>(kMatmulScratchBytes) : nullptr;
}
template <class T>
void multiply_batched(OnDevice& on, std::int64_t batch, const BasicConstMatrix<T>& a,
                      std::int64_t a_batch_stride, const BasicConstMatrix<T>& b, std::int64_t b_batch_stride,
                      const BasicMatrix<T>& c, std::int64_t c_batch_stride,
                      const BasicMatmulEpilogue<T>& epilogue) {
  if constexpr (std::is_same_v<T, float>)
    matmul_batched(batch, a, a_batch_stride, b, b_batch_stride, c, c_batch_stride, epilogue, on.device(),
                   on.stream(), matmul_scratch(on, a.cols));
  else
    matmul_batched(batch, a, a_batch_stride, b, b_batch_stride, c, c_batch_stride, epilogue, on.device(),
                   on.stream());
}
template <class T>
void multiply(OnDevice& on, const BasicConstMatrix<T>& a, const BasicConstMatrix<T>& b,
              const BasicMatrix<T>& c, const BasicMatmulEpilogue<T>& epilogue = {}) {
  multiply_batched(on, 1, a, 0, b, 0, c, 0, epilogue);
}
template <class T>
void fold_product(OnDevice& on, const BasicConstMatrix<T>& a, const BasicConstMatrix<T>& b,
                  const order::FoldSpan& span, const BasicMatrix<T>& total, T* open) {
  if constexpr (std::is_same_v<T, float>)
    matmul_fold(a, b, span, total, open, on.device(), on.stream(), matmul_scratch(on, span.rows));
  else
    matmul_fold(a, b, span, total, open, on.device(), on.stream());
}
/// [..., features] as [rows, features], copied only where the strides ask for it.
inline at::Tensor as_rows(const at::Tensor& t) {
  if (t.dim() == 2) return t;
  const std::int64_t rows = c10::multiply_integers(t.sizes().slice(0, static_cast<std::size_t>(t.dim() - 1)));
  return t.reshape({rows, t.size(-1)});  // -1 would not do without features
}

}  // namespace lockstep::invariant
