// The double forms of attention: the reference, one sample and head after the other.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "lockstep/attention/attention_internal.h"
#include "lockstep/attention/attention_ref.h"
#include "lockstep/base/float_mode.h"

namespace lockstep::attention_internal {
namespace {

namespace ref = attention_ref;
using Rows = ref::Rows<double>;

/// `tokens` of a sample and head, from `start` on.
template <class Tensor>
Rows gather(const Tensor& from, std::int64_t b, std::int64_t h, std::int64_t start, std::int64_t tokens,
            std::int64_t features) {
  Rows to(tokens, features);
  const double* const first = tokens_of(from, b, h, start);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t d = 0; d < features; ++d) to.at(t, d) = first[t * from.token_stride + d];
  return to;
}

void scatter(const Rows& from, const Heads64& to, std::int64_t b, std::int64_t h, std::int64_t start,
             bool adds = false) {
  if (to.data == nullptr) return;
  double* const first = tokens_of(to, b, h, start);
  for (std::int64_t t = 0; t < from.rows; ++t)
    for (std::int64_t d = 0; d < from.cols; ++d) {
      double& element = first[t * to.token_stride + d];
      element = adds ? element + from.at(t, d) : from.at(t, d);
    }
}

ref::Sequence<double> sequence_of(const Problem64& p, std::int64_t b, std::int64_t h) {
  const BasicSequence<double> s = p.sequence(b, h);
  const std::int64_t kv = h / p.heads_a_group();
  ref::Sequence<double> to;
  to.q = gather(p.q, b, h, p.query_start(b), s.queries, p.extents.head_size);
  to.k = gather(p.k, b, kv, p.key_start(b), s.keys, p.extents.head_size);
  to.v = gather(p.v, b, kv, p.key_start(b), s.keys, p.extents.value_size);
  to.scale = p.options.scale;
  to.mask = [s](double product, std::int64_t i, std::int64_t j) {
    const std::int64_t at = i * s.mask.query_stride + j * s.mask.key_stride;
    if (s.is_causal && j > i + s.causal_offset) return ref::kNothing<double>;
    if (s.mask.keep != nullptr && !s.mask.keep[at]) return ref::kNothing<double>;
    if (s.mask.add == nullptr) return product;
    return s.mask.add[at] == ref::kNothing<double> ? s.mask.add[at] : product + s.mask.add[at];
  };
  return to;
}

/// What lies behind a sample's length: of samples that are packed, nothing.
Rows rest(std::int64_t length, std::int64_t extent, std::int64_t features, const std::int64_t* starts) {
  return Rows(starts == nullptr ? extent - length : 0, features);
}

}  // namespace

void forward_cpu(const Problem64& p) {
  const FloatMode mode;
  const AttentionExtents& x = p.extents;
  for (std::int64_t b = 0; b < x.samples; ++b)
    for (std::int64_t h = 0; h < x.heads; ++h) {
      const ref::Sequence<double> s = sequence_of(p, b, h);
      const ref::Result<double> result = ref::forward(s);
      const std::int64_t length = s.q.rows;
      const Rows behind = rest(length, x.queries, x.value_size, p.options.sequences.query_starts);
      scatter(result.o, p.o, b, h, p.query_start(b));
      scatter(behind, p.o, b, h, length);
      if (p.lse.data == nullptr) continue;
      double* const lse = rows_of(p.lse, b, h, p.query_start(b));
      std::copy(result.lse.begin(), result.lse.end(), lse);
      std::fill_n(lse + length, behind.rows, ref::kNothing<double>);
    }
}

void backward_cpu(const Problem64& p) {
  const FloatMode mode;
  const AttentionExtents& x = p.extents;
  const AttentionSequences& of = p.options.sequences;
  for (std::int64_t b = 0; b < x.samples; ++b) {
    for (std::int64_t h = 0; h < x.heads; ++h) {
      const ref::Sequence<double> s = sequence_of(p, b, h);
      const std::int64_t length = s.q.rows, start = p.query_start(b);
      ref::Result<double> forward{gather(p.from_o, b, h, start, length, x.value_size), {}};
      const double* const lse = rows_of(p.from_lse, b, h, start);
      forward.lse.assign(lse, lse + length);
      const ref::Gradients<double> gradients =
          ref::backward(s, gather(p.d_o, b, h, start, length, x.value_size), forward);
      scatter(gradients.q, p.d_q, b, h, start);
      scatter(rest(length, x.queries, x.head_size, of.query_starts), p.d_q, b, h, length);
      const std::int64_t kv = h / p.heads_a_group();
      const bool adds = h % p.heads_a_group() != 0;
      scatter(gradients.k, p.d_k, b, kv, p.key_start(b), adds);
      scatter(gradients.v, p.d_v, b, kv, p.key_start(b), adds);
    }
    const std::int64_t keys =
        x.heads == 0 ? 0 : p.sequence(b, 0).keys;  // without heads nothing looks at a key
    for (std::int64_t kv = 0; kv < x.kv_heads; ++kv) {
      scatter(rest(keys, x.keys, x.head_size, of.key_starts), p.d_k, b, kv, keys);
      scatter(rest(keys, x.keys, x.value_size, of.key_starts), p.d_v, b, kv, keys);
    }
  }
}

}  // namespace lockstep::attention_internal
