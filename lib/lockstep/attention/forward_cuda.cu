// A block owns a tile of queries, and of their results the columns that its registers hold, and goes past all
// tiles of keys that one of the queries sees. A warp has whole rows of the products: their maximum, their
// tree and the p that it multiplies with values need no other warp.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime_api.h>

#include "lockstep/attention/attention_internal.h"
#include "lockstep/attention/tile_cuda_internal.h"
#include "lockstep/base/cuda_check_internal.h"

namespace lockstep::attention_internal {
namespace {

/// `rows` of a thread's queries, `depth` features of q and k in shared memory at a time, `columns` of o in a
/// block's registers.
template <int rows, int warps, int depth, int columns, bool whole>
struct ForwardForm {
  static constexpr int kRows = rows, kThreads = 32 * warps, kWarpQueries = kWarpRows * rows;
  static constexpr int kQueries = kWarpQueries * warps, kDepth = depth;
  static constexpr int kQueryStride = kFeatureStride<kQueries>, kKeyStride = kFeatureStride<kTile>;
  static constexpr int kProductStride = kQueries + 8;  ///< in which a warp writes 4 rows of 8 vectors
  static constexpr int kColumns = columns, kThreadColumns = columns / kWarpCols;
  static constexpr int kKeys = kTile / kWarpCols;  ///< of a thread's products
  static constexpr bool kWhole = whole;            ///< all features lie in shared memory
  struct Memory {
    float q[kDepth * kQueryStride], k[kDepth * kKeyStride];  ///< by features
    float p[kTile * kProductStride], v[kTile * columns];     ///< by keys
    float zeros[kMostChains];
  };
};

/// What the host knows of a launch.
struct ForwardPlan {
  std::int64_t tiles, chunks, units;  ///< of queries; of columns; of blocks' work
  bool is_v_aligned, is_o_aligned;
};

/// A block's work.
template <class Form>
class ForwardTile {
 public:
  using Memory = typename Form::Memory;
  __device__ ForwardTile(const Problem& p, const ForwardPlan& plan, Memory& memory, std::int64_t unit)
      : p_(p), plan_(plan), memory_(memory) {
    const std::int64_t heads = p.extents.samples * p.extents.heads, rest = unit / plan.chunks;
    b_ = rest % heads / p.extents.heads;
    h_ = rest % p.extents.heads;
    kv_ = h_ / p.heads_a_group();
    first_ = (plan.tiles - 1 - rest / heads) * Form::kQueries;  // causal tiles with the most keys go first
    column_ = unit % plan.chunks * Form::kColumns;
    sequence_ = sequence_of(p, b_, h_);
    count_ = count_before(first_, sequence_.queries, Form::kQueries);
    columns_ = count_before(column_, p.extents.value_size, Form::kColumns);
    row_ = warp_of_block() * Form::kWarpQueries + row_of_warp() * 4;
  }

  __device__ void run();

 private:
  static constexpr int kRows = Form::kRows, kKeys = Form::kKeys;
  static constexpr unsigned kAllRows = (1u << kRows) - 1;

  __device__ Tokens queries() const {
    return {tokens_of(p_.q, b_, h_, p_.query_start(b_) + first_), p_.q.token_stride};
  }
  __device__ Tokens keys(std::int64_t first) const {
    return {tokens_of(p_.k, b_, kv_, p_.key_start(b_) + first), p_.k.token_stride};
  }
  __device__ void stage_keys(std::int64_t first);
  __device__ void stage_values(std::int64_t first);
  __device__ void multiply(std::int64_t first, Chains<kRows, kKeys>& s);
  __device__ unsigned seen_rows(const Chains<kRows, kKeys>& s, const float (&best)[kRows]);
  __device__ unsigned soften(Chains<kRows, kKeys>& s, float (&r)[kRows]);
  __device__ void scale_results(unsigned seen, const float (&r)[kRows], bool with_totals);
  __device__ void close_chains(std::int64_t first);
  __device__ void store();
  __device__ float* result_row(int r) const {
    return tokens_of(p_.o, b_, h_, p_.query_start(b_)) + (first_ + row(r)) * p_.o.token_stride + column_;
  }
  /// visit(c, column of the chunk) for the thread's columns that exist.
  template <class Visit>
  __device__ void for_each_column(Visit visit) const {
#pragma unroll
    for (int c = 0; c < Form::kThreadColumns; ++c) {
      const int column = c / 4 * 32 + col_of_warp() * 4 + c % 4;
      if (column < columns_) visit(c, column);
    }
  }
  __device__ int row(int r) const { return row_ + row_of_run(r); }
  __device__ bool is_real(int r) const { return row(r) < count_; }

