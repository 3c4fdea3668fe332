#include <algorithm>
#include <cstdint>
#include <limits>

#include "lockstep/attention/attention_internal.h"
#include "lockstep/attention/attention_ref.h"
#include "lockstep/parallel/parallel.h"

namespace lockstep::attention_internal {
namespace {

namespace ref = attention_ref;

ref::Rows<float> gather(const ConstHeads& from, std::int64_t b, std::int64_t h, std::int64_t start,
                        std::int64_t tokens, std::int64_t features) {
  ref::Rows<float> to(tokens, features);
  const float* const source = tokens > 0 && features > 0 ? tokens_of(from, b, h, start) : nullptr;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t d = 0; d < features; ++d) to.at(t, d) = source[t * from.token_stride + d];
  return to;
}

/// `extent` tokens, of which `from` has the first.
void scatter(const ref::Rows<float>& from, const Heads& to, std::int64_t b, std::int64_t h,
             std::int64_t start, std::int64_t extent, bool adds) {
  if (to.data == nullptr || from.cols == 0) return;
  float* const target = tokens_of(to, b, h, start);
  for (std::int64_t t = 0; t < extent; ++t) {
    for (std::int64_t d = 0; d < from.cols; ++d) {
      float& element = target[t * to.token_stride + d];
      const float value = t < from.rows ? from.at(t, d) : 0.0f;
      element = adds ? element + value : value;
    }
  }
}

ref::Sequence<float> sequence_of(const Problem& p, std::int64_t b, std::int64_t h) {
  const Sequence s = p.sequence(b, h);
  const std::int64_t kv = h / p.heads_a_group();
  ref::Sequence<float> to;
  to.q = gather(p.q, b, h, p.query_start(b), s.queries, p.extents.head_size);
  to.k = gather(p.k, b, kv, p.key_start(b), s.keys, p.extents.head_size);
  to.v = gather(p.v, b, kv, p.key_start(b), s.keys, p.extents.value_size);
  to.scale = p.options.scale;
  to.mask = [s](float value, std::int64_t i, std::int64_t j) {
    constexpr float kNothing = -std::numeric_limits<float>::infinity();
    const std::int64_t at = i * s.mask.query_stride + j * s.mask.key_stride;
    if (s.is_causal && j > i + s.causal_offset) return kNothing;
    if (s.mask.keep != nullptr && !s.mask.keep[at]) return kNothing;
    if (s.mask.add == nullptr) return value;
    return s.mask.add[at] == kNothing ? kNothing : value + s.mask.add[at];
  };
  return to;
}

}  // namespace

void forward_cpu(const Problem& p) {
  parallel::for_each_range(p.extents.samples * p.extents.heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t b = unit / p.extents.heads, h = unit % p.extents.heads, start = p.query_start(b);
      const ref::Result<float> result = ref::forward(sequence_of(p, b, h));
      const std::int64_t extent =
          p.options.sequences.query_starts == nullptr ? p.extents.queries : result.o.rows;
      scatter(result.o, p.o, b, h, start, extent, false);
      for (std::int64_t t = 0; p.lse.data != nullptr && t < extent; ++t)
        rows_of(p.lse, b, h, start)[t] =
            t < result.o.rows ? result.lse[static_cast<std::size_t>(t)] : ref::kNothing<float>;
    }
  });
}

void backward_cpu(const Problem& p) {
  const std::int64_t group = p.heads_a_group();
  parallel::for_each_range(
      p.extents.samples * p.extents.kv_heads, 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t unit = begin; unit < end; ++unit) {
          const std::int64_t b = unit / p.extents.kv_heads, kv = unit % p.extents.kv_heads;
          const bool is_packed = p.options.sequences.query_starts != nullptr;
          for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h) {
            const ref::Sequence<float> x = sequence_of(p, b, h);
            const std::int64_t start = p.query_start(b), keys = p.key_start(b);
            const ref::Rows<float> d_o = gather(p.d_o, b, h, start, x.q.rows, p.extents.value_size);
            ref::Result<float> of{gather(p.from_o, b, h, start, x.q.rows, p.extents.value_size), {}};
            for (std::int64_t t = 0; t < x.q.rows; ++t) of.lse.push_back(rows_of(p.from_lse, b, h, start)[t]);
            const ref::Gradients<float> to = ref::backward(x, d_o, of);
            const std::int64_t key_extent =
                p.options.sequences.key_starts == nullptr ? p.extents.keys : x.k.rows;
            scatter(to.q, p.d_q, b, h, start, is_packed ? x.q.rows : p.extents.queries, false);
            scatter(to.k, p.d_k, b, kv, keys, key_extent, h > kv * group);
            scatter(to.v, p.d_v, b, kv, keys, key_extent, h > kv * group);
          }
        }
      });
}

}  // namespace lockstep::attention_internal
