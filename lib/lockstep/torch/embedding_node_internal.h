#pragma once
// Positions: rows of a table that all samples share.

#include <ATen/core/Tensor.h>

namespace lockstep::invariant {

/// Models add the embedding of position ids [T] or [1, T] to every sample. Where `operand` is the result of
/// such an embedding, and `shape` has it once more for each sample, this is the embedding of the ids expanded
/// to [samples, T]: the same values, and a gradient of the table that is a fold over rows. Else undefined.
at::Tensor embedding_for_each_sample(const at::Tensor& operand, at::IntArrayRef shape);

}  // namespace lockstep::invariant