  const Problem& p_;
  const ForwardPlan& plan_;
  Memory& memory_;
  std::int64_t b_, h_, kv_, first_, column_;
  Sequence sequence_;
  int count_, columns_, row_;
  bool has_totals_ = false;   ///< the chains of 1,024 keys that have ended; they wait in o
  bool ends_behind_ = false;  ///< Sequence::ends_chains_behind
  unsigned seeing_ = 0;       ///< rows that have seen a key
  float m_[kRows], l_[kRows];
  Chains<kRows, Form::kThreadColumns> o_;
};

template <class Form>
__device__ void ForwardTile<Form>::stage_keys(std::int64_t first) {
  stage_features<Form::kThreads, kTile, Form::kDepth>(keys(first), count_before(first, sequence_.keys, kTile),
                                                      static_cast<int>(p_.extents.head_size), KeysOfThreads(),
                                                      memory_.k);
  __pipeline_commit();
}

template <class Form>
__device__ void ForwardTile<Form>::stage_values(std::int64_t first) {
  const Tokens values{tokens_of(p_.v, b_, kv_, p_.key_start(b_) + first) + column_, p_.v.token_stride,
                      plan_.is_v_aligned};
  stage<Form::kThreads, kTile, Form::kColumns, Form::kColumns>(
      values, count_before(first, sequence_.keys, kTile), columns_, memory_.v);
  __pipeline_commit();
}

/// The chains of q and k. Where features do not all lie in shared memory they come and go.
template <class Form>
__device__ void ForwardTile<Form>::multiply(std::int64_t first, Chains<kRows, kKeys>& s) {
  s.begin(memory_.zeros);
  const int depth = static_cast<int>(p_.extents.head_size);
  const float* const left = memory_.q + row_;
  const float* const right = memory_.k + col_of_warp() * 4;
  if constexpr (Form::kWhole) {
    add_products<Form::kQueryStride, Form::kKeyStride>(s, left, right, depth);
  } else {
    for (int from = 0; from < depth; from += Form::kDepth) {
      Tokens q = queries(), k = keys(first);
      q.first += from;
      k.first += from;
      if (from > 0) __syncthreads();  // the features before have been read
      stage_features<Form::kThreads, Form::kQueries, Form::kDepth>(q, count_, depth - from, InOrder(),
                                                                   memory_.q);
      stage_features<Form::kThreads, kTile, Form::kDepth>(k, count_before(first, sequence_.keys, kTile),
                                                          depth - from, KeysOfThreads(), memory_.k);
      __pipeline_commit();
      wait_for_stages();
      add_products<Form::kQueryStride, Form::kKeyStride>(s, left, right, min(depth - from, Form::kDepth));
    }
  }
}

/// The rows that see a key of the tile: usually the largest product tells.
template <class Form>
__device__ unsigned ForwardTile<Form>::seen_rows(const Chains<kRows, kKeys>& s, const float (&best)[kRows]) {
  constexpr unsigned kEveryThread = 0xffffffffu;
  bool all = true;
#pragma unroll
  for (int r = 0; r < kRows; ++r) all = all && best[r] > nothing();
  if (__all_sync(kEveryThread, all)) return kAllRows;
  const int row = row_of_warp();
  const unsigned same_row = 0x5555u << (row & 1) << (row >> 1) * 16;
  unsigned seen = 0;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    bool sees = false;
#pragma unroll
    for (int c = 0; c < kKeys; ++c) sees = sees || s(r, c) != nothing();
    if ((__ballot_sync(kEveryThread, sees) & same_row) != 0) seen |= 1u << r;
  }
  return seen;
}

/// v of the thread that is `distance` columns away in the same row.
__device__ float from_col(float v, int distance) { return __shfl_xor_sync(0xffffffffu, v, 2 * distance); }

/// One step of the online softmax: s goes to memory as p, r is the factor of what the rows have gathered.
/// Returns the rows that see a key of the tile.
///
/// Order: the tree over 64 lanes, of which thread column c has c, c + 8, …; a NaN is passed over by the
/// maximum.
template <class Form>
__device__ unsigned ForwardTile<Form>::soften(Chains<kRows, kKeys>& s, float (&r)[kRows]) {
  static_assert(kKeys == 8);
  float best[kRows];
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    best[i] = nothing();
#pragma unroll
    for (int c = 0; c < kKeys; ++c) best[i] = larger(s(i, c), best[i]);
#pragma unroll
    for (int d = kWarpCols / 2; d > 0; d /= 2) best[i] = larger(from_col(best[i], d), best[i]);
  }
  const unsigned seen = seen_rows(s, best);
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    best[i] = larger(best[i], m_[i]);
#pragma unroll
    for (int c = 0; c < kKeys; ++c) s(i, c) = s(i, c) - best[i];
  }
  exponentials(s.value);
