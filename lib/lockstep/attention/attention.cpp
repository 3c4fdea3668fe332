#include "lockstep/attention/attention.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

#include "lockstep/attention/attention_internal.h"
#include "lockstep/base/call_check_internal.h"

namespace lockstep {
namespace {

using attention_internal::BasicProblem;
using internal::refuse;

constexpr std::int64_t kMostFeatures = 1024;  // of a chain

void check_extents(const char* where, const AttentionExtents& x) {
  internal::check_extent(where, "samples", x.samples);
  internal::check_extent(where, "heads", x.heads);
  internal::check_extent(where, "kv_heads", x.kv_heads);
  internal::check_extent(where, "queries", x.queries);
  internal::check_extent(where, "keys", x.keys);
  internal::check_extent(where, "head_size", x.head_size);
  internal::check_extent(where, "value_size", x.value_size);
  if (x.heads > 0 && (x.kv_heads == 0 || x.heads % x.kv_heads != 0))
    refuse(where, "kv_heads", "a divisor of the " + std::to_string(x.heads) + " heads",
           std::to_string(x.kv_heads));
  if (x.head_size > kMostFeatures)
    refuse(where, "head_size", "at most 1024, the longest chain", std::to_string(x.head_size),
           ErrorCode::unsupported);
}

void check_lengths(const char* where, const char* name, const std::int64_t* lengths, std::int64_t samples,
                   std::int64_t most) {
  for (std::int64_t b = 0; lengths != nullptr && b < samples; ++b)
    if (lengths[b] < 0 || lengths[b] > most)
      refuse(where, std::string(name) + "[" + std::to_string(b) + "]", "0 … " + std::to_string(most),
             std::to_string(lengths[b]));
}

void check_starts(const char* where, const char* name, const std::int64_t* starts, std::int64_t samples) {
  for (std::int64_t b = 0; starts != nullptr && b < samples; ++b)
    if (starts[b] < 0)
      refuse(where, std::string(name) + "[" + std::to_string(b) + "]", "0 or more",
             std::to_string(starts[b]));
}

void check_sequences(const char* where, const AttentionSequences& of, const AttentionExtents& x) {
  check_lengths(where, "query_lengths", of.query_lengths, x.samples, x.queries);
  check_lengths(where, "key_lengths", of.key_lengths, x.samples, x.keys);
  check_starts(where, "query_starts", of.query_starts, x.samples);
  check_starts(where, "key_starts", of.key_starts, x.samples);
}

struct Size {
  std::int64_t samples, heads, tokens, features;
  bool is_packed;

  std::int64_t elements() const { return samples * heads * tokens * features; }
};

template <class T>
void check_operand(const char* where, const char* name, const BasicConstHeads<T>& heads, const Size& size) {
  internal::check_memory(where, name, heads.data, size.elements());
}

/// Elements of a result have memory of their own: a stride that moves over several of an extent may not be
/// less than what one of them takes. Which of the strides is the larger one is free.
template <class T>
void check_result(const char* where, const char* name, const BasicHeads<T>& heads, const Size& size) {
  if (size.elements() == 0) return;
  std::pair<std::int64_t, std::int64_t> axes[] = {
      {std::abs(heads.token_stride), size.tokens},
      {std::abs(heads.head_stride), size.heads},
      {std::abs(heads.sample_stride), size.is_packed ? 1 : size.samples}};
  std::sort(std::begin(axes), std::end(axes));
  std::int64_t taken = size.features;
  for (const auto& [stride, extent] : axes) {
    if (extent == 1) continue;
    if (stride < taken)
      refuse(where, name, "strides that give every element memory of its own",
             "sample_stride " + std::to_string(heads.sample_stride) + ", head_stride " +
                 std::to_string(heads.head_stride) + ", token_stride " + std::to_string(heads.token_stride));
    taken = stride * (extent - 1) + taken;
  }
}

struct Sizes {
  Size q, k, v, o, lse;

