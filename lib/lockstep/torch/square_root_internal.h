#pragma once
// The IEEE square root. LibTorch's on the CPU is its vector library's, and off by one in six of a thousand.

#include <ATen/core/Tensor.h>

namespace lockstep::invariant {

/// A dense tensor of the roots of floats or doubles, for code that runs inside an operation. Nothing is
/// recorded.
at::Tensor square_root(const at::Tensor& x);

}  // namespace lockstep::invariant