#pragma unroll
  for (int c = 0; c < kKeys; ++c) {
    float* const to = memory_.p + (col_of_warp() + kWarpCols * c) * Form::kProductStride + row_;
#pragma unroll
    for (int i = 0; i < kRows; i += 4)
      store4({s(i, c), s(i + 1, c), s(i + 2, c), s(i + 3, c)}, to + row_of_run(i));
  }
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    float p[kKeys];
#pragma unroll
    for (int c = 0; c < kKeys; ++c) p[c] = s(i, c);
#pragma unroll
    for (int h = kKeys / 2; h > 0; h /= 2)
#pragma unroll
      for (int c = 0; c < h; ++c) p[c] = p[c] + p[c + h];
#pragma unroll
    for (int d = kWarpCols / 2; d > 0; d /= 2) p[0] = p[0] + from_col(p[0], d);
    r[i] = exponential(m_[i] - best[i]);
    if (seen >> i & 1) {
      l_[i] = std::fma(l_[i], r[i], p[0]);
      m_[i] = best[i];
    }
  }
  return seen;
}

template <class Form>
__device__ void ForwardTile<Form>::scale_results(unsigned seen, const float (&r)[kRows], bool with_totals) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    if ((seen >> i & 1) == 0) continue;
#pragma unroll
    for (int c = 0; c < Form::kThreadColumns; ++c) o_(i, c) = o_(i, c) * r[i];
    if (!with_totals || r[i] == 1 || !is_real(i)) continue;  // the maximum changes seldom by now
    float* const total = result_row(i);
    for_each_column([&](int, int column) { total[column] = total[column] * r[i]; });
  }
}

/// total = total + o, o = +0.
template <class Form>
__device__ void ForwardTile<Form>::close_chains(std::int64_t first) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    if (is_real(i)) {
      float* const total = result_row(i);
      for_each_column([&](int c, int column) {
        total[column] = (first == kTermsPerChain ? 0.0f : total[column]) + o_(i, c);
      });
    }
  }
  o_.begin(memory_.zeros);
  has_totals_ = true;
}

template <class Form>
__device__ void ForwardTile<Form>::store() {
  const bool is_packed = p_.options.sequences.query_starts != nullptr;
  const bool keeps_lse = p_.lse.data != nullptr && column_ == 0 && col_of_warp() == 0;
  float* const lse = p_.lse.data == nullptr ? nullptr : rows_of(p_.lse, b_, h_, p_.query_start(b_));
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    const std::int64_t query = first_ + row(i);
    if (!is_real(i) && (is_packed || query >= p_.extents.queries)) continue;
    const bool sees = is_real(i) && (seeing_ >> i & 1) != 0;
    const float otherwise = is_real(i) ? 0.0f : behind(p_, b_);
    float value[Form::kThreadColumns];
    float* const to = result_row(i);
    for_each_column([&](int c, int column) {
      const float before = has_totals_ && sees ? to[column] : 0.0f, total = before + o_(i, c);
      value[c] = sees ? (ends_behind_ ? total + 0.0f : total) / l_[i] : otherwise;
    });
#pragma unroll
    for (int c = 0; c < Form::kThreadColumns; c += 4) {
      const int column = c / 4 * 32 + col_of_warp() * 4;
      if (plan_.is_o_aligned && column + 4 <= columns_) {
        store4({value[c], value[c + 1], value[c + 2], value[c + 3]}, to + column);
      } else {
#pragma unroll
        for (int x = 0; x < 4; ++x)
          if (column + x < columns_) to[column + x] = value[c + x];
      }
    }
    if (keeps_lse) lse[query] = sees ? m_[i] + math::log(l_[i]) : nothing() + otherwise;
  }
}

