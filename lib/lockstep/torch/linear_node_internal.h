#pragma once
// y = x · Wᵀ + b with a node of ours, whatever operation it came from.

#include <ATen/core/Tensor.h>
#include <optional>

namespace lockstep::invariant {

/// x [..., in], weight [out, in], bias [out] or nothing, of one dtype: [..., out]. Gradients of parameters go
/// where gradient_places says.
at::Tensor linear(const char* operation, const at::Tensor& x, const at::Tensor& weight,
                  const std::optional<at::Tensor>& bias);

}  // namespace lockstep::invariant
