#pragma once
// What forward and backward share on a CUDA device, for .cu files: products of tiles that lie in shared
// memory, in the registers of a block's threads, and the way of operands there. They include
// <cuda_pipeline_primitives.h> first.
//
// A warp is 4 rows of 8 threads, and a thread has several rows and columns of a product. Which ones is chosen
// for shared memory, of which a thread reads 16 bytes at a time: threads that differ in the lowest bit of
// their number read one place of the right operand, those that differ in the next one place of the left
// operand, so that half a warp is served at once.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "lockstep/attention/attention_internal.h"
#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/base/outer_product_internal.h"
#include "lockstep/math/math_inl.h"

namespace lockstep::attention_internal {

constexpr int kTile = static_cast<int>(kTileKeys);
constexpr int kWarpRows = 4, kWarpCols = 8;
/// Floats between the rows of operands whose neighbouring rows are read together: 4 banks apart.
constexpr int padded(int features) { return features + 4; }
/// Floats between the rows of p, which a warp writes as 4 rows of 8.
constexpr int kTileStride = kTile + 8;

__device__ inline int warp_of_block() { return static_cast<int>(threadIdx.x) / 32; }
__device__ inline int row_of_warp() {
  const int thread = static_cast<int>(threadIdx.x) % 32;
  return (thread & 1) + (thread >> 4) * 2;
}
__device__ inline int col_of_warp() { return static_cast<int>(threadIdx.x) % 32 >> 1 & 7; }

__device__ inline float nothing() { return -HUGE_VALF; }
/// A NaN loses.
__device__ inline float larger(float a, float b) { return std::fmax(a, b); }

__device__ inline float exponential(float x) { return math::internal::exp_nonpositive(x); }
/// The same of all numbers of a thread, which are seldom so low that a result is subnormal.
template <int kRows, int kCols>
__device__ void exponentials(float (&x)[kRows][kCols]) {
  bool all_normal = true;
#pragma unroll
  for (int r = 0; r < kRows; ++r)
#pragma unroll
    for (int c = 0; c < kCols; ++c) all_normal = all_normal && std::fabs(x[r][c]) <= 86;
  if (all_normal) {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int c = 0; c < kCols; ++c) x[r][c] = math::internal::exp_normal(x[r][c]);
    return;
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r)
#pragma unroll
    for (int c = 0; c < kCols; ++c) x[r][c] = exponential(x[r][c]);
}

__device__ inline float4 load4(const float* at) { return *reinterpret_cast<const float4*>(at); }
__device__ inline void store4(float4 value, float* at) { *reinterpret_cast<float4*>(at) = value; }

// ---- Operands on their way to shared memory

/// Features of consecutive tokens.
struct Tokens {
  const float* first;
  std::int64_t stride;
  bool is_aligned = false;  ///< every token's features start on 16 bytes, which stage() makes use of
};

/// Asks for `rows` tokens' features 0 … cols - 1; the rest of [kRows, kCols] becomes +0. To be followed by
/// __pipeline_commit, and to be seen by the block after __pipeline_wait_prior and a barrier.
template <int kThreads, int kRows, int kCols, int kStride>
__device__ void stage(const Tokens& from, int rows, int cols, float* to) {
  constexpr int kPieces = kCols / 4, kRowsATurn = kThreads / kPieces;
  static_assert(kThreads % kPieces == 0 && kRows % kRowsATurn == 0,
                "a thread has one piece of every few rows");
  const int thread = static_cast<int>(threadIdx.x), col = thread % kPieces * 4, first = thread / kPieces;
  const float* source = from.first + first * from.stride + col;
  float* const place = to + first * kStride + col;
  if (from.is_aligned && col + 4 <= cols && rows == kRows) {
#pragma unroll
    for (int row = 0; row < kRows; row += kRowsATurn, source += kRowsATurn * from.stride)
      __pipeline_memcpy_async(place + row * kStride, source, 16);
    return;
  }
#pragma unroll 1
  for (int row = 0; row < kRows; row += kRowsATurn, source += kRowsATurn * from.stride) {
    float* const to_row = place + row * kStride;
    if (first + row >= rows || col >= cols) {
      store4({0, 0, 0, 0}, to_row);
    } else if (from.is_aligned && col + 4 <= cols) {
      __pipeline_memcpy_async(to_row, source, 16);
    } else {
      for (int x = 0; x < 4; ++x) {
        if (col + x < cols)
          __pipeline_memcpy_async(to_row + x, source + x, 4);
        else
          to_row[x] = 0;
      }
    }
  }
}

