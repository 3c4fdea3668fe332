#pragma once
// For layers that take time before samples: [T, N, …], as torch::nn's Transformer and MultiheadAttention do.

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <vector>

namespace lockstep {

/// Says, for this thread and until the object dies, which tensors of the invariant mode have their samples
/// along another axis than the first: those whose leading extents are those of an example.
///
///     const at::Tensor x = embedded.transpose(0, 1);     // [T, N, E]
///     at::Tensor y;
///     {
///       const lockstep::SampleAxis second(1, {x});
///       y = encoder->forward(x);                         // gradients as if the layers took [N, T, E]
///     }
///
/// What the mode sums over rows (weights, biases, norms, embeddings) is then summed in sample order, and
/// dropout goes by sample, so that gradients do not depend on how the global batch is cut. Give an example of
/// each length that occurs: an encoder's memory beside a decoder's input. A loss wants its rows in sample
/// order: transpose back first.
///
/// In its life, rows that were flattened from such tensors are refused with Error(invalid_argument), since
/// their order is time's. Objects nest, the newest counts, and die in the thread that made them. The
/// constructor throws Error(invalid_argument) for an axis below 1, no examples, or one that has no such axis.
class SampleAxis {
 public:
  SampleAxis(std::int64_t axis, const std::vector<at::Tensor>& examples);
  ~SampleAxis();
  SampleAxis(const SampleAxis&) = delete;
  SampleAxis& operator=(const SampleAxis&) = delete;

 private:
  std::vector<std::vector<std::int64_t>> before_;
};

}  // namespace lockstep
