// A block of queries against all their keys. Products lie as [keys of a tile, queries], so that each query is
// a lane: its maximum and its sum need nothing of its neighbours.

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/attention/forward_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <algorithm>
#include <cstdint>

#include <hwy/highway.h>

#include "lockstep/attention/attention_internal.h"
#include "lockstep/attention/tile_internal.h"
#include "lockstep/parallel/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::attention_internal {
namespace HWY_NAMESPACE {

constexpr std::int64_t kBlock = kTile;  // queries that share a pass over the keys

// A tree's 64 lanes are taken in parts: lane 8 part + j is place j of a part.
constexpr std::int64_t kParts = 8;
static_assert(kTile == kParts * 8);
HWY_INLINE std::int64_t parts_of(std::int64_t keys) { return (keys + 7) / 8; }

/// A block of queries on its way through the keys.
struct Block {
  std::int64_t first = 0, count = 0;  ///< queries
  std::int64_t lanes = 0;             ///< count, up to a whole vector
  float* queries = nullptr;           ///< [head_size, kTile], transposed
  float* tile = nullptr;              ///< [kTile, kTile]: products, then p
  float* mask = nullptr;              ///< [kTile, kTile] twice
  Sums o;                             ///< [kBlock, value_size]
  float *m = nullptr, *l = nullptr, *r = nullptr;
  std::uint64_t seeing = 0;  ///< queries that have seen a key
};

class Forward {
 public:
  explicit Forward(const Problem& problem);
  void run(std::int64_t b, std::int64_t h, std::int64_t block);
  void clear_rest(std::int64_t b, std::int64_t h);

 private:
  void take_keys(std::int64_t b, std::int64_t kv);
  void products(std::int64_t first, std::int64_t keys);
  void hide(std::int64_t first, std::int64_t keys);
  void hide_by_mask(std::int64_t first, std::int64_t keys);
  std::uint64_t soften(std::int64_t keys);
  void add_values(std::int64_t first, std::int64_t keys, std::uint64_t seen);
  void finish(std::int64_t b, std::int64_t h);

