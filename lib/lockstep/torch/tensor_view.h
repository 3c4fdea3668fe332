#pragma once
// Tensors as views, and back to names. Nothing here copies unless it says so.

#include <ATen/core/Tensor.h>

#include "lockstep/base/dtype.h"
#include "lockstep/base/view.h"
#include "lockstep/fingerprint/digest.h"

namespace torch::nn {
class Module;
}

namespace lockstep {

/// Throws Error(unsupported) naming the type for complex, quantised, 8-bit float and sub-byte types.
DType to_dtype(at::ScalarType type);
at::ScalarType to_scalar_type(DType dtype);

/// A view of the tensor's own memory; valid as long as the tensor's storage lives and is not resized.
/// Throws Error(invalid_argument) for an undefined or non-contiguous tensor and for more than Shape::kMaxRank
/// axes, Error(unsupported) for a sparse, nested or lazily conjugated one, for another device than the CPU
/// and for a dtype that has no counterpart. Each message says what to call first.
ConstView view_of(const at::Tensor& tensor);

/// `tensor` itself when view_of() takes it; else a copy that view_of() takes: contiguous, on the CPU, without
/// gradient. From a CUDA device it is copied on LibTorch's current stream, and waited for. Throws
/// Error(unsupported) for sparse and nested tensors.
at::Tensor viewable(const at::Tensor& tensor);

/// `tensor` without gradient, contiguous and with plain values, on its own device; a copy where it must be.
/// Throws as viewable().
at::Tensor dense(const at::Tensor& tensor);

/// A view of what dense() gave of a tensor of the CPU or of a CUDA device.
ConstView view_of_dense(const at::Tensor& dense);

/// Starts a copy of what dense() gave of a CUDA tensor to pinned memory: it is there when LibTorch's current
/// stream has come so far.
at::Tensor start_fetching(const at::Tensor& dense);

/// Digest of a tensor of any device and layout that viewable() takes.
fingerprint::Digest digest_of(const at::Tensor& tensor);

/// One digest of all parameters and buffers, names included, in registration order: equal exactly when every
/// name, dtype, shape and bit is equal.
fingerprint::Digest digest_of(const torch::nn::Module& module);

}  // namespace lockstep
