// A tile of keys against all queries that see it. Products lie as [queries of a block, keys of the tile]. The
// gradients of the tile's keys and values stay at hand while the queries go by; those of the queries wait in
// memory, each a chain that the next tile continues.

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/attention/backward_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <algorithm>
#include <cstdint>

#include <hwy/highway.h>

#include "lockstep/attention/attention_internal.h"
#include "lockstep/attention/tile_internal.h"
#include "lockstep/order/lanes.h"
#include "lockstep/parallel/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::attention_internal {
namespace HWY_NAMESPACE {

/// One head of q against its keys.
class Backward {
 public:
  explicit Backward(const Problem& problem);

  /// The gradients of keys and values in tiles `begin` … `end` - 1 of the group's heads and, where
  /// `with_queries`, of its queries, for which the tiles must be all.
  void run_keys(std::int64_t b, std::int64_t kv, std::int64_t begin, std::int64_t end, bool with_queries);
  /// The gradient of queries begin … end - 1.
  void run_queries(std::int64_t b, std::int64_t h, std::int64_t begin, std::int64_t end);

 private:
  struct Wanted {
    bool q = false, k = false, v = false;
  };
  struct Queries {
    std::int64_t begin = 0, end = 0;
  };

  void take_queries(std::int64_t b, std::int64_t h, Queries queries);
  void take_keys(std::int64_t b, std::int64_t kv, std::int64_t first, std::int64_t keys);
  void run_tile(Queries queries, Wanted wanted);
  void run_block(std::int64_t begin, std::int64_t end, Wanted wanted);
  void products(const TokenRows& left, std::int64_t first_row, std::int64_t rows, const float* right,
                std::int64_t depth, float scale, float* out);
  void hide(std::int64_t begin, std::int64_t rows);
  std::uint64_t probabilities(std::int64_t begin, std::int64_t rows);
  void differences(std::int64_t begin, std::int64_t rows);
  void add_to_keys(const float* tile, const TokenRows& right, std::int64_t begin, std::int64_t rows,
                   const Sums& sums);
  void add_to_queries(std::int64_t begin, std::int64_t rows, std::int64_t run);
  void store(const Sums& sums, std::int64_t first_row, std::int64_t rows, float scale, bool adds, float* to,
             std::int64_t stride, std::int64_t features);
  void store_queries(std::int64_t b, std::int64_t h, Queries queries);
  void store_keys(std::int64_t b, std::int64_t kv, bool adds, Wanted wanted);

  const Problem& p_;
  std::int64_t depth_, values_;
  Memory memory_;
  float *q_memory_, *d_o_memory_, *k_memory_;
  float *k_columns_, *v_columns_;  ///< [features, kTile]
  float *p_tile_, *ds_tile_;       ///< [kTile queries, kTile]
  float *delta_, *bias_;
  Sums d_q_, d_k_, d_v_;

