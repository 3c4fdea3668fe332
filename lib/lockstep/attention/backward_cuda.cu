// A block owns a tile of keys, and of the gradients the columns that its registers hold, and goes past all
// queries that see one of the keys. The gradients of its keys and values stay in registers meanwhile; those
// of the queries wait in memory, each a chain that the block of the next tile continues once this one has:
// five products a tile. Blocks take their tiles in ascending order, so whom one waits for has always started.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime_api.h>

#include "lockstep/attention/attention_internal.h"
#include "lockstep/attention/tile_cuda_internal.h"
#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/base/scratch_parts_internal.h"
#include "lockstep/order/lanes_cuda_internal.h"

namespace lockstep::attention_internal {
namespace {

/// `depth` features in shared memory at a time, which are also the columns of gradients in registers.
template <int warps, int depth, bool whole>
struct BackwardForm {
  static constexpr int kThreads = 32 * warps, kDepth = depth, kStride = padded(depth);
  static constexpr bool kWhole = whole;  ///< all features lie in shared memory
  // Products: warps stand 2 abreast, each over 32 keys.
  static constexpr int kWarpQueries = kTile / (warps / 2), kRows = kWarpQueries / kWarpRows;
  static constexpr int kKeys = 32 / kWarpCols;
  // Gradients: a warp has 32 columns.
  static constexpr int kGradientWarps = warps / (depth / 32);  ///< one below the other
  static constexpr int kWarpGradientRows = kTile / kGradientWarps;
  static constexpr int kGradientRows = kWarpGradientRows / kWarpRows;
  struct Memory {
    float q[kTile * kStride], d_o[kTile * kStride], k[kTile * kStride];
    float k_features[depth * kFeatureStride<kTile>], v_features[depth * kFeatureStride<kTile>];
    float p[kTile * kTileStride];  ///< [queries, keys]; then ds
    float lse[kTile], delta[kTile];
    float zeros[kMostChains];
    unsigned seen[warps];  ///< by warp: its queries that see one of its keys
    unsigned long long ticket;
  };
};

/// What a call needs beside its results.
struct Scratch {
  unsigned long long* ticket = nullptr;  ///< the next tile that no block has taken
  int* turn = nullptr;     ///< [samples, heads, tiles of queries, turns]: tiles of keys that are done
  float* delta = nullptr;  ///< [samples, heads, queries]
  // Sums of the chains of 1,024 terms that have ended, where there can be more terms.
  float* d_q_total = nullptr;  ///< [samples, heads, queries, head_size]
  float* d_k_total = nullptr;  ///< [samples, kv_heads, keys, head_size]
  float* d_v_total = nullptr;  ///< [samples, kv_heads, keys, value_size]
};

struct BackwardPlan {
  std::int64_t query_tiles = 0, units = 0;
  std::int64_t chunks = 0, turns = 0;  ///< of columns, in all; with columns of d_q
  bool is_q_aligned = false, is_d_o_aligned = false, is_k_aligned = false;
  bool is_d_q_aligned = false;
  Scratch scratch;
};

/// Blocks on a device see each other's writes from here on: those that came before publish, by any thread of
/// the block with a barrier between, come before what follows wait_for and a barrier.
__device__ void publish(int* turn, int value) {
  __threadfence();
  *static_cast<volatile int*>(turn) = value;
}
__device__ void wait_for(const int* turn, int value) {
  while (*static_cast<const volatile int*>(turn) != value) {
  }
  __threadfence();
}

/// A block's work: one tile of keys, for all heads of its group.
template <class Form>
class BackwardTile {
 public:
  using Memory = typename Form::Memory;
  __device__ BackwardTile(const Problem& p, const BackwardPlan& plan, Memory& memory, std::int64_t unit)
      : p_(p), plan_(plan), memory_(memory) {
    const std::int64_t heads = p.extents.samples * p.extents.kv_heads, rest = unit / plan.chunks;
    tile_ = rest / heads;
    first_ = tile_ * kTile;
    b_ = rest % heads / p.extents.kv_heads;
    kv_ = rest % p.extents.kv_heads;
    chunk_ = unit % plan.chunks;
    column_ = chunk_ * Form::kDepth;
    depth_ = count_before(column_, p.extents.head_size, Form::kDepth);
    values_ = count_before(column_, p.extents.value_size, Form::kDepth);
    wants_q_ = p.d_q.data != nullptr && depth_ > 0;
    wants_k_ = p.d_k.data != nullptr && depth_ > 0;
    wants_v_ = p.d_v.data != nullptr && values_ > 0;
    const int warp = warp_of_block();
    row_ = warp / 2 * Form::kWarpQueries + row_of_warp();
    col_ = warp % 2 * 32 + col_of_warp();
    feature_col_ = warp % 2 * 32 + col_of_warp() * 4;
    gradient_row_ = warp % Form::kGradientWarps * Form::kWarpGradientRows;
    gradient_col_ = warp / Form::kGradientWarps * 32 + col_of_warp() * 4;
  }

