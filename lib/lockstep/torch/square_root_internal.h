#pragma once
// The IEEE square root on every device: LibTorch's CUDA kernel gives other bits than its CPU kernel.

#include <ATen/core/Tensor.h>

namespace lockstep::invariant {

/// A dense tensor of the roots of floats, for code that runs inside an operation. Nothing is recorded.
at::Tensor square_root(const at::Tensor& x);

}  // namespace lockstep::invariant
