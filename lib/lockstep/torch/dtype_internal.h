#pragma once
// The element types that the mode computes in: float32, and float64 for tests such as torch's gradcheck.

#include <ATen/core/Tensor.h>

namespace lockstep::invariant {

inline bool is_computed_in(at::ScalarType type) { return type == at::kFloat || type == at::kDouble; }

/// Calls function(T()) with the type of the tensor's elements, which require_supported took. A call asks for
/// the memory of its other operands as T too, so that LibTorch refuses those of another dtype in words.
template <class Function>
decltype(auto) by_dtype(const at::Tensor& tensor, Function&& function) {
  if (tensor.scalar_type() == at::kDouble) return function(double());
  return function(float());
}

/// The memory of an operand that may be left out.
template <class T>
const T* data_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}

}  // namespace lockstep::invariant