  __device__ void run();

 private:
  static constexpr int kRows = Form::kRows, kKeys = Form::kKeys, kGradientRows = Form::kGradientRows;

  // Operands, on their way to shared memory from feature `from` on.
  __device__ void stage_rows(const Tokens& of, int rows, std::int64_t features, std::int64_t from,
                             float* to) {
    stage<Form::kThreads, kTile, Form::kDepth, Form::kStride>(
        {of.first + from, of.stride, of.is_aligned}, rows, count_before(from, features, Form::kDepth), to);
  }
  __device__ void stage_q(std::int64_t first, std::int64_t from) {
    stage_rows({tokens_of(p_.q, b_, h_, p_.query_start(b_) + first), p_.q.token_stride, plan_.is_q_aligned},
               queries_from(first), p_.extents.head_size, from, memory_.q);
  }
  __device__ void stage_d_o(std::int64_t first, std::int64_t from) {
    stage_rows(
        {tokens_of(p_.d_o, b_, h_, p_.query_start(b_) + first), p_.d_o.token_stride, plan_.is_d_o_aligned},
        queries_from(first), p_.extents.value_size, from, memory_.d_o);
  }
  __device__ void stage_k(std::int64_t from) {
    stage_rows({tokens_of(p_.k, b_, kv_, p_.key_start(b_) + first_), p_.k.token_stride, plan_.is_k_aligned},
               keys_, p_.extents.head_size, from, memory_.k);
  }
  // The same keys and values, feature by feature.
  __device__ void stage_k_features(std::int64_t from) {
    stage_columns(p_.k, p_.extents.head_size, from, memory_.k_features);
  }
  __device__ void stage_v_features(std::int64_t from) {
    stage_columns(p_.v, p_.extents.value_size, from, memory_.v_features);
  }
  template <class Tensor>
  __device__ void stage_columns(const Tensor& of, std::int64_t features, std::int64_t from, float* to) {
    stage_features<Form::kThreads, kTile, Form::kDepth>(
        {tokens_of(of, b_, kv_, p_.key_start(b_) + first_) + from, of.token_stride}, keys_,
        count_before(from, features, Form::kDepth), KeysOfThreads(), to);
  }
  __device__ void stage_query_tile(std::int64_t first);