  Sequence sequence_;
  TokenRows q_, d_o_, k_;  ///< row 0: the sample's first query; the tile's first key
  const float* lse_ = nullptr;
  Queries taken_;
  std::int64_t first_ = 0, keys_ = 0, cols_ = 0;  ///< the tile; its keys, up to a whole vector
};

Backward::Backward(const Problem& problem)
    : p_(problem), depth_(problem.extents.head_size), values_(problem.extents.value_size) {
  const std::int64_t queries = problem.extents.queries, depth = whole_vectors(depth_),
                     values = whole_vectors(values_);
  q_memory_ = memory_.take(queries * depth);
  d_o_memory_ = memory_.take(queries * values);
  k_memory_ = memory_.take(kTile * depth);
  k_columns_ = memory_.take(kTile * depth);
  v_columns_ = memory_.take(kTile * values);
  p_tile_ = memory_.take(kTile * kTile);
  ds_tile_ = memory_.take(kTile * kTile);
  delta_ = memory_.take(queries);
  bias_ = memory_.take(kTile);
  d_q_ = {memory_.take(queries * depth), memory_.take(queries * depth), depth};
  d_k_ = {memory_.take(kTile * depth), memory_.take(kTile * depth), depth};
  d_v_ = {memory_.take(kTile * values), memory_.take(kTile * values), values};
}

// ---- Operands

void Backward::take_queries(std::int64_t b, std::int64_t h, Queries queries) {
  const std::int64_t start = p_.query_start(b), count = queries.end - queries.begin;
  const TokenRows q{tokens_of(p_.q, b, h, start), p_.q.token_stride};
  const TokenRows d_o{tokens_of(p_.d_o, b, h, start), p_.d_o.token_stride};
  const TokenRows o{tokens_of(p_.from_o, b, h, start), p_.from_o.token_stride};
  taken_ = queries;
  q_ = resident({q.at(queries.begin), q.stride}, count, depth_, q_memory_);
  d_o_ = resident({d_o.at(queries.begin), d_o.stride}, count, values_, d_o_memory_);
  lse_ = rows_of(p_.from_lse, b, h, start) + queries.begin;
  for (std::int64_t i = 0; i < count; ++i) {
    const float* const gradient = d_o.at(queries.begin + i);
    const float* const result = o.at(queries.begin + i);
    delta_[i] = vectors::lane_reduce(
        order::lane_count(values_), values_, hn::Zero(D()),
        [&](V lane, auto place) HWY_ATTR {
          return place.keep(vectors::fma(place.load(gradient), place.load(result), lane), lane);
        },
        vectors::AddVectors());
  }
}

void Backward::take_keys(std::int64_t b, std::int64_t kv, std::int64_t first, std::int64_t keys) {
  first_ = first;
  keys_ = keys;
  cols_ = whole_vectors(keys);
  const TokenRows k{tokens_of(p_.k, b, kv, p_.key_start(b) + first), p_.k.token_stride};
  const TokenRows v{tokens_of(p_.v, b, kv, p_.key_start(b) + first), p_.v.token_stride};
  k_ = resident(k, keys, depth_, k_memory_);
  transpose_rows(k_, keys, depth_, k_columns_);
  transpose_rows(v, keys, values_, v_columns_);
}

// ---- A block of queries, all in one chain's reach, and a tile

void Backward::products(const TokenRows& left, std::int64_t first_row, std::int64_t rows, const float* right,
                        std::int64_t depth, float scale, float* out) {
  Chains c;
  c.depth = depth;
  c.left = left.at(first_row);
  c.left_stride = left.stride;
  c.right = right;
  c.right_stride = kTile;
  c.out = out;
  c.out_stride = kTile;
  c.scale = scale;
  run_chains<Left::rows, Start::zero>(c, rows, cols_);
}

/// -inf for what a query does not see, and behind the last key.
void Backward::hide(std::int64_t begin, std::int64_t rows) {
  for (std::int64_t i = 0; i < rows; ++i) {
    float* const line = p_tile_ + i * kTile;
    if (sequence_.mask.is_set()) {
      mask_row(sequence_.mask, begin + i, first_, keys_, bias_);
      vectors::for_each_vector(0, keys_, [&](auto place) HWY_ATTR {
        place.store(masked(place.load(line), place.load(bias_)), line);
      });
    }
    const std::int64_t seen =
        std::min(keys_, std::max<std::int64_t>(0, sequence_.visible_keys(begin + i + 1) - first_));
    if (seen < cols_) std::fill(line + seen, line + cols_, -HUGE_VALF);
  }
}

/// p in the place of s. Returns the queries that see a key of the tile.
std::uint64_t Backward::probabilities(std::int64_t begin, std::int64_t rows) {
  const D d;
  std::uint64_t all = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    float* const line = p_tile_ + i * kTile;
    const V lse = hn::Set(d, lse_[begin + i - taken_.begin]);
    auto seen = sees(hn::Load(d, line));
#pragma GCC unroll 4
    for (std::int64_t j = 0; j < cols_; j += kLanes) {
      const V s = hn::Load(d, line + j);
      seen = hn::Or(seen, sees(s));
      hn::Store(vector_math::exp_nonpositive(hn::Sub(s, lse)), d, line + j);
    }
    all |= std::uint64_t{!hn::AllFalse(d, seen)} << i;
  }
  return all;
}

/// ds in the place of dp.
void Backward::differences(std::int64_t begin, std::int64_t rows) {
  const D d;
  for (std::int64_t i = 0; i < rows; ++i) {
    const V delta = hn::Set(d, delta_[begin + i - taken_.begin]);
#pragma GCC unroll 4
    for (std::int64_t j = i * kTile; j < i * kTile + cols_; j += kLanes) {
      const V p = hn::Load(d, p_tile_ + j);
      const V ds = hn::Mul(p, hn::Sub(hn::Load(d, ds_tile_ + j), delta));
      hn::Store(hn::IfThenElse(hn::Eq(p, hn::Zero(d)), p, ds), d, ds_tile_ + j);
    }
  }
}

/// sums[j] continues with tile[i, j] * right[i], over the rows of a run.
void Backward::add_to_keys(const float* tile, const TokenRows& right, std::int64_t begin, std::int64_t rows,
                           const Sums& sums) {
  Chains c;
  c.depth = rows;
  c.left = tile;
  c.left_stride = kTile;
  c.right = right.at(begin - taken_.begin);
  c.right_stride = right.stride;
  c.out = sums.chain;
  c.out_stride = sums.cols;
  run_chains<Left::depths, Start::continues>(c, keys_, sums.cols);
}