template <class Form>
__device__ void ForwardTile<Form>::run() {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    m_[i] = nothing();
    l_[i] = 0;
  }
  o_.begin(memory_.zeros);
  const std::int64_t visible = count_ > 0 ? sequence_.visible_keys(first_ + count_) : 0;
  if (Form::kWhole && visible > 0) {
    stage_features<Form::kThreads, Form::kQueries, Form::kDepth>(
        queries(), count_, static_cast<int>(p_.extents.head_size), InOrder(), memory_.q);
    stage_keys(0);
  }
  for (std::int64_t first = 0; first < visible; first += kTile) {
    if (first > 0 && first % kTermsPerChain == 0) close_chains(first);
    Chains<kRows, kKeys> s;
    float r[kRows];
    wait_for_stages();  // the keys are here, and the tile before has left the values
    stage_values(first);
    multiply(first, s);
    finish_products(
        s, sequence_, {first_, first, count_}, p_.options.scale, [&](int r) { return row(r); },
        col_of_warp());
    wait_for_stages();  // the values are here, and the keys have been read
    if (Form::kWhole && first + kTile < visible) stage_keys(first + kTile);
    const unsigned seen = soften(s, r);
    __syncwarp();  // of p a warp reads its own rows alone
    scale_results(seen, r, first >= kTermsPerChain);
    add_products<Form::kProductStride, Form::kColumns>(o_, memory_.p + row_, memory_.v + col_of_warp() * 4,
                                                       kTile, seen);
    seeing_ |= seen;
    __syncwarp();
  }
  ends_behind_ = sequence_.ends_chains_behind(visible);
  store();
  __syncthreads();  // before the block's next tile
}

// Order: of each query, tiles of keys ascending; in a tile chains over features, the tree of p, chains over
// keys, one fma a term (README.md).
template <class Form>
__global__ void __launch_bounds__(Form::kThreads) forward_tiles(Problem p, ForwardPlan plan) {
  extern __shared__ __align__(16) float memory_of_block[];
  auto& memory = *reinterpret_cast<typename Form::Memory*>(memory_of_block);
  clear_zeros<Form::kThreads>(memory.zeros);
  for (std::int64_t unit = blockIdx.x; unit < plan.units; unit += gridDim.x)
    ForwardTile<Form>(p, plan, memory, unit).run();
}

template <class Form>
ForwardPlan plan_of(const Problem& p) {
  const AttentionExtents& x = p.extents;
  ForwardPlan plan;
  plan.tiles = (x.queries + Form::kQueries - 1) / Form::kQueries;
  plan.chunks = std::max<std::int64_t>(1, (x.value_size + Form::kColumns - 1) / Form::kColumns);
  plan.units = plan.tiles * plan.chunks * x.samples * x.heads;
  plan.is_v_aligned = is_aligned(p.v);
  plan.is_o_aligned = is_aligned(p.o);
  return plan;
}

template <class Form>
void launch_forward(const Problem& p, cudaStream_t on) {
  const ForwardPlan plan = plan_of<Form>(p);
  launch_with_memory<Form>("attention: forward_tiles", forward_tiles<Form>, plan.units, on, p, plan);
}

/// Launches a form that holds all features of the problem: the low one where there are too few tiles of the
/// other for every multiprocessor, or the device has too little memory for it. False: neither does.
template <class Form, class Low>
bool launch_whole(const Problem& p, const DeviceLimits& device, cudaStream_t on) {
  if (p.extents.head_size > Form::kDepth || p.extents.value_size > Form::kColumns) return false;
  const bool has_many = plan_of<Form>(p).units >= device.multiprocessors;
  if (device.holds<Form>() && (has_many || !device.holds<Low>()))
    launch_forward<Form>(p, on);
  else if (device.holds<Low>())
    launch_forward<Low>(p, on);
  else
    return false;
  return true;
}

}  // namespace

void forward_cuda(const Problem& p, void* stream) {
  auto* const on = static_cast<cudaStream_t>(stream);
  const DeviceLimits device = device_limits("attention");
  using Low = ForwardForm<4, 4, 64, 64, true>;
  using LowAndDeep = ForwardForm<4, 4, 128, 128, true>;
  if (launch_whole<ForwardForm<8, 4, 32, 32, true>, Low>(p, device, on)) return;
  if (launch_whole<ForwardForm<8, 4, 64, 64, true>, Low>(p, device, on)) return;
  if (launch_whole<ForwardForm<4, 8, 128, 128, true>, LowAndDeep>(p, device, on)) return;
  launch_forward<ForwardForm<4, 4, 64, 64, false>>(p, on);
}

}  // namespace lockstep::attention_internal