  __device__ int queries_from(std::int64_t first) const {
    return count_before(first, sequence_.queries, kTile);
  }
  __device__ void multiply(bool of_values, std::int64_t first, Chains<kRows, kKeys>& s);
  __device__ void soften(std::int64_t first);
  __device__ std::uint64_t seen_queries(std::int64_t first) const;
  __device__ void differentiate(std::int64_t first);
  __device__ void add_tile(std::int64_t first, bool is_last);
  __device__ void add_to_queries(std::int64_t first, std::uint64_t seen);
  __device__ void take_turn(std::int64_t first);
  __device__ void pass_turn(std::int64_t first);
  __device__ int* turn(std::int64_t first) const {
    return plan_.scratch.turn +
           ((b_ * p_.extents.heads + h_) * plan_.query_tiles + first / kTile) * plan_.turns + chunk_;
  }
  __device__ void run_head(std::int64_t h);
  __device__ void close_chains();
  __device__ void store_keys(bool adds);
  __device__ void clear_queries();
  __device__ void clear_keys();
  __device__ void clear(const Heads& of, std::int64_t h, std::int64_t begin, std::int64_t end, int columns,
                        float value);

  /// visit(g, row) for the thread's rows of a key's gradients that exist.
  template <class Visit>
  __device__ void for_each_key(Visit visit) const {
#pragma unroll
    for (int g = 0; g < kGradientRows; ++g) {
      const int row = gradient_row_ + row_of_warp() * 4 + row_of_run(g);
      if (row < keys_) visit(g, row);
    }
  }
  template <class Visit>
  __device__ void for_each_column(int columns, Visit visit) const {
#pragma unroll
    for (int x = 0; x < 4; ++x)
      if (gradient_col_ + x < columns) visit(x, column_ + gradient_col_ + x);
  }