void Backward::add_to_queries(std::int64_t begin, std::int64_t rows, std::int64_t run) {
  Chains c;
  c.depth = keys_;
  c.left = ds_tile_ + run * kTile;
  c.left_stride = kTile;
  c.right = k_.data;
  c.right_stride = k_.stride;
  c.out = d_q_.at(begin - taken_.begin);
  c.out_stride = d_q_.cols;
  run_chains<Left::rows, Start::continues>(c, rows, d_q_.cols);
  if (keys_ < kTile) add_zero(c.out, rows * d_q_.cols);
}

void Backward::run_block(std::int64_t begin, std::int64_t end, Wanted wanted) {
  const std::int64_t rows = end - begin;
  products(q_, begin - taken_.begin, rows, k_columns_, depth_, p_.options.scale, p_tile_);
  hide(begin, rows);
  const std::uint64_t seen = probabilities(begin, rows);
  if (wanted.q || wanted.k) {
    products(d_o_, begin - taken_.begin, rows, v_columns_, values_, 1, ds_tile_);
    differences(begin, rows);
  }
  for_each_run(seen, rows, [&](std::int64_t from, std::int64_t to) HWY_ATTR {
    if (wanted.v) add_to_keys(p_tile_ + from * kTile, d_o_, begin + from, to - from, d_v_);
    if (wanted.k) add_to_keys(ds_tile_ + from * kTile, q_, begin + from, to - from, d_k_);
    if (wanted.q) add_to_queries(begin + from, to - from, from);
  });
}

void Backward::run_tile(Queries queries, Wanted wanted) {
  std::int64_t begin = std::max(queries.begin, sequence_.first_query(first_));
  while (begin < queries.end) {
    const std::int64_t end = std::min((begin / kTile + 1) * kTile, queries.end);
    if (begin > 0 && begin % kTermsPerChain == 0) {
      if (wanted.k) d_k_.close(keys_);
      if (wanted.v) d_v_.close(keys_);
    }
    run_block(begin, end, wanted);
    begin = end;
  }
}

// ---- Results

void Backward::store(const Sums& sums, std::int64_t first_row, std::int64_t rows, float scale, bool adds,
                     float* to, std::int64_t stride, std::int64_t features) {
  const V factor = hn::Set(D(), scale);
  sums.close(first_row + rows);
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* const from = sums.total_at(first_row + i);
    float* const row = to + i * stride;
    vectors::for_each_vector(0, features, [&](auto place) HWY_ATTR {
      const V value = hn::Mul(factor, place.load(from));
      place.store(adds ? hn::Add(place.load(row), value) : value, row);
    });
  }
}

void Backward::store_queries(std::int64_t b, std::int64_t h, Queries queries) {
  float* const to = tokens_of(p_.d_q, b, h, p_.query_start(b));
  store(d_q_, 0, queries.end - queries.begin, p_.options.scale, false,
        to + queries.begin * p_.d_q.token_stride, p_.d_q.token_stride, depth_);
}

void Backward::store_keys(std::int64_t b, std::int64_t kv, bool adds, Wanted wanted) {
  const std::int64_t token = p_.key_start(b) + first_;
  if (wanted.k)
    store(d_k_, 0, keys_, p_.options.scale, adds, tokens_of(p_.d_k, b, kv, token), p_.d_k.token_stride,
          depth_);
  if (wanted.v) store(d_v_, 0, keys_, 1, adds, tokens_of(p_.d_v, b, kv, token), p_.d_v.token_stride, values_);
}

// ---- What a thread does

void Backward::run_keys(std::int64_t b, std::int64_t kv, std::int64_t begin, std::int64_t end,
                        bool with_queries) {
  const std::int64_t group = p_.heads_a_group();
  const Wanted wanted{with_queries && p_.d_q.data != nullptr, p_.d_k.data != nullptr, p_.d_v.data != nullptr};
  for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    sequence_ = p_.sequence(b, h);
    const Queries queries{0, sequence_.queries};
    take_queries(b, h, queries);
    if (wanted.q) d_q_.clear(sequence_.queries);
    for (std::int64_t first = begin * kTile; first < std::min(end * kTile, sequence_.keys); first += kTile) {
      take_keys(b, kv, first, std::min(kTile, sequence_.keys - first));
      if (wanted.q && first > 0 && first % kTermsPerChain == 0) d_q_.close(sequence_.queries);
      d_k_.clear(keys_);
      d_v_.clear(keys_);
      run_tile(queries, wanted);
      store_keys(b, kv, h > kv * group, wanted);
    }
    if (wanted.q) store_queries(b, h, queries);
  }
}

