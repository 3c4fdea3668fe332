// What forward and backward share in vectors: chains over a tile of a result that lies in registers, rows of
// operands where the chains can read them, masks. Included once for each target, after <hwy/highway.h>.

#if defined(LOCKSTEP_ATTENTION_TILE_INTERNAL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_ATTENTION_TILE_INTERNAL_H
#undef LOCKSTEP_ATTENTION_TILE_INTERNAL_H
#else
#define LOCKSTEP_ATTENTION_TILE_INTERNAL_H
#endif

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include <hwy/highway.h>

#include "lockstep/attention/attention_internal.h"
#include "lockstep/base/scratch_internal.h"
#include "lockstep/math/vector_math_internal.h"
#include "lockstep/simd/lanes_internal.h"
#include "lockstep/simd/transpose_internal.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::attention_internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace vectors = simd::HWY_NAMESPACE;
namespace vector_math = math::HWY_NAMESPACE;

using D = vectors::LaneTag;
using V = vectors::LaneVector;

constexpr int kLanes = vectors::kTransposedLanes;
#if HWY_TARGET == HWY_SCALAR
constexpr int kTileRows = 4, kTileVectors = 4;
#elif HWY_TARGET <= HWY_AVX3
constexpr int kTileRows = 7, kTileVectors = 4;
#elif HWY_TARGET <= HWY_AVX2
constexpr int kTileRows = 6, kTileVectors = 2;
#else
constexpr int kTileRows = 6, kTileVectors = 4;
#endif

/// Rows and columns of a tile of products, and floats between its rows.
constexpr std::int64_t kTile = kTileKeys;

HWY_INLINE std::int64_t whole_vectors(std::int64_t count) { return (count + kLanes - 1) / kLanes * kLanes; }
HWY_INLINE V nothing() { return hn::Set(D(), -HUGE_VALF); }
/// Products of keys that are seen: all but -inf, a NaN too, which Highway's Ne would leave out.
HWY_INLINE hn::Mask<D> sees(V s) { return hn::Not(hn::Eq(s, nothing())); }

// ---- Chains

/// out[i, j] continues as, or is scale times, the chain over k of fma(left[i, k], right[k, j], ·).
struct Chains {
  std::int64_t depth = 0;
  const float* left = nullptr;
  std::int64_t left_stride = 0;
  const float* right = nullptr;  ///< right[k, j] at k * right_stride + j
  std::int64_t right_stride = 0;
  float* out = nullptr;
  std::int64_t out_stride = 0;
  const float* factor = nullptr;  ///< of row i before its chains continue; null: none
  float scale = 1;                ///< of chains that do not continue
};

/// How left[i, k] lies: at i * left_stride + k, or at k * left_stride + i.
enum class Left { rows, depths };
enum class Start { zero, continues };

// Order: each element is one chain, k ascending.
template <Left left, Start start, int kRows, int kVectors>
void chain_tile(const Chains& c) {
  const D d;
  V chain[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    const float* const from = c.out + i * c.out_stride;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      chain[i][v] = start == Start::zero ? hn::Zero(d) : hn::LoadU(d, from + v * kLanes);
  }
  if (start == Start::continues && c.factor != nullptr) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) chain[i][v] = hn::Mul(chain[i][v], hn::Set(d, c.factor[i]));
  }
  const float* row[kRows];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) row[i] = left == Left::rows ? c.left + i * c.left_stride : c.left + i;
  const float* HWY_RESTRICT right = c.right;
  const float* HWY_RESTRICT at_depth = c.left;
  for (std::int64_t k = 0; k < c.depth; ++k) {
    V line[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) line[v] = hn::LoadU(d, right + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const V column = hn::Set(d, left == Left::rows ? row[i][k] : at_depth[i]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) chain[i][v] = vectors::fma(column, line[v], chain[i][v]);
    }
    right += c.right_stride;
    if (left == Left::depths) at_depth += c.left_stride;
  }
  const V scale = hn::Set(d, c.scale);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    float* const to = c.out + i * c.out_stride;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      hn::StoreU(start == Start::zero ? hn::Mul(scale, chain[i][v]) : chain[i][v], d, to + v * kLanes);
  }
}

using ChainForm = void (*)(const Chains&);
using ChainForms = std::array<std::array<ChainForm, kTileVectors>, kTileRows>;

template <Left left, Start start, int kRows, int... kVectorsMinusOne>
constexpr std::array<ChainForm, kTileVectors> forms_of_rows(std::integer_sequence<int, kVectorsMinusOne...>) {
  return {chain_tile<left, start, kRows, kVectorsMinusOne + 1>...};
}
template <Left left, Start start, int... kRowsMinusOne>
constexpr ChainForms chain_forms(std::integer_sequence<int, kRowsMinusOne...>) {
  return {forms_of_rows<left, start, kRowsMinusOne + 1>(std::make_integer_sequence<int, kTileVectors>())...};
}

/// Chains for `rows` rows and `cols` columns, a multiple of kLanes.
template <Left left, Start start>
HWY_INLINE void run_chains(const Chains& c, std::int64_t rows, std::int64_t cols) {
  static constexpr ChainForms kForms = chain_forms<left, start>(std::make_integer_sequence<int, kTileRows>());
  const std::int64_t vectors_across = cols / kLanes,
                     strips = (vectors_across + kTileVectors - 1) / kTileVectors;
  const std::int64_t tiles = (rows + kTileRows - 1) / kTileRows;
  for (std::int64_t strip = 0; strip < strips; ++strip) {
    const std::int64_t from = vectors_across * strip / strips, to = vectors_across * (strip + 1) / strips;
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::int64_t begin = rows * tile / tiles, end = rows * (tile + 1) / tiles;
      Chains part = c;
      part.left += left == Left::rows ? begin * c.left_stride : begin;
      part.right += from * kLanes;
      part.out += begin * c.out_stride + from * kLanes;
      if (part.factor != nullptr) part.factor += begin;
      kForms[static_cast<std::size_t>(end - begin - 1)][static_cast<std::size_t>(to - from - 1)](part);
    }
  }
}

