#pragma once
// What SampleAxis means to an operation of the mode.

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <utility>

namespace lockstep::invariant {

/// The axis of a tensor's samples: 0 unless a SampleAxis says otherwise. Throws Error(invalid_argument) for
/// rows that were flattened in another order than the samples'.
std::int64_t sample_axis_of(const char* operation, const at::Tensor& tensor);

/// function(tensor) with samples first, and back: autograd records both.
template <class Function>
at::Tensor in_sample_order(const at::Tensor& tensor, std::int64_t axis, Function&& function) {
  return std::forward<Function>(function)(tensor.transpose(0, axis)).transpose(0, axis).contiguous();
}

}  // namespace lockstep::invariant