void Backward::run_queries(std::int64_t b, std::int64_t h, std::int64_t begin, std::int64_t end) {
  sequence_ = p_.sequence(b, h);
  const Queries queries{begin, std::min(end, sequence_.queries)};
  if (queries.begin >= queries.end) return;
  take_queries(b, h, queries);
  d_q_.clear(queries.end - queries.begin);
  const std::int64_t visible = sequence_.visible_keys(queries.end);
  for (std::int64_t first = 0; first < visible; first += kTile) {
    take_keys(b, h / p_.heads_a_group(), first, std::min(kTile, sequence_.keys - first));
    if (first > 0 && first % kTermsPerChain == 0) d_q_.close(queries.end - queries.begin);
    run_tile(queries, {true, false, false});
  }
  store_queries(b, h, queries);
}

/// Units begin … end - 1: tiles of keys, `tiles_a_unit` of a group of heads together; all of them where
/// queries are wanted too.
void backward_keys(const Problem& p, std::int64_t units, std::int64_t tiles_a_unit, bool with_queries,
                   std::int64_t begin, std::int64_t end) {
  Backward backward(p);
  for (std::int64_t unit = begin; unit < end; ++unit) {
    const std::int64_t head = unit / units, first = unit % units * tiles_a_unit;
    backward.run_keys(head / p.extents.kv_heads, head % p.extents.kv_heads, first, first + tiles_a_unit,
                      with_queries);
  }
}

/// Units begin … end - 1: blocks of kTile queries.
void backward_queries(const Problem& p, std::int64_t units, std::int64_t begin, std::int64_t end) {
  Backward backward(p);
  for (std::int64_t unit = begin; unit < end; ++unit) {
    const std::int64_t head = unit / units, first = unit % units * kTile;
    backward.run_queries(head / p.extents.heads, head % p.extents.heads, first, first + kTile);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::attention_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::attention_internal {
namespace {

HWY_EXPORT(backward_keys);
HWY_EXPORT(backward_queries);

void clear(const Heads& of, std::int64_t b, std::int64_t heads, std::int64_t features, std::int64_t begin,
           std::int64_t end) {
  for (std::int64_t h = 0; of.data != nullptr && h < heads; ++h)
    for (std::int64_t t = begin; t < end; ++t) {
      float* const token = tokens_of(of, b, h, t);
      std::fill(token, token + features, 0.0f);
    }
}

/// What lies behind the samples' lengths, and the gradients of keys that no query looks at.
void clear_rest(const Problem& p) {
  const AttentionExtents& x = p.extents;
  for (std::int64_t b = 0; b < x.samples; ++b) {
    const Sequence s = p.sequence(b, 0);
    if (p.options.sequences.query_starts == nullptr)
      clear(p.d_q, b, x.heads, x.head_size, s.queries, x.queries);
    if (p.options.sequences.key_starts != nullptr) continue;
    const std::int64_t keys = x.heads == 0 ? 0 : s.keys;  // without heads nothing looks at a key
    clear(p.d_k, b, x.kv_heads, x.head_size, keys, x.keys);
    clear(p.d_v, b, x.kv_heads, x.value_size, keys, x.keys);
  }
}

}  // namespace

void backward_cpu(const Problem& p) {
  const AttentionExtents& x = p.extents;
  const std::int64_t groups = x.samples * x.kv_heads;
  const std::int64_t key_tiles = std::max<std::int64_t>(1, (x.keys + kTileKeys - 1) / kTileKeys);
  const std::int64_t query_blocks = (x.queries + kTileKeys - 1) / kTileKeys;
  clear_rest(p);
  const std::int64_t work = x.queries * x.keys * (3 * x.head_size + 2 * x.value_size);  // of one head
  const std::int64_t group_work = work * p.heads_a_group();
  const auto keys_form = LOCKSTEP_SIMD_CALL(backward_keys);
  const std::int64_t threads =
      std::min<std::int64_t>(parallel::thread_count(), groups * group_work / kWorthAThread + 1);
  if (groups >= threads) {
    parallel::for_each_range(groups, units_a_thread(group_work), [&](std::int64_t begin, std::int64_t end) {
      keys_form(p, 1, key_tiles, true, begin, end);
    });
    return;
  }
  // Fewer groups than threads: keys and queries are cut on their own, and p is computed for each.
  if (p.d_k.data != nullptr || p.d_v.data != nullptr)
    parallel::for_each_range(
        groups * key_tiles, units_a_thread(group_work / key_tiles),
        [&](std::int64_t begin, std::int64_t end) { keys_form(p, key_tiles, 1, false, begin, end); });
  if (p.d_q.data == nullptr) return;
  const auto queries_form = LOCKSTEP_SIMD_CALL(backward_queries);
  parallel::for_each_range(
      x.samples * x.heads * query_blocks, units_a_thread(work / std::max<std::int64_t>(1, query_blocks)),
      [&](std::int64_t begin, std::int64_t end) { queries_form(p, query_blocks, begin, end); });
}

}  // namespace lockstep::attention_internal

#endif  // HWY_ONCE