/// Floats between the features of tokens that lie feature by feature: 4 banks apart.
template <int kTokens>
constexpr int kFeatureStride = kTokens + 4;

/// The token at a place of 32: those that are 8 apart, which are a thread's, lie side by side.
struct KeysOfThreads {
  __device__ int operator()(int place) const {
    return place / 32 * 32 + place % 4 * kWarpCols + place % 32 / 4;
  }
};
struct InOrder {
  __device__ int operator()(int place) const { return place; }
};

/// Asks for kTokens tokens' features 0 … cols - 1, as [kCols, kFeatureStride<kTokens>]. Tokens behind `rows`
/// and features behind `cols` are left as they are: what is made of them goes nowhere. A warp takes 8
/// features of 4 places: whole sectors of global memory, and each bank of shared memory once.
template <int kThreads, int kTokens, int kCols, class TokenAt>
__device__ void stage_features(const Tokens& from, int rows, int cols, TokenAt token_at, float* to) {
  constexpr int kFeatures = 8, kTokensATurn = kThreads / kFeatures;
  static_assert(kCols % kFeatures == 0 && kTokens % kTokensATurn == 0);
  const int thread = static_cast<int>(threadIdx.x), feature = thread % kFeatures, slot = thread / kFeatures;
#pragma unroll 2
  for (int turn = 0; turn < kTokens; turn += kTokensATurn) {
    const int token = token_at(turn + slot);
    if (token >= rows) continue;
    const float* const source = from.first + token * from.stride + feature;
    float* const place = to + feature * kFeatureStride<kTokens> + turn + slot;
#pragma unroll
    for (int first = 0; first < kCols; first += kFeatures)
      if (first + feature < cols)
        __pipeline_memcpy_async(place + first * kFeatureStride<kTokens>, source + first, 4);
  }
}

/// The same of one number a token.
template <int kThreads, int kCount>
__device__ void stage_numbers(const float* from, int count, float* to) {
  for (int i = static_cast<int>(threadIdx.x); i < kCount; i += kThreads) {
    if (i < count)
      __pipeline_memcpy_async(to + i, from + i, 4);
    else
      to[i] = 0.0f;
  }
}

__device__ inline void wait_for_stages() {
  __pipeline_wait_prior(0);
  __syncthreads();
}

// ---- Products. Each element of a result is one chain, in ascending order of the index that is summed over,
//      one fma a term.

constexpr int kMostChains = 64;  // of a thread

/// Clears what chains begin with, of which there are kMostChains.
template <int kThreads>
__device__ void clear_zeros(float* zeros) {
  for (int i = static_cast<int>(threadIdx.x); i < kMostChains; i += kThreads) zeros[i] = 0;
  __syncthreads();
}

/// Chains of a thread.
template <int kRows, int kCols>
struct Chains {
  static_assert(kCols % 4 == 0 && kRows * kCols <= kMostChains);
  alignas(16) float value[kRows][kCols];  ///< column c lies at c ^ kBankSwap

  __device__ __forceinline__ float& operator()(int r, int c) {
    return value[r][c ^ internal::kBankSwap<kCols>];
  }
  __device__ __forceinline__ float operator()(int r, int c) const {
    return value[r][c ^ internal::kBankSwap<kCols>];
  }

  /// All are +0. They come from shared memory as vectors, which makes them lie as such in registers.
  __device__ __forceinline__ void begin(const float* zeros) {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int c = 0; c < kCols; c += 4)
        *reinterpret_cast<float4*>(&value[r][c]) = load4(zeros + r * kCols + c);
  }

  /// Each chain takes left[r] * right[c], of the rows whose bit is set.
  __device__ __forceinline__ void add(const float (&left)[kRows], const float (&right)[kCols],
                                      unsigned rows = (1u << kRows) - 1) {
    internal::add_outer_product(left, right, value, rows);
  }
};