  const Problem& p_;
  const BackwardPlan& plan_;
  Memory& memory_;
  std::int64_t tile_, first_, b_, kv_, h_ = 0, chunk_, column_;
  int depth_, values_, keys_ = 0;  ///< columns of the chunk; keys of the tile
  bool wants_q_, wants_k_, wants_v_;
  int row_, col_, feature_col_, gradient_row_, gradient_col_;
  Sequence sequence_;
  bool has_totals_ = false;  ///< of the head's keys
  Chains<kGradientRows, 4> d_k_, d_v_;
};

// ---- A tile of queries

/// Asks for what a tile of queries begins with.
template <class Form>
__device__ void BackwardTile<Form>::stage_query_tile(std::int64_t first) {
  const std::int64_t head = b_ * p_.extents.heads + h_;
  const int queries = queries_from(first);
  stage_numbers<Form::kThreads, kTile>(rows_of(p_.from_lse, b_, h_, p_.query_start(b_)) + first, queries,
                                       memory_.lse);
  stage_numbers<Form::kThreads, kTile>(plan_.scratch.delta + head * p_.extents.queries + first, queries,
                                       memory_.delta);
  if (Form::kWhole) stage_q(first, 0);
}

/// s = the chains of q and k or, `of_values`, of d_o and v.
template <class Form>
__device__ void BackwardTile<Form>::multiply(bool of_values, std::int64_t first, Chains<kRows, kKeys>& s) {
  s.begin(memory_.zeros);
  const int features = static_cast<int>(of_values ? p_.extents.value_size : p_.extents.head_size);
  const float* const left = (of_values ? memory_.d_o : memory_.q) + row_ * Form::kStride;
  const float* const right = (of_values ? memory_.v_features : memory_.k_features) + feature_col_;
  if constexpr (Form::kWhole) {
    add_products_by_rows<Form::kStride, kFeatureStride<kTile>>(s, left, right, features);
  } else {
    for (int from = 0; from < features; from += Form::kDepth) {
      __syncthreads();  // the features before have been read
      if (of_values) {
        stage_d_o(first, from);
        stage_v_features(from);
      } else {
        stage_q(first, from);
        stage_k_features(from);
      }
      __pipeline_commit();
      wait_for_stages();
      add_products_by_rows<Form::kStride, kFeatureStride<kTile>>(s, left, right,
                                                                 min(features - from, Form::kDepth));
    }
  }
}

/// p, and which queries see a key of the tile, to memory.
template <class Form>
__device__ void BackwardTile<Form>::soften(std::int64_t first) {
  Chains<kRows, kKeys> s;
  multiply(false, first, s);
  finish_products(
      s, sequence_, {first, first_, queries_from(first)}, p_.options.scale,
      [&](int r) { return row_ + kWarpRows * r; }, col_);
  unsigned seen = 0;  // bit 4 r + row of the warp
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float lse = memory_.lse[row_ + kWarpRows * r];
    bool sees = false;
#pragma unroll
    for (int c = 0; c < kKeys; ++c) {
      sees = sees || s(r, c) != nothing();
      s(r, c) = s(r, c) - lse;
    }
    const unsigned votes = __ballot_sync(0xffffffffu, sees);
#pragma unroll
    for (int row = 0; row < kWarpRows; ++row)
      if ((votes & (0x5555u << (row & 1) << (row >> 1) * 16)) != 0) seen |= 1u << (kWarpRows * r + row);
  }
  exponentials(s.value);
#pragma unroll
  for (int r = 0; r < kRows; ++r)
#pragma unroll
    for (int c = 0; c < kKeys; ++c)
      memory_.p[(row_ + kWarpRows * r) * kTileStride + col_ + kWarpCols * c] = s(r, c);
  if (threadIdx.x % 32 == 0) memory_.seen[warp_of_block()] = seen;
}

/// Bit i: query i of the tile exists and sees a key of the tile.
template <class Form>
__device__ std::uint64_t BackwardTile<Form>::seen_queries(std::int64_t first) const {
  std::uint64_t seen = 0;
#pragma unroll
  for (int warp = 0; warp < Form::kThreads / 32; ++warp)
    seen |= std::uint64_t{memory_.seen[warp]} << warp / 2 * Form::kWarpQueries;
  const int queries = queries_from(first);
  return queries == kTile ? seen : seen & ((std::uint64_t{1} << queries) - 1);
}

/// ds in the place of p, each thread where it has written p.
template <class Form>
__device__ void BackwardTile<Form>::differentiate(std::int64_t first) {
  Chains<kRows, kKeys> dp;
  multiply(true, first, dp);
  __syncthreads();  // p and d_o have been read
  if (!Form::kWhole) {
    stage_q(first, column_);
    stage_k(column_);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float delta = memory_.delta[row_ + kWarpRows * r];
#pragma unroll
    for (int c = 0; c < kKeys; ++c) {
      float& at = memory_.p[(row_ + kWarpRows * r) * kTileStride + col_ + kWarpCols * c];
      at = at == 0 ? 0.0f : at * (dp(r, c) - delta);
    }
  }
}

/// The block is next to add to the gradients of these queries.
template <class Form>
__device__ void BackwardTile<Form>::take_turn(std::int64_t first) {
  if (wants_q_ && threadIdx.x == 0) wait_for(turn(first), static_cast<int>(tile_));
}
template <class Form>
__device__ void BackwardTile<Form>::pass_turn(std::int64_t first) {
  if (wants_q_ && threadIdx.x == 0) publish(turn(first), static_cast<int>(tile_) + 1);
}

/// The chains of d_q, which wait in d_q itself. Those of 1,024 keys end in d_q_total, and the last tile that
/// a query sees makes the result.
template <class Form>
__device__ void BackwardTile<Form>::add_to_queries(std::int64_t first, std::uint64_t seen) {
  constexpr std::int64_t kTilesAChain = kTermsPerChain / kTile;
  const int queries = queries_from(first), first_row = gradient_row_ + row_of_warp();
  const std::int64_t visible = sequence_.visible_keys(first + queries);
  const bool begins = tile_ % kTilesAChain == 0, is_last = first_ + kTile >= visible;
  const bool ends = is_last || (tile_ + 1) % kTilesAChain == 0;
  float* const d_q = tokens_of(p_.d_q, b_, h_, p_.query_start(b_) + first);
  const std::int64_t head = b_ * p_.extents.heads + h_;
  Chains<kGradientRows, 4> sum;
  sum.begin(memory_.zeros);
  unsigned rows = 0;
#pragma unroll
  for (int g = 0; g < kGradientRows; ++g) {
    const int row = first_row + kWarpRows * g;
    if (row >= queries || (seen >> row & 1) != 0) rows |= 1u << g;
    const float* const from = d_q + row * p_.d_q.token_stride + column_ + gradient_col_;
    if (begins || row >= queries) continue;
    if (plan_.is_d_q_aligned && gradient_col_ + 4 <= depth_) {
      const float4 four = __ldcg(reinterpret_cast<const float4*>(from));
      sum(g, 0) = four.x;
      sum(g, 1) = four.y;
      sum(g, 2) = four.z;
      sum(g, 3) = four.w;
    } else {
#pragma unroll
      for (int x = 0; x < 4; ++x)
        if (gradient_col_ + x < depth_) sum(g, x) = __ldcg(from + x);
    }
  }
  add_products_by_rows<kTileStride, Form::kStride>(sum, memory_.p + first_row * kTileStride,
                                                   memory_.k + gradient_col_, kTile, rows);
#pragma unroll
  for (int g = 0; g < kGradientRows; ++g) {
    const int row = first_row + kWarpRows * g;
    if (row >= queries) continue;
    float* const to = d_q + row * p_.d_q.token_stride + column_ + gradient_col_;
    if (ends) {
      float* const total =
          plan_.scratch.d_q_total + ((head * p_.extents.queries + first + row) * p_.extents.head_size);
      for_each_column(depth_, [&](int x, std::int64_t column) {
        const float before = tile_ < kTilesAChain ? 0.0f : __ldcg(total + column);
        sum(g, x) = before + sum(g, x);
        if (is_last)
          sum(g, x) = p_.options.scale * sum(g, x);
        else
          total[column] = sum(g, x);
      });
      if (!is_last) continue;
    }
    if (plan_.is_d_q_aligned && gradient_col_ + 4 <= depth_) {
      store4({sum(g, 0), sum(g, 1), sum(g, 2), sum(g, 3)}, to);
    } else {
#pragma unroll
      for (int x = 0; x < 4; ++x)
        if (gradient_col_ + x < depth_) to[x] = sum(g, x);
    }
  }
}

template <class Form>
__device__ void BackwardTile<Form>::add_tile(std::int64_t first, bool is_last) {
  const std::int64_t next = first + kTile;
  const bool wants_ds = wants_q_ || wants_k_;
  soften(first);
  if (!Form::kWhole) {
    stage_d_o(first, column_);
    __pipeline_commit();
  }
  wait_for_stages();  // p and d_o are here
  const std::uint64_t seen = seen_queries(first);
  const int key = gradient_row_ + row_of_warp() * 4;
  if (wants_v_)
    add_seen_products<kTileStride, Form::kStride>(d_v_, memory_.p + key, memory_.d_o + gradient_col_, seen);
  if (wants_ds)
    differentiate(first);
  else
    __syncthreads();  // d_o has been read
  if (Form::kWhole && !is_last) stage_d_o(next, 0);
  __pipeline_commit();
  if (wants_ds) {
    take_turn(first);
    if (Form::kWhole)
      __syncthreads();
    else
      wait_for_stages();
    if (wants_k_)
      add_seen_products<kTileStride, Form::kStride>(d_k_, memory_.p + key, memory_.q + gradient_col_, seen);
    __syncthreads();  // q and delta have been read
  }
  if (!is_last) stage_query_tile(next);
  __pipeline_commit();
  if (wants_q_) add_to_queries(first, seen);
}

// ---- A head

/// total = total + chain, chain = +0.
template <class Form>
__device__ void BackwardTile<Form>::close_chains() {
  const std::int64_t token = (b_ * p_.extents.kv_heads + kv_) * p_.extents.keys + first_;
  for_each_key([&](int g, int row) {
    const auto add = [&](float* total, float& chain) {
      *total = (has_totals_ ? *total : 0.0f) + chain;
      chain = 0;
    };
    for_each_column(depth_, [&](int x, std::int64_t column) {
      add(plan_.scratch.d_k_total + (token + row) * p_.extents.head_size + column, d_k_(g, x));
    });
    for_each_column(values_, [&](int x, std::int64_t column) {
      add(plan_.scratch.d_v_total + (token + row) * p_.extents.value_size + column, d_v_(g, x));
    });
  });
  has_totals_ = true;
}

/// A head's gradients of keys and values, added to those of the heads before.
template <class Form>
__device__ void BackwardTile<Form>::store_keys(bool adds) {
  if (has_totals_) close_chains();
  const std::int64_t token = (b_ * p_.extents.kv_heads + kv_) * p_.extents.keys + first_;
  const std::int64_t start = p_.key_start(b_) + first_;
  for_each_key([&](int g, int row) {
    const auto store = [&](const float* total, float chain, float scale, float* to) {
      const float value = scale * (has_totals_ ? *total : (0.0f + chain));
      *to = adds ? *to + value : value;
    };
    if (wants_k_) {
      float* const to = tokens_of(p_.d_k, b_, kv_, start + row);
      for_each_column(depth_, [&](int x, std::int64_t column) {
        store(plan_.scratch.d_k_total + (token + row) * p_.extents.head_size + column, d_k_(g, x),
              p_.options.scale, to + column);
      });
    }
    if (wants_v_) {
      float* const to = tokens_of(p_.d_v, b_, kv_, start + row);
      for_each_column(values_, [&](int x, std::int64_t column) {
        store(plan_.scratch.d_v_total + (token + row) * p_.extents.value_size + column, d_v_(g, x), 1.0f,
              to + column);
      });
    }
  });
}

template <class Form>
__device__ void BackwardTile<Form>::run_head(std::int64_t h) {
  h_ = h;
  sequence_ = sequence_of(p_, b_, h);
  if (tile_ == 0) clear_queries();
  if (keys_ == 0) return;
  d_k_.begin(memory_.zeros);
  d_v_.begin(memory_.zeros);
  has_totals_ = false;
  const std::int64_t seeing = sequence_.first_query(first_);
  const std::int64_t begin = seeing < sequence_.queries ? seeing / kTile * kTile : sequence_.queries;
  __syncthreads();  // the head before has left the memory
  if (begin < sequence_.queries) {
    stage_query_tile(begin);
    if (Form::kWhole) stage_d_o(begin, 0);
    __pipeline_commit();
  }
  for (std::int64_t first = begin; first < sequence_.queries; first += kTile) {
    if (first > begin && first % kTermsPerChain == 0) close_chains();
    wait_for_stages();  // what the tile begins with is here, and the tile before is done
    if (first > begin) pass_turn(first - kTile);
    add_tile(first, first + kTile >= sequence_.queries);
  }
  __syncthreads();
  if (begin < sequence_.queries) pass_turn((sequence_.queries - 1) / kTile * kTile);
  store_keys(h > kv_ * p_.heads_a_group());
}

// ---- What no tile makes

template <class Form>
__device__ void BackwardTile<Form>::clear(const Heads& of, std::int64_t h, std::int64_t begin,
                                          std::int64_t end, int columns, float value) {
  if (of.data == nullptr || columns == 0) return;
  float* const first = tokens_of(of, b_, h, 0) + column_;
  for (std::int64_t i = threadIdx.x; i < (end - begin) * columns; i += Form::kThreads)
    first[(begin + i / columns) * of.token_stride + i % columns] = value;
}

/// The gradients of queries that see no tile, and of what lies behind a sample's queries.
template <class Form>
__device__ void BackwardTile<Form>::clear_queries() {
  const std::int64_t queries = sequence_.queries, start = p_.query_start(b_);
  const std::int64_t unseen = sequence_.keys == 0 ? queries : sequence_.first_query(0) / kTile * kTile;
  clear(p_.d_q, h_, start, start + unseen, depth_, 0.0f);
  if (p_.options.sequences.query_starts == nullptr)
    clear(p_.d_q, h_, queries, p_.extents.queries, depth_, behind(p_, b_));
}

/// The gradients of what lies behind a sample's keys, in this tile; without heads nothing looks at a key.
template <class Form>
__device__ void BackwardTile<Form>::clear_keys() {
  if (p_.options.sequences.key_starts != nullptr) return;
  const std::int64_t begin = first_ + (p_.extents.heads == 0 ? 0 : keys_);
  const std::int64_t end = first_ + count_before(first_, p_.extents.keys, kTile);
  clear(p_.d_k, kv_, begin, end, depth_, behind(p_, b_));
  clear(p_.d_v, kv_, begin, end, values_, behind(p_, b_));
}

template <class Form>
__device__ void BackwardTile<Form>::run() {
  keys_ = count_before(first_, sequence_of(p_, b_, 0).keys, kTile);
  clear_keys();
  if (Form::kWhole && keys_ > 0) {
    stage_k(0);
    stage_k_features(0);
    stage_v_features(0);
    __pipeline_commit();
  }
  const std::int64_t group = p_.heads_a_group();
  for (std::int64_t h = kv_ * group; h < (kv_ + 1) * group; ++h) run_head(h);
  wait_for_stages();  // for keys that no query sees
}

// Order: of d_k and d_v, heads of the group ascending, and of each the queries, ascending, in chains of
// 1,024; of d_q the keys, ascending, in chains of 1,024; one fma a term (README.md).
template <class Form>
__global__ void __launch_bounds__(Form::kThreads) backward_tiles(Problem p, BackwardPlan plan) {
  extern __shared__ __align__(16) float memory_of_block[];
  auto& memory = *reinterpret_cast<typename Form::Memory*>(memory_of_block);
  clear_zeros<Form::kThreads>(memory.zeros);
  for (;;) {
    if (threadIdx.x == 0) memory.ticket = atomicAdd(plan.scratch.ticket, 1ull);
    __syncthreads();
    const auto unit = static_cast<std::int64_t>(memory.ticket);
    __syncthreads();
    if (unit >= plan.units) return;
    BackwardTile<Form>(p, plan, memory, unit).run();
  }
}

// ---- delta

struct Terms {
  float d_o, o;
};

// Order: by lanes, one fma a term.
template <class Form>
__global__ void __launch_bounds__(Form::kBlockThreads)
    sum_products(Problem p, order::Slices rows, float* delta) {
  using Team = typename Form::Team;
  __shared__ typename Team::template Memory<float> memory;
  const Team team(memory);
  order::for_each_slice(team, rows, [&](const order::Slice<Team>& row) {
    const std::int64_t head = row.index / p.extents.queries, i = row.index % p.extents.queries;
    const std::int64_t b = head / p.extents.heads, h = head % p.extents.heads;
    const bool is_real = i < sequence_of(p, b, h).queries;
    const float* const d_o = tokens_of(p.d_o, b, h, p.query_start(b) + i);
    const float* const o = tokens_of(p.from_o, b, h, p.query_start(b) + i);
    const auto elements = order::elements_of<Form>(team, rows.axis, [=](std::int64_t j) {
      return is_real ? Terms{d_o[j], o[j]} : Terms{0, 0};
    });
    const auto step = [](float lane, std::int64_t, const Terms& of) { return std::fma(of.d_o, of.o, lane); };
    const float sum = elements.reduce(0.0f, step, order::AddLanes());
    if (row.counts && team.rank() == 0) delta[row.index] = sum;
  });
}

// ---- Launching

struct ScratchSize {
  std::int64_t bytes, counters;  ///< in all; those that are 0 when a call begins, at its start
};

/// Lays out the scratch, or from null only counts.
ScratchSize lay_out(const AttentionExtents& x, void* memory, Scratch& scratch) {
  constexpr std::int64_t kLeastChunk = 64;  // of head sizes with several chunks
  const std::int64_t rows = x.samples * x.heads * x.queries, keys = x.samples * x.kv_heads * x.keys;
  const std::int64_t chunks = (x.head_size + kLeastChunk - 1) / kLeastChunk;
  internal::ScratchParts parts(memory);
  parts.take(scratch.ticket, 1);
  parts.take(scratch.turn, x.samples * x.heads * ((x.queries + kTile - 1) / kTile) * chunks);
  const std::int64_t counters = parts.bytes();
  parts.take(scratch.delta, rows);
  parts.take(scratch.d_q_total, x.keys > kTermsPerChain ? rows * x.head_size : 0);
  parts.take(scratch.d_k_total, x.queries > kTermsPerChain ? keys * x.head_size : 0);
  parts.take(scratch.d_v_total, x.queries > kTermsPerChain ? keys * x.value_size : 0);
  return {parts.bytes(), counters};
}

template <class Form>
void launch_backward(const Problem& p, void* memory, const DeviceLimits& device, cudaStream_t on) {
  const AttentionExtents& x = p.extents;
  BackwardPlan plan;
  plan.query_tiles = (x.queries + kTile - 1) / kTile;
  plan.chunks =
      std::max<std::int64_t>(1, (std::max(x.head_size, x.value_size) + Form::kDepth - 1) / Form::kDepth);
  plan.turns = (x.head_size + Form::kDepth - 1) / Form::kDepth;
  plan.units = std::max<std::int64_t>(1, (x.keys + kTile - 1) / kTile) * x.samples * x.kv_heads * plan.chunks;
  plan.is_q_aligned = is_aligned(p.q);
  plan.is_d_o_aligned = is_aligned(p.d_o);
  plan.is_k_aligned = is_aligned(p.k);
  plan.is_d_q_aligned = is_aligned(p.d_q);
  const ScratchSize size = lay_out(x, memory, plan.scratch);
  check_cuda(cudaMemsetAsync(memory, 0, static_cast<std::size_t>(size.counters), on), "attention_backward");
  if ((p.d_q.data != nullptr || p.d_k.data != nullptr) && x.samples * x.heads * x.queries > 0) {
    const order::Slices rows{x.samples * x.heads * x.queries, x.value_size, 1};
    order::with_row_form(rows.axis, [&](auto form) {
      order::launch_slices(form, "attention_backward: sum_products", sum_products<decltype(form)>, rows, on,
                           p, rows, plan.scratch.delta);
    });
  }
  const std::int64_t blocks = std::min<std::int64_t>(plan.units, 4 * device.multiprocessors);
  launch_with_memory<Form>("attention_backward: backward_tiles", backward_tiles<Form>, blocks, on, p, plan);
}

/// Launches the form where it holds all features of the problem and the device holds it.
template <class Form>
bool launch_whole(const Problem& p, void* memory, const DeviceLimits& device, cudaStream_t on) {
  if (std::max(p.extents.head_size, p.extents.value_size) > Form::kDepth || !device.holds<Form>())
    return false;
  launch_backward<Form>(p, memory, device, on);
  return true;
}

}  // namespace

std::int64_t backward_scratch_bytes(const AttentionExtents& extents) {
  Scratch scratch;
  return lay_out(extents, nullptr, scratch).bytes;
}

void backward_cuda(const Problem& p, void* scratch, void* stream) {
  auto* const on = static_cast<cudaStream_t>(stream);
  const DeviceLimits device = device_limits("attention_backward");
  if (launch_whole<BackwardForm<4, 32, true>>(p, scratch, device, on)) return;
  if (launch_whole<BackwardForm<4, 64, true>>(p, scratch, device, on)) return;
  if (launch_whole<BackwardForm<8, 128, true>>(p, scratch, device, on)) return;
  launch_backward<BackwardForm<4, 64, false>>(p, scratch, device, on);
}

}  // namespace lockstep::attention_internal
