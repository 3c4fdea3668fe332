#pragma once
// Scaled dot-product attention, forward and backward, without a matrix of queries by keys (contracts, section
// 6). C++17. README.md holds the order of operations.

#include <cstdint>

#include "lockstep/base/view.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kAttentionSpecVersion = 1;

/// Read: element (sample b, head h, token t, feature d) is data[b * sample_stride + h * head_stride
/// + t * token_stride + d]. Strides count elements and may have any value, 0 included; features are
/// neighbours. [B, H, T, D] and [B, T, H, D] differ in their strides alone.
template <class T>
struct BasicConstHeads {
  const T* data = nullptr;
  std::int64_t sample_stride = 0, head_stride = 0, token_stride = 0;
};
using ConstHeads = BasicConstHeads<float>;
using ConstHeads64 = BasicConstHeads<double>;

/// Written: as above, and no two elements may share memory.
template <class T>
struct BasicHeads {
  T* data = nullptr;
  std::int64_t sample_stride = 0, head_stride = 0, token_stride = 0;
};
using Heads = BasicHeads<float>;
using Heads64 = BasicHeads<double>;

/// One number a query and head: data[b * sample_stride + h * head_stride + t].
template <class T>
struct BasicConstHeadRows {
  const T* data = nullptr;
  std::int64_t sample_stride = 0, head_stride = 0;
};
using ConstHeadRows = BasicConstHeadRows<float>;
using ConstHeadRows64 = BasicConstHeadRows<double>;
template <class T>
struct BasicHeadRows {
  T* data = nullptr;
  std::int64_t sample_stride = 0, head_stride = 0;
};
using HeadRows = BasicHeadRows<float>;
using HeadRows64 = BasicHeadRows<double>;

struct AttentionExtents {
  std::int64_t samples = 0;
  std::int64_t heads = 0;  ///< of q
  std::int64_t kv_heads =
      0;  ///< of k and v, a divisor of heads: head h reads the keys of h / (heads / kv_heads)
  std::int64_t queries = 0, keys = 0;  ///< of a sample, or the most that one has
  std::int64_t head_size = 0;          ///< features of q and k, at most 1,024
  std::int64_t value_size = 0;         ///< features of v and o
};

/// Which of a sample's L keys its query i of T sees by its place.
enum class Causal : std::uint8_t {
  none,         ///< all
  upper_left,   ///< 0 … i: LibTorch's is_causal
  lower_right,  ///< 0 … i + L - T: the last query sees all, as with a cache of earlier keys
};

/// Element (b, h, query i, key j) at b * sample_stride + … + j * key_stride; a stride of 0 broadcasts. Either
/// pointer may be null; where both are set, both hold. i and j count from the sample's own first token.
template <class T>
struct BasicAttentionMask {
  const bool* keep = nullptr;  ///< false: the query does not see the key
  const T* add = nullptr;      ///< added to the scaled product; -inf: the query does not see the key
  std::int64_t sample_stride = 0, head_stride = 0, query_stride = 0, key_stride = 0;
};
using AttentionMask = BasicAttentionMask<float>;
using AttentionMask64 = BasicAttentionMask<double>;

/// Samples of different length. Each array has `samples` elements, or is null, and lies where the tensors do:
/// on a CUDA device the kernels read it when their turn on the stream comes, so that a graph sees new lengths
/// without being captured again. What the host cannot read it cannot refuse: there a sample with a length or
/// start outside its range counts as one without tokens, and its results are NaN, or unwritten where samples
/// are packed.
///
/// lengths  tokens that belong to the sample, at most extents.queries or keys; null: all of them do. Those
///          behind are not read; results there are +0, and -inf for lse.
/// starts   token of `data` at which the sample begins, for samples that are packed one behind the other with
///          sample_stride 0; null: 0. The rows of lse begin there too.
struct AttentionSequences {
  const std::int64_t* query_lengths = nullptr;
  const std::int64_t* key_lengths = nullptr;
  const std::int64_t* query_starts = nullptr;
  const std::int64_t* key_starts = nullptr;
};

template <class T>
struct BasicAttentionOptions {
  T scale = 1;  ///< of q · k, usually 1 / sqrt(head_size)
  Causal causal = Causal::none;
  BasicAttentionMask<T> mask = {};
  AttentionSequences sequences = {};
};
using AttentionOptions = BasicAttentionOptions<float>;
using AttentionOptions64 = BasicAttentionOptions<double>;