  const Problem& p_;
  std::int64_t depth_, values_, padded_values_;
  Memory memory_;
  float *k_memory_, *v_memory_;
  Block block_;
  Sequence sequence_;
  std::int64_t sample_ = -1, kv_head_ = -1;  ///< whose keys are at hand
  TokenRows k_, v_;
};

Forward::Forward(const Problem& problem)
    : p_(problem),
      depth_(problem.extents.head_size),
      values_(problem.extents.value_size),
      padded_values_(whole_vectors(values_)),
      k_memory_(memory_.take(problem.extents.keys * whole_vectors(depth_))),
      v_memory_(memory_.take(problem.extents.keys * padded_values_)) {
  block_.queries = memory_.take(depth_ * kTile);
  block_.tile = memory_.take(kTile * kTile);
  block_.mask = memory_.take(2 * kTile * kTile);
  block_.o = {memory_.take(kBlock * padded_values_), memory_.take(kBlock * padded_values_), padded_values_};
  block_.m = memory_.take(kTile);
  block_.l = memory_.take(kTile);
  block_.r = memory_.take(kTile);
}

void Forward::take_keys(std::int64_t b, std::int64_t kv) {
  if (b == sample_ && kv == kv_head_) return;
  sample_ = b;
  kv_head_ = kv;
  const TokenRows k{tokens_of(p_.k, b, kv, p_.key_start(b)), p_.k.token_stride};
  const TokenRows v{tokens_of(p_.v, b, kv, p_.key_start(b)), p_.v.token_stride};
  k_ = resident(k, sequence_.keys, depth_, k_memory_);
  v_ = resident(v, sequence_.keys, values_, v_memory_);
}

void Forward::products(std::int64_t first, std::int64_t keys) {
  Chains c;
  c.depth = depth_;
  c.left = k_.at(first);
  c.left_stride = k_.stride;
  c.right = block_.queries;
  c.right_stride = kTile;
  c.out = block_.tile;
  c.out_stride = kTile;
  c.scale = p_.options.scale;
  run_chains<Left::rows, Start::zero>(c, keys, block_.lanes);
}

void Forward::hide_by_mask(std::int64_t first, std::int64_t keys) {
  float* const rows = block_.mask;
  float* const columns = block_.mask + kTile * kTile;
  const bool is_one = sequence_.mask.query_stride == 0;  // mask for all queries
  for (std::int64_t i = 0; i < (is_one ? 1 : block_.count); ++i)
    mask_row(sequence_.mask, block_.first + i, first, keys, rows + i * kTile);
  if (!is_one) transpose_rows({rows, kTile}, block_.count, keys, columns);
  for (std::int64_t j = 0; j < keys; ++j) {
    float* const line = block_.tile + j * kTile;
    for (std::int64_t x = 0; x < block_.lanes; x += kLanes) {
      const V bias = is_one ? hn::Set(D(), rows[j]) : hn::Load(D(), columns + j * kTile + x);
      hn::Store(masked(hn::Load(D(), line + x), bias), D(), line + x);
    }
  }
}

/// -inf for what a query does not see, and behind the last key in its part.
void Forward::hide(std::int64_t first, std::int64_t keys) {
  if (sequence_.mask.is_set()) hide_by_mask(first, keys);
  for (std::int64_t j = keys; j < 8 * parts_of(keys); ++j)
    for (std::int64_t x = 0; x < block_.lanes; x += kLanes)
      hn::Store(nothing(), D(), block_.tile + j * kTile + x);
  if (!sequence_.is_causal) return;
  for (std::int64_t j = 0; j < keys; ++j) {
    const std::int64_t hidden = std::min(first + j - sequence_.causal_offset - block_.first, block_.lanes);
    float* const line = block_.tile + j * kTile;
    for (std::int64_t x = 0; x < hidden; x += kLanes) {
      const auto those =
          hn::FirstN(D(), static_cast<std::size_t>(std::min<std::int64_t>(hidden - x, kLanes)));
      hn::Store(hn::IfThenElse(those, nothing(), hn::Load(D(), line + x)), D(), line + x);
    }
  }
}

/// The largest of a query's products. A NaN is passed over: it comes back through the sum.
HWY_INLINE V column_max(const float* column, std::int64_t parts) {
  V best[4] = {nothing(), nothing(), nothing(), nothing()};
  for (std::int64_t j = 0; j < 8 * parts; j += 4)
#pragma GCC unroll 4
    for (std::int64_t lane = 0; lane < 4; ++lane)
      best[lane] = vector_math::greater(hn::Load(D(), column + (j + lane) * kTile), best[lane]);
  return vector_math::greater(vector_math::greater(best[0], best[1]), vector_math::greater(best[2], best[3]));
}

HWY_INLINE V tree_of_eight(const V (&v)[8]) {
  const V a = hn::Add(v[0], v[4]), b = hn::Add(v[1], v[5]);
  const V c = hn::Add(v[2], v[6]), e = hn::Add(v[3], v[7]);
  return hn::Add(hn::Add(a, c), hn::Add(b, e));
}

/// p in the place of s, and the tree of p. Parts behind the last key are +0.
template <bool whole>
HWY_INLINE V column_exponentials(float* column, V m, std::int64_t parts) {
  V sum[8];
  for (std::int64_t j = 0; j < 8; ++j) {
    V p[kParts];
#pragma GCC unroll 8
    for (std::int64_t part = 0; part < kParts; ++part) {
      if (!whole && part >= parts) {
        p[part] = hn::Zero(D());
        continue;
      }
      float* const at = column + (j + 8 * part) * kTile;
      p[part] = vector_math::exp_nonpositive(hn::Sub(hn::Load(D(), at), m));
      hn::Store(p[part], D(), at);
    }
    sum[j] = tree_of_eight(p);
  }
  return tree_of_eight(sum);
}

/// Lanes of a column that see a key, where the largest product does not tell.
HWY_INLINE hn::Mask<D> column_seen(const float* column, std::int64_t parts) {
  hn::Mask<D> seen = sees(hn::Load(D(), column));
  for (std::int64_t j = 1; j < 8 * parts; ++j) seen = hn::Or(seen, sees(hn::Load(D(), column + j * kTile)));
  return seen;
}

/// One step of the online softmax. Returns the queries that see a key of the tile.
std::uint64_t Forward::soften(std::int64_t keys) {
  const D d;
  const std::int64_t parts = parts_of(keys);
  std::uint64_t all = 0;
  for (std::int64_t x = 0; x < block_.lanes; x += kLanes) {
    float* const column = block_.tile + x;
    const V best = column_max(column, parts), before = hn::Load(d, block_.m + x),
            l = hn::Load(d, block_.l + x);
    auto seen = hn::Gt(best, nothing());
    if (HWY_UNLIKELY(!hn::AllTrue(d, seen))) seen = column_seen(column, parts);
    const V m = vector_math::greater(best, before);
    const V r = vector_math::exp_nonpositive(hn::Sub(before, m));
    const V sum = parts == kParts ? column_exponentials<true>(column, m, parts)
                                  : column_exponentials<false>(column, m, parts);
    hn::Store(m, d, block_.m + x);
    hn::Store(r, d, block_.r + x);
    hn::Store(hn::IfThenElse(seen, vectors::fma(l, r, sum), l), d, block_.l + x);
    std::uint8_t bytes[8] = {};
    hn::StoreMaskBits(d, seen, bytes);
    all |= (bytes[0] | std::uint64_t{bytes[1]} << 8) << x;
  }
  return all;
}

void Forward::add_values(std::int64_t first, std::int64_t keys, std::uint64_t seen) {
  for_each_run(seen, block_.count, [&](std::int64_t begin, std::int64_t end) HWY_ATTR {
    float* const o = block_.o.at(begin);
    Chains c;
    c.depth = keys;
    c.left = block_.tile + begin;
    c.left_stride = kTile;
    c.right = v_.at(first);
    c.right_stride = v_.stride;
    c.out = o;
    c.out_stride = padded_values_;
    c.factor = block_.r + begin;
    run_chains<Left::depths, Start::continues>(c, end - begin, padded_values_);
    if (keys < kTile) add_zero(o, (end - begin) * padded_values_);
    if (first >= kTermsPerChain) block_.o.scale_totals(begin, end, block_.r);
  });
}

void Forward::finish(std::int64_t b, std::int64_t h) {
  const D d;
  block_.o.close(block_.count);
  float* const out = tokens_of(p_.o, b, h, p_.query_start(b));
  for (std::int64_t i = 0; i < block_.count; ++i) {
    float* const row = out + (block_.first + i) * p_.o.token_stride;
    const float* const o = block_.o.total_at(i);
    if ((block_.seeing >> i & 1) == 0) {
      std::fill(row, row + values_, 0.0f);
      continue;
    }
    const V l = hn::Set(d, block_.l[i]);
    vectors::for_each_vector(0, values_,
                             [&](auto place) HWY_ATTR { place.store(hn::Div(place.load(o), l), row); });
  }
  if (p_.lse.data == nullptr) return;
  float* const lse = rows_of(p_.lse, b, h, p_.query_start(b)) + block_.first;
  vectors::for_each_vector(0, block_.count, [&](auto place) HWY_ATTR {
    const V logarithm = vector_math::log(place.load(block_.l));
    place.store(hn::Add(place.load(block_.m), logarithm), lse);
  });
  for (std::int64_t i = 0; i < block_.count; ++i)
    if ((block_.seeing >> i & 1) == 0) lse[i] = -HUGE_VALF;
}

void Forward::run(std::int64_t b, std::int64_t h, std::int64_t block) {
  sequence_ = p_.sequence(b, h);
  block_.first = block * kBlock;
  block_.count = std::min(kBlock, sequence_.queries - block_.first);
  if (block_.count <= 0) return;
  block_.lanes = whole_vectors(block_.count);
  block_.seeing = 0;
  take_keys(b, h / p_.heads_a_group());
  const TokenRows q{tokens_of(p_.q, b, h, p_.query_start(b)), p_.q.token_stride};
  transpose_rows({q.at(block_.first), q.stride}, block_.count, depth_, block_.queries);
  block_.o.clear(block_.count);
  std::fill(block_.m, block_.m + kTile, -HUGE_VALF);
  std::fill(block_.l, block_.l + kTile, 0.0f);
  const std::int64_t visible = sequence_.visible_keys(block_.first + block_.count);
  for (std::int64_t first = 0; first < visible; first += kTile) {
    const std::int64_t keys = std::min(kTile, sequence_.keys - first);
    if (first > 0 && first % kTermsPerChain == 0) block_.o.close(block_.count);
    products(first, keys);
    hide(first, keys);
    const std::uint64_t seen = soften(keys);
    add_values(first, keys, seen);
    block_.seeing |= seen;
  }
  if (sequence_.ends_chains_behind(visible)) block_.o.close(block_.count);
  finish(b, h);
}

/// What lies behind a sample's last query.
void Forward::clear_rest(std::int64_t b, std::int64_t h) {
  if (p_.options.sequences.query_starts != nullptr) return;
  const std::int64_t begin = p_.sequence(b, h).queries, end = p_.extents.queries;
  if (values_ > 0) clear_tokens(tokens_of(p_.o, b, h, 0), p_.o.token_stride, values_, begin, end);
  if (p_.lse.data != nullptr)
    std::fill(rows_of(p_.lse, b, h, 0) + begin, rows_of(p_.lse, b, h, 0) + end, -HUGE_VALF);
}

/// Units begin … end - 1: blocks of queries, a head's side by side, from both ends of the queries in turn,
/// since causal ones differ in work.
void forward_units(const Problem& p, std::int64_t blocks, std::int64_t begin, std::int64_t end) {
  Forward forward(p);
  for (std::int64_t unit = begin; unit < end; ++unit) {
    const std::int64_t head = unit / blocks, place = unit % blocks;
    const std::int64_t b = head / p.extents.heads, h = head % p.extents.heads;
    forward.run(b, h, place % 2 == 0 ? place / 2 : blocks - 1 - place / 2);
    if (place == 0) forward.clear_rest(b, h);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::attention_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::attention_internal {

HWY_EXPORT(forward_units);

void forward_cpu(const Problem& p) {
  const AttentionExtents& x = p.extents;
  const std::int64_t blocks = (x.queries + kTileKeys - 1) / kTileKeys;
  const std::int64_t work = std::min(x.queries, kTileKeys) * x.keys * (x.head_size + x.value_size);
  const auto form = LOCKSTEP_SIMD_CALL(forward_units);
  parallel::for_each_range(x.samples * x.heads * blocks, units_a_thread(work),
                           [&](std::int64_t begin, std::int64_t end) { form(p, blocks, begin, end); });
}

}  // namespace lockstep::attention_internal

#endif  // HWY_ONCE
