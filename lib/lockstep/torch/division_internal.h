#pragma once
// Quotients that are one IEEE division on every device. LibTorch's CUDA kernels multiply with the reciprocal
// of a divisor that is a number or lies on the CPU; a divisor on the device they divide by.

#include <ATen/core/Tensor.h>

namespace lockstep::invariant {

/// `number` as a divisor of `dividend`.
at::Tensor divisor_of(const at::Tensor& dividend, double number);

/// `divisor` where it cannot be mistaken; the divisor itself on the CPU, or where it lies beside the
/// dividend.
at::Tensor divisor_of(const at::Tensor& dividend, const at::Tensor& divisor);

}  // namespace lockstep::invariant