  explicit Sizes(const AttentionExtents& x, const AttentionSequences& of)
      : q{x.samples, x.heads, x.queries, x.head_size, of.query_starts != nullptr},
        k{x.samples, x.kv_heads, x.keys, x.head_size, of.key_starts != nullptr},
        v{x.samples, x.kv_heads, x.keys, x.value_size, of.key_starts != nullptr},
        o{x.samples, x.heads, x.queries, x.value_size, of.query_starts != nullptr},
        lse{x.samples, x.heads, x.queries, 1, of.query_starts != nullptr} {}
};

template <class T>
Sizes check_call(const char* where, const BasicProblem<T>& problem, Device device) {
  check_extents(where, problem.extents);
  internal::check_device_of<T>(where, device);
  if (device == Device::cpu) check_sequences(where, problem.options.sequences, problem.extents);
  const Sizes sizes(problem.extents, problem.options.sequences);
  check_operand(where, "q", problem.q, sizes.q);
  check_operand(where, "k", problem.k, sizes.k);
  check_operand(where, "v", problem.v, sizes.v);
  return sizes;
}

// Each call checked, then computed.
namespace checked {

template <class T>
void attention(const BasicConstHeads<T>& q, const BasicConstHeads<T>& k, const BasicConstHeads<T>& v,
               const BasicHeads<T>& o, const BasicHeadRows<T>& lse, const AttentionExtents& extents,
               const BasicAttentionOptions<T>& options, Device device, void* stream) {
  constexpr const char* kWhere = "attention";
  BasicProblem<T> problem;
  problem.extents = extents;
  problem.options = options;
  problem.q = q;
  problem.k = k;
  problem.v = v;
  problem.o = o;
  problem.lse = lse;
  const Sizes sizes = check_call(kWhere, problem, device);
  internal::check_memory(kWhere, "o", o.data, sizes.o.elements());
  check_result(kWhere, "o", o, sizes.o);
  if (lse.data != nullptr)
    check_result(kWhere, "lse", BasicHeads<T>{lse.data, lse.sample_stride, lse.head_stride, 1}, sizes.lse);
  if (sizes.lse.elements() == 0) return;
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return attention_internal::forward_cuda(problem, stream);
  }
  attention_internal::forward_cpu(problem);
}

template <class T>  // NOLINTNEXTLINE(readability-function-size): an argument an operand
void attention_backward(const BasicConstHeads<T>& d_o, const BasicConstHeads<T>& q,
                        const BasicConstHeads<T>& k, const BasicConstHeads<T>& v, const BasicConstHeads<T>& o,
                        const BasicConstHeadRows<T>& lse, const BasicHeads<T>& d_q, const BasicHeads<T>& d_k,
                        const BasicHeads<T>& d_v, const AttentionExtents& extents,
                        const BasicAttentionOptions<T>& options, Device device, void* stream, void* scratch) {
  constexpr const char* kWhere = "attention_backward";
  BasicProblem<T> problem;
  problem.extents = extents;
  problem.options = options;
  problem.q = q;
  problem.k = k;
  problem.v = v;
  problem.d_o = d_o;
  problem.from_o = o;
  problem.from_lse = lse;
  problem.d_q = d_q;
  problem.d_k = d_k;
  problem.d_v = d_v;
  const Sizes sizes = check_call(kWhere, problem, device);
  check_operand(kWhere, "d_o", d_o, sizes.o);
  check_operand(kWhere, "o", o, sizes.o);
  internal::check_memory(kWhere, "lse", lse.data, sizes.lse.elements());
  if (d_q.data != nullptr) check_result(kWhere, "d_q", d_q, sizes.q);
  if (d_k.data != nullptr) check_result(kWhere, "d_k", d_k, sizes.k);
  if (d_v.data != nullptr) check_result(kWhere, "d_v", d_v, sizes.v);
  const bool has_results = (d_q.data != nullptr && sizes.q.elements() > 0) ||
                           (d_k.data != nullptr && sizes.k.elements() > 0) ||
                           (d_v.data != nullptr && sizes.v.elements() > 0);
  if (!has_results) return;
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) {
      if (scratch == nullptr)
        refuse(kWhere, "scratch", "memory of attention_backward_scratch_bytes on the device",
               "a null pointer");
      return attention_internal::backward_cuda(problem, scratch, stream);
    }
  }
  attention_internal::backward_cpu(problem);
}

}  // namespace checked

}  // namespace

std::int64_t attention_backward_scratch_bytes(const AttentionExtents& extents) {
  check_extents("attention_backward_scratch_bytes", extents);
  return attention_internal::backward_scratch_bytes(extents);
}

void attention(const ConstHeads& q, const ConstHeads& k, const ConstHeads& v, const Heads& o,
               const HeadRows& lse, const AttentionExtents& extents, const AttentionOptions& options,
               Device device, void* stream) {
  checked::attention(q, k, v, o, lse, extents, options, device, stream);
}

// NOLINTNEXTLINE(readability-function-size): an argument an operand
void attention_backward(const ConstHeads& d_o, const ConstHeads& q, const ConstHeads& k, const ConstHeads& v,
                        const ConstHeads& o, const ConstHeadRows& lse, const Heads& d_q, const Heads& d_k,
                        const Heads& d_v, const AttentionExtents& extents, const AttentionOptions& options,
                        Device device, void* stream, void* scratch) {
  checked::attention_backward(d_o, q, k, v, o, lse, d_q, d_k, d_v, extents, options, device, stream, scratch);
}

void attention(const ConstHeads64& q, const ConstHeads64& k, const ConstHeads64& v, const Heads64& o,
               const HeadRows64& lse, const AttentionExtents& extents, const AttentionOptions64& options,
               Device device, void* stream) {
  checked::attention(q, k, v, o, lse, extents, options, device, stream);
}

// NOLINTNEXTLINE(readability-function-size): an argument an operand
void attention_backward(const ConstHeads64& d_o, const ConstHeads64& q, const ConstHeads64& k,
                        const ConstHeads64& v, const ConstHeads64& o, const ConstHeadRows64& lse,
                        const Heads64& d_q, const Heads64& d_k, const Heads64& d_v,
                        const AttentionExtents& extents, const AttentionOptions64& options, Device device,
                        void* stream, void* scratch) {
  checked::attention_backward(d_o, q, k, v, o, lse, d_q, d_k, d_v, extents, options, device, stream, scratch);
}

}  // namespace lockstep