/// o[i] = sum over keys j of softmax_j(scale * q[i] · k[j]) v[j], and lse[i], the logarithm of its
/// denominator.
///
/// q  [samples, heads, queries, head_size]      read
/// k  [samples, kv_heads, keys, head_size]      read
/// v  [samples, kv_heads, keys, value_size]     read
/// o  [samples, heads, queries, value_size]     written; must overlap no operand
/// lse  [samples, heads, queries]               written, for backward; data may be null
///
/// Order: tiles of 64 keys from the sample's first key, ascending, by online softmax; each element of o is
/// one chain over the keys of a tile, rescaled between tiles, and divided once (README.md). A query's result
/// depends on its own row, on the keys of its sample and head, and on the mask's row for it: on no other
/// sample, and not on the longest one.
///
/// A query that sees no key gets +0, and -inf as lse. A NaN or +inf among the products that it sees makes its
/// row NaN. Keys that are masked, but lie in a tile of which another key is seen, are multiplied with +0:
/// where v is not finite there the result is NaN; products of q and k are not looked at there. -0 and
/// subnormals are kept, for a caller that flushes them too.
///
/// All memory lies on `device`. Guarantees: run_to_run, batch, threads, cpu_to_gpu. Throws
/// Error(invalid_argument) for extents, strides or, on the CPU, lengths that do not fit each other, or a null
/// pointer where there are elements; Error(unsupported) for a head_size above 1,024, and for Device::cuda in
/// a build without CUDA. `stream` is the cudaStream_t to work on (null: the default stream), unused on the
/// CPU; on a CUDA device a call returns before the work is done. o may be written more than once there.
void attention(const ConstHeads& q, const ConstHeads& k, const ConstHeads& v, const Heads& o,
               const HeadRows& lse, const AttentionExtents& extents, const AttentionOptions& options = {},
               Device device = Device::cpu, void* stream = nullptr);

/// The gradients of attention with respect to q, k and v, from the gradient d_o with respect to o. o and lse
/// are what attention gave for the same q, k, v, extents and options, which backward computes nothing of
/// again but the products of q and k.
///
/// d_q, d_k, d_v have the shapes of q, k, v, are written, and must overlap neither each other nor an operand;
/// the data of each may be null, and then it is not computed. A masked key contributes exactly +0, and so
/// does a query that sees no key; what lies behind a sample's length gets +0.
///
/// Order: an element of d_q is a sum over keys, one of d_k or d_v a sum over the sample's own queries,
/// ascending, in chains of 1,024 (contracts, section 3); the heads of a group are added in ascending order.
/// Guarantees and errors as above.
///
/// scratch: on a CUDA device attention_backward_scratch_bytes(extents) bytes of its memory on a boundary of
/// 256, overwritten; the next call on the same stream may have the same. Unused on the CPU.
void attention_backward(const ConstHeads& d_o, const ConstHeads& q, const ConstHeads& k, const ConstHeads& v,
                        const ConstHeads& o, const ConstHeadRows& lse, const Heads& d_q, const Heads& d_k,
                        const Heads& d_v, const AttentionExtents& extents,
                        const AttentionOptions& options = {}, Device device = Device::cpu,
                        void* stream = nullptr, void* scratch = nullptr);

/// The bytes of scratch that a backward of these extents needs on a CUDA device: 4 a query and head and,
/// where there are more than 1,024 queries, as many as k and v take; for more than 1,024 keys, as many as q
/// takes. Throws Error(invalid_argument) for extents that do not fit each other, Error(unsupported) without
/// CUDA.
std::int64_t attention_backward_scratch_bytes(const AttentionExtents& extents);

// The same in float64, in the same order: all float memory and numbers are double. For tests such as
// torch's gradcheck: one thread, and slow. Guarantees: run_to_run, batch, threads; not the same bits on
// every system, since the elementary functions are libm's. Errors as above.

void attention(const ConstHeads64& q, const ConstHeads64& k, const ConstHeads64& v, const Heads64& o,
               const HeadRows64& lse, const AttentionExtents& extents, const AttentionOptions64& options = {},
               Device device = Device::cpu, void* stream = nullptr);
void attention_backward(const ConstHeads64& d_o, const ConstHeads64& q, const ConstHeads64& k,
                        const ConstHeads64& v, const ConstHeads64& o, const ConstHeadRows64& lse,
                        const Heads64& d_q, const Heads64& d_k, const Heads64& d_v,
                        const AttentionExtents& extents, const AttentionOptions64& options = {},
                        Device device = Device::cpu, void* stream = nullptr, void* scratch = nullptr);

}  // namespace lockstep
