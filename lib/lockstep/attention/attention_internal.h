#pragma once
// What attention.cpp calls. Extents have been checked, and there are elements of the results.

#include <cstdint>

#include "lockstep/attention/attention.h"
#include "lockstep/base/host_device.h"

namespace lockstep::attention_internal {

constexpr std::int64_t kTileKeys = 64;
/// Terms of one chain of a sum over keys or queries in backward.
constexpr std::int64_t kTermsPerChain = 1024;

/// Masks at one sample and head.
template <class T>
struct BasicMaskRows {
  const bool* keep = nullptr;
  const T* add = nullptr;
  std::int64_t query_stride = 0, key_stride = 0;

  LOCKSTEP_HOST_DEVICE bool is_set() const { return keep != nullptr || add != nullptr; }
};
using MaskRows = BasicMaskRows<float>;

/// One sample and head of q, with its keys and values.
template <class T>
struct BasicSequence {
  std::int64_t queries = 0, keys = 0;  ///< that it has
  bool is_causal = false;
  std::int64_t causal_offset = 0;  ///< query i sees keys up to i + causal_offset
  BasicMaskRows<T> mask;

  /// Keys that queries before `end` see by their places: keys 0 … visible_keys(end) - 1.
  LOCKSTEP_HOST_DEVICE std::int64_t visible_keys(std::int64_t end) const {
    if (!is_causal || keys < end + causal_offset) return keys;
    return end + causal_offset > 0 ? end + causal_offset : 0;
  }
  /// Whether a chain of kTermsPerChain keys ends behind the tile of the last of `visible` keys: +0 is added
  /// then, which makes +0 of a total of -0.
  LOCKSTEP_HOST_DEVICE bool ends_chains_behind(std::int64_t visible) const {
    const std::int64_t last_end = keys > 0 ? (keys - 1) / kTermsPerChain * kTermsPerChain : 0;
    return last_end > 0 && last_end >= (visible + kTileKeys - 1) / kTileKeys * kTileKeys;
  }
  /// The first query that sees key j by its place, or the number of queries.
  LOCKSTEP_HOST_DEVICE std::int64_t first_query(std::int64_t j) const {
    if (!is_causal || j <= causal_offset) return 0;
    return j - causal_offset < queries ? j - causal_offset : queries;
  }
};
using Sequence = BasicSequence<float>;

template <class T>
struct BasicProblem {
  AttentionExtents extents;
  BasicAttentionOptions<T> options;
  BasicConstHeads<T> q, k, v;
  BasicHeads<T> o;
  BasicHeadRows<T> lse;
  // backward
  BasicConstHeads<T> d_o, from_o;
  BasicConstHeadRows<T> from_lse;
  BasicHeads<T> d_q, d_k, d_v;

  LOCKSTEP_HOST_DEVICE std::int64_t heads_a_group() const { return extents.heads / extents.kv_heads; }
  LOCKSTEP_HOST_DEVICE std::int64_t query_start(std::int64_t b) const {
    return options.sequences.query_starts == nullptr ? 0 : options.sequences.query_starts[b];
  }
  LOCKSTEP_HOST_DEVICE std::int64_t key_start(std::int64_t b) const {
    return options.sequences.key_starts == nullptr ? 0 : options.sequences.key_starts[b];
  }
  LOCKSTEP_HOST_DEVICE BasicSequence<T> sequence(std::int64_t b, std::int64_t h) const {
    const AttentionSequences& of = options.sequences;
    BasicSequence<T> s;
    s.queries = of.query_lengths == nullptr ? extents.queries : of.query_lengths[b];
    s.keys = of.key_lengths == nullptr ? extents.keys : of.key_lengths[b];
    s.is_causal = options.causal != Causal::none;
    s.causal_offset = options.causal == Causal::lower_right ? s.keys - s.queries : 0;
    const std::int64_t at = b * options.mask.sample_stride + h * options.mask.head_stride;
    if (options.mask.keep != nullptr) s.mask.keep = options.mask.keep + at;
    if (options.mask.add != nullptr) s.mask.add = options.mask.add + at;
    s.mask.query_stride = options.mask.query_stride;
    s.mask.key_stride = options.mask.key_stride;
    return s;
  }
};
using Problem = BasicProblem<float>;
using Problem64 = BasicProblem<double>;

/// The first token of a sample and head; null where there is no memory.
template <class Tensor>
LOCKSTEP_HOST_DEVICE auto* tokens_of(const Tensor& tensor, std::int64_t b, std::int64_t h,
                                     std::int64_t start) {
  return tensor.data == nullptr
             ? nullptr
             : tensor.data + b * tensor.sample_stride + h * tensor.head_stride + start * tensor.token_stride;
}
template <class Rows>
LOCKSTEP_HOST_DEVICE auto* rows_of(const Rows& rows, std::int64_t b, std::int64_t h, std::int64_t start) {
  return rows.data == nullptr ? nullptr : rows.data + b * rows.sample_stride + h * rows.head_stride + start;
}

/// Multiplications that are worth a thread's start, and units of so many each that are.
constexpr std::int64_t kWorthAThread = 1 << 18;
inline std::int64_t units_a_thread(std::int64_t work) {
  return work >= kWorthAThread ? 1 : kWorthAThread / (work > 0 ? work : 1);
}

void forward_cpu(const Problem& problem);
void backward_cpu(const Problem& problem);

void forward_cuda(const Problem& problem, void* stream);
void backward_cuda(const Problem& problem, void* scratch, void* stream);
std::int64_t backward_scratch_bytes(const AttentionExtents& extents);

// attention_fp64.cpp
void forward_cpu(const Problem64& problem);
void backward_cpu(const Problem64& problem);

}  // namespace lockstep::attention_internal
