#pragma once
// Attention with a node of ours, for the mode's operations and for packed sequences.

#include <ATen/core/Tensor.h>
#include <cstdint>

#include "lockstep/attention/attention.h"

namespace lockstep::invariant {

/// What a call is beside q, k and v: [samples, heads, tokens, features], or packed [tokens, heads, features].
struct AttentionCall {
  AttentionExtents extents;
  double scale = 1;
  Causal causal = Causal::none;
  /// Each undefined, or [samples, heads, queries, keys] in any strides; bool, and of the dtype of q.
  at::Tensor keep, add;
  bool is_packed = false;
  /// int64 [4, samples], of packed samples: query_starts, query_lengths, key_starts, key_lengths.
  at::Tensor sequences;

  template <class T>
  BasicAttentionOptions<T> options() const;
};

/// attention() and its gradients with respect to q, k and v, which are float32, or float64 on the CPU.
at::Tensor attend(AttentionCall call, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

}  // namespace lockstep::invariant
