#pragma once
// x + p, x - p and x * p for a parameter p that is broadcast over the rows of x: its gradient is a fold over
// rows, which autograd's own sum over a broadcast would not be.

#include <ATen/core/Tensor.h>
#include <optional>

namespace lockstep::invariant {

enum class BroadcastOperation { add, subtract, multiply };

/// Whether `tensor` is a parameter (or a view of one) that needs a gradient now, and is broadcast over
/// leading axes of `shape`, or has its shape.
bool is_row_parameter(const at::Tensor& tensor, at::IntArrayRef shape);

/// x [..., p's shape] with p of its dtype. `in_place`: x itself is written and returned.
at::Tensor broadcast_parameter(const char* name, BroadcastOperation operation, const at::Tensor& x,
                               const at::Tensor& parameter, bool in_place);

/// Throws Error(unsupported) for an operand that needs a gradient, is no parameter, and is broadcast over the
/// first axis: its gradient would be a sum over the batch in autograd's order.
void require_no_computed_broadcast(const char* name, const at::Tensor& operand, at::IntArrayRef shape);

}  // namespace lockstep::invariant
