#pragma once
// Attention over packed samples of different length, which torch::nn has no form for. In and out of the
// invariant mode, on the CPU.

#include <ATen/core/Tensor.h>
#include <optional>

namespace lockstep::nn {

struct PackedAttentionOptions {
  /// Query i of T sees keys 0 … i + L - T of a sample's L: for self-attention those up to its own place.
  bool is_causal = false;
  std::optional<double> scale = std::nullopt;  ///< 1 / sqrt(head size) unless given
};

/// Attention of each sample on its own, the samples one behind the other without padding.
///
/// query        [tokens, H, D]       float32; strides of tokens and heads are free
/// key          [key tokens, G, D]   float32; G divides H: head h reads key h / (H / G)
/// value        [key tokens, G, E]   float32
/// query_ends   [B + 1]              int32 or int64 on the CPU: 0, then where each sample ends, `tokens` for
///                                   the last. What varlen kernels call cu_seqlens
/// key_ends     [B + 1]              the same for keys; a sample may have other lengths there
///
/// Returns [tokens, H, E], with gradients with respect to query, key and value. A query without keys gets 0.
/// Order of operations: lockstep/attention/README.md; a sample has the bits that scaled_dot_product_attention
/// gives it alone in the invariant mode (without a mask; where is_causal, for as many queries as keys).
/// Guarantees: run_to_run, batch, micro_batch, threads.
///
/// Throws Error(invalid_argument) for shapes or ends that do not fit, Error(unsupported) for another dtype or
/// device, and for a double backward.
at::Tensor packed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const at::Tensor& query_ends, const at::Tensor& key_ends,
                            const PackedAttentionOptions& options = {});

/// Self-attention: queries and keys of the same samples.
at::Tensor packed_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const at::Tensor& ends, const PackedAttentionOptions& options = {});

}  // namespace lockstep::nn