/// to[4 v + x] = from[kStep v + x], v = 0 …
template <int kStep, int kCount>
__device__ __forceinline__ void load_vectors(const float* from, float (&to)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    const float4 four = load4(from + i / 4 * kStep);
    to[i] = four.x;
    to[i + 1] = four.y;
    to[i + 2] = four.z;
    to[i + 3] = four.w;
  }
}

/// A thread's rows of a product whose left operand lies column by column: runs of 4 neighbours, 16 apart.
__device__ constexpr int row_of_run(int r) { return r / 4 * 16 + r % 4; }

/// sum(r, 4 v + x) continues with left[k, row_of_run(r)] * right[k, 32 v + x], k = 0 … depth - 1, kLeft and
/// kRight floats from k to k. Rows whose bit of `rows` is not set stay as they are.
template <int kLeft, int kRight, int kRows, int kCols>
__device__ __forceinline__ void add_products(Chains<kRows, kCols>& sum, const float* left, const float* right,
                                             int depth, unsigned rows = (1u << kRows) - 1) {
  const auto step = [&](int k, unsigned some) {
    float a[kRows], b[kCols];
    load_vectors<16>(left + k * kLeft, a);
    load_vectors<32>(right + k * kRight, b);
    sum.add(a, b, some);
  };
  if (constexpr unsigned kAll = (1u << kRows) - 1; rows == kAll) {
#pragma unroll 8
    for (int k = 0; k < depth; ++k) step(k, kAll);
  } else {
#pragma unroll 1
    for (int k = 0; k < depth; ++k) step(k, rows);
  }
}

/// sum(r, x) continues with left[4 r, k] * right[k, x], k = 0 … depth - 1: the left operand row by row.
template <int kLeft, int kRight, int kRows>
__device__ __forceinline__ void add_products_by_rows(Chains<kRows, 4>& sum, const float* left,
                                                     const float* right, int depth,
                                                     unsigned rows = (1u << kRows) - 1) {
  constexpr unsigned kAll = (1u << kRows) - 1;
  const auto step = [&](const float(&a)[kRows], int k, unsigned some) {
    float b[4];
    load_vectors<32>(right + k * kRight, b);
    sum.add(a, b, some);
  };
  const int whole = rows == kAll ? depth / 4 * 4 : 0;
#pragma unroll 2
  for (int k = 0; k < whole; k += 4) {
    float a[4][kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const float4 four = load4(left + kWarpRows * r * kLeft + k);
      a[0][r] = four.x;
      a[1][r] = four.y;
      a[2][r] = four.z;
      a[3][r] = four.w;
    }
#pragma unroll
    for (int x = 0; x < 4; ++x) step(a[x], k + x, kAll);
  }
#pragma unroll 1
  for (int k = whole; k < depth; ++k) {
    float a[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) a[r] = left[kWarpRows * r * kLeft + k];
    step(a, k, rows);
  }
}

/// add_products over those k of 0 … 63 whose bit of `seen` is set.
template <int kLeft, int kRight, int kRows, int kCols>
__device__ __forceinline__ void add_seen_products(Chains<kRows, kCols>& sum, const float* left,
                                                  const float* right, std::uint64_t seen) {
  for (std::uint64_t rest = seen; rest != 0;) {
    const int begin = __ffsll(static_cast<long long>(rest)) - 1;
    const std::uint64_t unseen = ~(rest >> begin << begin | ((std::uint64_t{1} << begin) - 1));
    const int end = unseen == 0 ? kTile : __ffsll(static_cast<long long>(unseen)) - 1;
    add_products<kLeft, kRight>(sum, left + begin * kLeft, right + begin * kRight, end - begin);
    rest = end == kTile ? 0 : rest >> end << end;
  }
}

// ---- Samples

/// What the host could not check.
__device__ inline bool is_sound(const Problem& p, std::int64_t b) {
  const AttentionSequences& of = p.options.sequences;
  const auto within = [b](const std::int64_t* values, std::int64_t most) {
    return values == nullptr || (values[b] >= 0 && values[b] <= most);
  };
  return within(of.query_lengths, p.extents.queries) && within(of.key_lengths, p.extents.keys) &&
         within(of.query_starts, INT64_MAX) && within(of.key_starts, INT64_MAX);
}