// ---- Operands

/// Tokens of one sample and head: `tokens` rows, `stride` floats apart.
struct TokenRows {
  const float* data = nullptr;
  std::int64_t stride = 0;

  HWY_INLINE const float* at(std::int64_t token) const { return data + token * stride; }
};

/// Rows of whole vectors, +0 behind the features, one after the other: where they lie, or a copy in `memory`.
inline TokenRows resident(const TokenRows& from, std::int64_t tokens, std::int64_t features, float* memory) {
  const std::int64_t padded = whole_vectors(features);
  if (padded == features && from.stride == features) return from;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const float* const source = from.at(t);
    float* const target = memory + t * padded;
    vectors::for_each_vector(
        0, features, [&](auto place) HWY_ATTR { hn::StoreU(place.load(source), D(), target + place.j); });
  }
  return {memory, padded};
}

/// target[f * kTile + t] = rows[t][f], +0 from `tokens` to the next whole vector's end.
inline void transpose_rows(const TokenRows& rows, std::int64_t tokens, std::int64_t features, float* target) {
  for (std::int64_t t = 0; t < tokens; t += kLanes) {
    std::int64_t f = 0;
    if (t + kLanes <= tokens)
      for (; f + 4 <= features; f += 4)
        vectors::transpose_four(rows.at(t) + f, rows.stride, target + f * kTile + t, kTile);
    for (; f < features; ++f)
      for (std::int64_t lane = t; lane < t + kLanes; ++lane)
        target[f * kTile + lane] = lane < tokens ? rows.at(lane)[f] : 0.0f;
  }
}

/// Memory for the life of a call.
class Memory {
 public:
  float* take(std::int64_t floats) { return pieces_.emplace_back().get(floats); }

 private:
  std::vector<internal::Scratch> pieces_;
};

/// Sums of [rows, cols] in chains of kTermsPerChain.
struct Sums {
  float* chain = nullptr;
  float* total = nullptr;  ///< of chains that are closed
  std::int64_t cols = 0;   ///< whole vectors

  HWY_INLINE float* at(std::int64_t row) const { return chain + row * cols; }
  HWY_INLINE float* total_at(std::int64_t row) const { return total + row * cols; }

  void clear(std::int64_t rows) const {
    std::fill(chain, chain + rows * cols, 0.0f);
    std::fill(total, total + rows * cols, 0.0f);
  }
  void close(std::int64_t rows) const {
    for (std::int64_t x = 0; x < rows * cols; x += kLanes) {
      hn::Store(hn::Add(hn::Load(D(), total + x), hn::Load(D(), chain + x)), D(), total + x);
      hn::Store(hn::Zero(D()), D(), chain + x);
    }
  }
  /// total[row] = total[row] * factor[row].
  void scale_totals(std::int64_t begin, std::int64_t end, const float* factor) const {
    for (std::int64_t row = begin; row < end; ++row) {
      const V by = hn::Set(D(), factor[row]);
      for (std::int64_t x = row * cols; x < (row + 1) * cols; x += kLanes)
        hn::Store(hn::Mul(hn::Load(D(), total + x), by), D(), total + x);
    }
  }
};

// ---- Masks

/// bias[j] = what is added to the product of query i with key first + j: -inf where the mask hides it.
inline void mask_row(const MaskRows& mask, std::int64_t i, std::int64_t first, std::int64_t keys,
                     float* bias) {
  const std::int64_t at = i * mask.query_stride + first * mask.key_stride;
  if (mask.add != nullptr) {
    const float* const add = mask.add + at;
    for (std::int64_t j = 0; j < keys; ++j) bias[j] = add[j * mask.key_stride];
  } else {
    std::fill(bias, bias + keys, 0.0f);
  }
  if (mask.keep == nullptr) return;
  const bool* const keep = mask.keep + at;
  for (std::int64_t j = 0; j < keys; ++j) bias[j] = keep[j * mask.key_stride] ? bias[j] : -HUGE_VALF;
}

/// s under a mask. A hidden product is not looked at.
HWY_INLINE V masked(V s, V bias) { return hn::IfThenElse(hn::Eq(bias, nothing()), bias, hn::Add(s, bias)); }

/// Calls use(begin, end) for the runs of set bits 0 … count - 1.
template <class Use>
HWY_INLINE void for_each_run(std::uint64_t bits, std::int64_t count, Use use) {
  for (std::int64_t i = 0; i < count;) {
    const std::int64_t begin = i;
    const bool is_set = (bits >> i & 1) != 0;
    while (i < count && ((bits >> i & 1) != 0) == is_set) ++i;
    if (is_set) use(begin, i);
  }
}

/// x + 0: what an fma of two zeros does to a chain.
inline void add_zero(float* x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) x[i] = x[i] + 0.0f;
}

/// A result's tokens from `begin` to `end`: +0.
inline void clear_tokens(float* first_token, std::int64_t stride, std::int64_t features, std::int64_t begin,
                         std::int64_t end) {
  for (std::int64_t t = begin; t < end; ++t)
    std::fill(first_token + t * stride, first_token + t * stride + features, 0.0f);
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::attention_internal
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_ATTENTION_TILE_INTERNAL_H