/// A sample whose lengths or starts are impossible has no tokens.
__device__ inline Sequence sequence_of(const Problem& p, std::int64_t b, std::int64_t h) {
  Sequence s = p.sequence(b, h);
  if (!is_sound(p, b)) s.queries = s.keys = 0;
  return s;
}

/// What lies behind a sample's tokens, in tensors of which it has a part of its own.
__device__ inline float behind(const Problem& p, std::int64_t b) {
  return is_sound(p, b) ? 0.0f : math::internal::quiet_nan<float>();
}

template <class T>
__device__ T clamped(T value, T least, T most) {
  return value < least ? least : value > most ? most : value;
}
/// How many of `most` places from `first` on lie before `end`.
__device__ inline int count_before(std::int64_t first, std::int64_t end, int most) {
  return static_cast<int>(clamped<std::int64_t>(end - first, 0, most));
}

/// A tile of products: queries from first_query on, `queries` of them real, and 64 keys from first_key on.
struct Products {
  std::int64_t first_query, first_key;
  int queries;
};

/// chain becomes s: scaled, masked, -inf where the query does not see the key. chain(r, c) is the product of
/// query row(r) of the tile and key col + 8 c. Rows behind the queries are of no meaning.
template <int kRows, int kCols, class Row>
__device__ void finish_products(Chains<kRows, kCols>& chain, const Sequence& of, const Products& tile,
                                float scale, Row row, int col) {
#pragma unroll
  for (int r = 0; r < kRows; ++r)
#pragma unroll
    for (int c = 0; c < kCols; ++c) chain(r, c) = scale * chain(r, c);
  const bool all_seen = !of.mask.is_set() && tile.first_key + kTile <= of.keys &&
                        (!of.is_causal || tile.first_key + kTile - 1 <= tile.first_query + of.causal_offset);
  if (all_seen) return;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const std::int64_t i = tile.first_query + row(r);
    const std::int64_t end = of.visible_keys(i + 1);
    const bool is_masked = of.mask.is_set() && row(r) < tile.queries;
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
      const std::int64_t j = tile.first_key + col + kWarpCols * c;
      float& s = chain(r, c);
      if (j < end && is_masked) {
        const std::int64_t at = i * of.mask.query_stride + j * of.mask.key_stride;
        if (of.mask.add != nullptr) s = of.mask.add[at] == nothing() ? nothing() : s + of.mask.add[at];
        if (of.mask.keep != nullptr && !of.mask.keep[at]) s = nothing();
      }
      if (j >= end) s = nothing();
    }
  }
}

// ---- Launching

/// Whether every token of the tensor starts on 16 bytes.
template <class Tensor>
bool is_aligned(const Tensor& of) {
  return reinterpret_cast<std::uintptr_t>(of.data) % 16 == 0 &&
         (of.sample_stride | of.head_stride | of.token_stride) % 4 == 0;
}

struct DeviceLimits {
  int multiprocessors = 0, block_bytes = 0;

  template <class Form>
  bool holds() const {
    return sizeof(typename Form::Memory) <= static_cast<std::size_t>(block_bytes);
  }
};

inline DeviceLimits device_limits(const char* where) {
  return {device_attribute(cudaDevAttrMultiProcessorCount, where),
          device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, where)};
}

/// Starts a kernel of `units` blocks, or fewer that take several units each, with a form's shared memory.
template <class Form, class... Parameters, class... Arguments>
void launch_with_memory(const char* name, void (*kernel)(Parameters...), std::int64_t units, cudaStream_t on,
                        const Arguments&... arguments) {
  constexpr std::int64_t kMostBlocks = 1 << 30;
  constexpr int kBytes = static_cast<int>(sizeof(typename Form::Memory));
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes), name);
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                  cudaSharedmemCarveoutMaxShared),
             name);
  kernel<<<static_cast<unsigned>(std::min(units, kMostBlocks)), Form::kThreads, kBytes, on>>>(arguments...);
  check_launch(name);
}

}  // namespace lockstep::attention_internal
