// The vector forms, compiled once for each instruction set.

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/matmul/tile_cpu.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "lockstep/matmul/tile_internal.h"
#include "lockstep/simd/transpose_internal.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::matmul_internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace vectors = simd::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

#if HWY_TARGET == HWY_SCALAR
constexpr int kLanes = 1, kTileRows = 4, kPanelRows = 4, kTallRows = 4, kTileVectors = 16;
#elif HWY_TARGET <= HWY_AVX3
constexpr int kLanes = 16, kTileRows = 6, kPanelRows = 12, kTallRows = 14, kTileVectors = 28;
#elif HWY_TARGET <= HWY_AVX2
constexpr int kLanes = 8, kTileRows = 6, kPanelRows = 6, kTallRows = 6, kTileVectors = 12;
#else
constexpr int kLanes = 4, kTileRows = 6, kPanelRows = 6, kTallRows = 12, kTileVectors = 24;
#endif

constexpr int kRegisters = kLanes == 8 ? 16 : 32;  // which decide whether two depths make one turn of a loop

// ---- Chains

constexpr std::int64_t kFloatsPerLine = 16;

/// The place itself, but the compiler does not see how it came about: what is read there is neither read
/// earlier, for which there are no registers, nor addressed by sums that take several more.
HWY_INLINE const float* place_of(const float* p) {
  __asm__ volatile("" : "+r"(p) : : "memory");
  return p;
}

/// One depth of all chains.
template <int kRows, int kVectors>
HWY_INLINE void continue_tile(const float* HWY_RESTRICT left, const float* HWY_RESTRICT right,
                              V (&chain)[kRows][kVectors]) {
  const D d;
  V row[kVectors];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) row[v] = hn::LoadU(d, right + v * kLanes);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    const V column = hn::Set(d, left[i]);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) chain[i][v] = vectors::fma(column, row[v], chain[i][v]);
  }
}

// Order: each element of the tile is one chain, k ascending.
template <int kRows, int kVectors>
void chain_tile(std::int64_t depth,                        //
                const float* HWY_RESTRICT left,            // [depth, kRows], left_step apart
                std::int64_t left_step,                    //
                const float* HWY_RESTRICT right,           // [depth, kVectors * kLanes], right_step apart
                std::int64_t right_step,                   //
                float* HWY_RESTRICT tile, bool continues,  // [kRows, kVectors * kLanes]
                Ahead ahead) {                             //
  const D d;
  constexpr bool kInPairs = kRows * kVectors + kVectors + 1 <= kRegisters;
  V chain[kRows][kVectors];
  if (continues) {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) chain[i][v] = hn::LoadU(d, tile + (i * kVectors + v) * kLanes);
  } else {
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) chain[i][v] = hn::Zero(d);
  }
  // A place that is in the cache stands for nothing.
  const float* next = ahead.begin == nullptr ? tile : ahead.begin;
  for (std::int64_t k = 0; k < depth;) {
    __builtin_prefetch(next, 0, 2);
    __builtin_prefetch(next + kFloatsPerLine, 0, 2);
    next += ahead.step;
    const std::int64_t end = std::min(k + kDepthPerPrefetch, depth);
    while (k < end) {
      continue_tile<kRows, kVectors>(left, right, chain);
      left += left_step;
      right += right_step;
      if (++k == end || !kInPairs) continue;
      left = place_of(left);
      right = place_of(right);
      continue_tile<kRows, kVectors>(left, right, chain);
      left += left_step;
      right += right_step;
      ++k;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) hn::StoreU(chain[i][v], d, tile + (i * kVectors + v) * kLanes);
}

template <int kRows, int kVectors>
constexpr ChainTile chain_form() {
  if constexpr (kRows <= kTallRows && kRows * kVectors <= kTileVectors) {
    return chain_tile<kRows, kVectors>;
  } else {
    return nullptr;
  }
}

template <int... kRowsMinusOne>
void set_chains(Forms& forms, std::integer_sequence<int, kRowsMinusOne...>) {
  ((forms.chain[kRowsMinusOne][0] = chain_form<kRowsMinusOne + 1, 1>(),
    forms.chain[kRowsMinusOne][1] = chain_form<kRowsMinusOne + 1, 2>(),
    forms.chain[kRowsMinusOne][2] = chain_form<kRowsMinusOne + 1, 4>(),
    forms.chain[kRowsMinusOne][3] = chain_form<kRowsMinusOne + 1, 8>()),
   ...);
}

// ---- Chains of few rows, for which packing would cost more than the chains

#if HWY_TARGET != HWY_SCALAR

/// blocks[q][g] takes depths 4 * q … 4 * q + 3 of the places g, g + 4, …. A part of a vector that comes from
/// memory is blended in, which more of the processor's ports can do than can shuffle.
HWY_INLINE void load_blocks(const float* from, std::int64_t place_stride, V (&blocks)[kLanes / 4][4]) {
  const D d;
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
#if HWY_TARGET <= HWY_AVX3
    V half[2][2];  // depths k … or k + 8 …, of the places g and g + 4 or of g + 8 and g + 12
#pragma GCC unroll 2
    for (int p = 0; p < 2; ++p) {
      const float *const low = from + (g + 8 * p) * place_stride, *const high = low + 4 * place_stride;
      half[0][p] = V{_mm512_mask_broadcast_f32x8(hn::LoadU(d, low).raw, 0xFF00, _mm256_loadu_ps(high))};
      half[1][p] = V{_mm512_mask_broadcast_f32x8(hn::LoadU(d, high).raw, 0x00FF, _mm256_loadu_ps(low + 8))};
    }
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      blocks[2 * h][g] = V{_mm512_shuffle_f32x4(half[h][0].raw, half[h][1].raw, 0x88)};
      blocks[2 * h + 1][g] = V{_mm512_shuffle_f32x4(half[h][0].raw, half[h][1].raw, 0xDD)};
    }
#elif HWY_TARGET <= HWY_AVX2
    const V low = hn::LoadU(d, from + g * place_stride), high = hn::LoadU(d, from + (g + 4) * place_stride);
    blocks[0][g] = hn::ConcatLowerLower(d, high, low);
    blocks[1][g] = hn::ConcatUpperUpper(d, high, low);
#else
    blocks[0][g] = hn::LoadU(d, from + g * place_stride);
#endif
  }
}

/// v[k] takes depth k of a vector of places, whose depths are neighbours in memory.
HWY_INLINE void load_transposed(const float* from, std::int64_t place_stride, V (&v)[kLanes]) {
  const D d;
  const hn::Repartition<double, D> pairs;
  V blocks[kLanes / 4][4];
  load_blocks(from, place_stride, blocks);
#pragma GCC unroll 4
  for (int q = 0; q < kLanes / 4; ++q) {
    const V(&b)[4] = blocks[q];
    const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, b[0], b[1]));
    const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, b[2], b[3]));
    const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, b[0], b[1]));
    const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, b[2], b[3]));
    v[4 * q] = hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23));
    v[4 * q + 1] = hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23));
    v[4 * q + 2] = hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23));
    v[4 * q + 3] = hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23));
  }
}

/// The chains continue with the first `count` of a vector of depths.
template <int kRows>
HWY_INLINE void continue_few(const float* from, std::int64_t place_stride, std::int64_t count,
                             const float* HWY_RESTRICT left, V (&chain)[kRows]) {
  const D d;
  V depths[kLanes];
  load_transposed(from, place_stride, depths);
#pragma GCC unroll 16
  for (int k = 0; k < kLanes; ++k) {
    if (k >= count) break;
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i)
      chain[i] = vectors::fma(hn::Set(d, left[k * kRows + i]), depths[k], chain[i]);
  }
}

/// Order: each element of the tile is one chain, k ascending.
template <int kRows>
void chain_few(std::int64_t depth, const float* HWY_RESTRICT left,  // [depth, kRows]
               const float* right, std::int64_t place_stride,       // [places, depth], place_stride apart
               std::int64_t places, float* HWY_RESTRICT tile,       // [kRows, kLanes]
               bool continues) {
  const D d;
  V chain[kRows];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) chain[i] = continues ? hn::LoadU(d, tile + i * kLanes) : hn::Zero(d);
  const std::int64_t whole = places == kLanes ? depth / kLanes * kLanes : 0;
  for (std::int64_t k = 0; k < whole; k += kLanes)
    continue_few<kRows>(right + k, place_stride, kLanes, left + k * kRows, chain);
  HWY_ALIGN float some[kLanes * kLanes] = {};
  for (std::int64_t k = whole; k < depth; k += kLanes) {
    const std::int64_t count = std::min<std::int64_t>(kLanes, depth - k);
    for (std::int64_t j = 0; j < places; ++j)
      std::copy_n(right + j * place_stride + k, count, some + j * kLanes);
    continue_few<kRows>(some, kLanes, count, left + k * kRows, chain);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) hn::StoreU(chain[i], d, tile + i * kLanes);
}

template <int... kRowsMinusOne>
void set_few(Forms& forms, std::integer_sequence<int, kRowsMinusOne...>) {
  ((forms.chain_few[kRowsMinusOne] = chain_few<kRowsMinusOne + 1>), ...);
}

#endif

// ---- Packing

void pack_elements(const float* source, std::int64_t place_stride, std::int64_t depth_stride,
                   std::int64_t places, std::int64_t width, std::int64_t depth, float* target) {
  for (std::int64_t k = 0; k < depth; ++k)
    for (std::int64_t j = 0; j < places; ++j)
      target[k * width + j] = source[j * place_stride + k * depth_stride];
}

/// Places are neighbours in memory.
void pack_rows(const float* source, std::int64_t depth_stride, std::int64_t places, std::int64_t width,
               std::int64_t depth, float* target, std::int64_t ahead) {
  const D d;
  const std::int64_t whole = places / kLanes * kLanes;
  const auto rest = static_cast<std::size_t>(places - whole);
  for (std::int64_t k = 0; k < depth; ++k) {
    for (std::int64_t j = 0; j < places; j += kFloatsPerLine) __builtin_prefetch(source + j + ahead, 0, 2);
    for (std::int64_t j = 0; j < whole; j += kLanes) hn::StoreU(hn::LoadU(d, source + j), d, target + j);
    if (rest != 0)
      vectors::store_first(vectors::load_first(d, source + whole, rest), d, target + whole, rest);
    source += depth_stride;
    target += width;
  }
}

#if HWY_TARGET == HWY_SCALAR

void pack_columns(const float* source, std::int64_t place_stride, std::int64_t places, std::int64_t width,
                  std::int64_t depth, float* target, std::int64_t /*ahead*/) {
  pack_elements(source, place_stride, 1, places, width, depth, target);
}

#else

constexpr std::int64_t kStaged = 16;  // depths, a cache line of each place

/// kLanes places.
HWY_INLINE void pack_whole(const float* source, std::int64_t place_stride, std::int64_t width,
                           std::int64_t depth, float* target, std::int64_t ahead) {
  const D d;
  for (std::int64_t k = 0; k < depth; k += kLanes) {
    V depths[kLanes];
    for (std::int64_t j = 0; j < kLanes && k % kFloatsPerLine == 0; ++j)
      __builtin_prefetch(source + j * place_stride + k + ahead, 0, 2);
    load_transposed(source + k, place_stride, depths);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) hn::StoreU(depths[i], d, target + (k + i) * width);
  }
}

/// At most kLanes places. They are often a power of two apart, so that the lines of all of them want the same
/// few places in the first cache: each line is read once, whole, and then transposed from a copy.
HWY_INLINE void pack_staged(const float* source, std::int64_t place_stride, std::int64_t places,
                            std::int64_t width, std::int64_t depth, float* target, std::int64_t ahead) {
  const D d;
  HWY_ALIGN float staged[kLanes * kStaged] = {};
  for (std::int64_t k = 0; k < depth; k += kStaged) {
    for (std::int64_t j = 0; j < places; ++j) {
      const float* const line = source + j * place_stride + k;
      __builtin_prefetch(line + ahead, 0, 2);
      for (std::int64_t i = 0; i < kStaged; i += kLanes)
        hn::Store(hn::LoadU(d, line + i), d, staged + j * kStaged + i);
    }
    for (std::int64_t i = 0; i < kStaged; i += 4)
      vectors::transpose_four(staged + i, kStaged, target + (k + i) * width, width);
  }
}

/// Depths are neighbours in memory.
void pack_columns(const float* source, std::int64_t place_stride, std::int64_t places, std::int64_t width,
                  std::int64_t depth, float* target, std::int64_t ahead) {
  for (std::int64_t place = 0; place < places; place += kLanes) {
    const float* const from = source + place * place_stride;
    const std::int64_t here = std::min<std::int64_t>(kLanes, places - place);
    // A vector that is wider than what is left spills into the next depth, which is written after it; but not
    // so where places before it have been.
    const bool spills_harmlessly = place == 0 || place + kLanes <= width;
    const std::int64_t staged = spills_harmlessly ? depth / kStaged * kStaged : 0;
    if (here == kLanes)
      pack_whole(from, place_stride, width, staged, target + place, ahead);
    else
      pack_staged(from, place_stride, here, width, staged, target + place, ahead);
    pack_elements(from + staged, place_stride, 1, here, width, depth - staged,
                  target + staged * width + place);
  }
}

#endif

void pack(const float* source, std::int64_t place_stride, std::int64_t depth_stride, std::int64_t places,
          std::int64_t width, std::int64_t depth, float* target, std::int64_t ahead) {
  // What memory happens to hold may be subnormal, which a multiplication takes its time for.
  for (std::int64_t k = 0; places < width && k < depth; ++k)
    std::fill(target + k * width + places, target + (k + 1) * width, 0.0f);
  if (place_stride == 1) return pack_rows(source, depth_stride, places, width, depth, target, ahead);
  if (depth_stride == 1) return pack_columns(source, place_stride, places, width, depth, target, ahead);
  pack_elements(source, place_stride, depth_stride, places, width, depth, target);
}

// ---- The end of a chain

HWY_INLINE float end_element(float chain, std::int64_t i, std::int64_t j, const TileEnd& end,
                             const float* out) {
  if (end.stays_open) return chain;
  float x = (end.sum == nullptr ? 0.0f : end.sum[i * end.sum_row_stride + j * end.sum_col_stride]) + chain;
  if (!end.has_epilogue) return x;
  if (end.alpha != 1) x = end.alpha * x;
  if (end.beta != 0) x = std::fma(end.beta, *out, x);
  if (end.bias != nullptr) x = x + end.bias[i * end.bias_row_stride + j * end.bias_col_stride];
  return x;
}

void finish_elements(const float* tile, std::int64_t width, std::int64_t rows, std::int64_t cols,
                     const TileEnd& end) {
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < cols; ++j) {
      float* const out = end.out + i * end.row_stride + j * end.col_stride;
      *out = end_element(tile[i * width + j], i, j, end, out);
    }
  }
}

struct WholeVector {
  HWY_INLINE V load(const float* p) const { return hn::LoadU(D(), p); }
  HWY_INLINE void store(V v, float* p) const { hn::StoreU(v, D(), p); }
};

struct StreamedVector : WholeVector {
  HWY_INLINE void store(V v, float* p) const { hn::Stream(v, D(), p); }
};

struct RestOfRow {
  std::size_t count;
  HWY_INLINE V load(const float* p) const { return vectors::load_first(D(), p, count); }
  HWY_INLINE void store(V v, float* p) const { vectors::store_first(v, D(), p, count); }
};

/// What happens to the chains of a whole tile, so that no vector asks for it.
enum class Ending { stays_open, starts_sum, continues_sum, has_epilogue };

Ending ending_of(const TileEnd& end) {
  if (end.stays_open) return Ending::stays_open;
  if (end.has_epilogue && (end.alpha != 1 || end.beta != 0 || end.bias != nullptr))
    return Ending::has_epilogue;
  return end.sum == nullptr ? Ending::starts_sum : Ending::continues_sum;
}

/// end_element for the columns j … of row i; columns of everything are neighbours in memory.
template <Ending ending, class Place>
HWY_INLINE void end_vector(const float* chains, std::int64_t i, std::int64_t j, const TileEnd& end,
                           Place place) {
  const D d;
  V x = place.load(chains);
  float* const out = end.out + i * end.row_stride + j;
  if constexpr (ending != Ending::stays_open) {
    const bool starts =
        ending == Ending::starts_sum || (ending == Ending::has_epilogue && end.sum == nullptr);
    x = hn::Add(starts ? hn::Zero(d) : place.load(end.sum + i * end.sum_row_stride + j), x);
  }
  if constexpr (ending == Ending::has_epilogue) {
    if (end.alpha != 1) x = hn::Mul(hn::Set(d, end.alpha), x);
    if (end.beta != 0) x = vectors::fma(hn::Set(d, end.beta), place.load(out), x);
    if (end.bias != nullptr) {
      const float* const bias = end.bias + i * end.bias_row_stride;
      x = hn::Add(x, end.bias_col_stride == 1 ? place.load(bias + j) : hn::Set(d, *bias));
    }
  }
  place.store(x, out);
}

template <Ending ending, class Whole>
void finish_vectors(const float* tile, std::int64_t width, std::int64_t rows, std::int64_t cols,
                    TileEnd end) {
  for (std::int64_t i = 0; i < rows; ++i) {
    std::int64_t j = 0;
    for (; j + kLanes <= cols; j += kLanes) end_vector<ending>(tile + i * width + j, i, j, end, Whole());
    if (j < cols)
      end_vector<ending>(tile + i * width + j, i, j, end, RestOfRow{static_cast<std::size_t>(cols - j)});
  }
}

bool streams(const TileEnd& end) {
  constexpr std::uintptr_t kLine = 64;
  return end.streams && reinterpret_cast<std::uintptr_t>(end.out) % kLine == 0 &&
         end.row_stride % kFloatsPerLine == 0;
}

void finish(const float* tile, std::int64_t width, std::int64_t rows, std::int64_t cols, const TileEnd& end) {
  if (end.col_stride != 1 || (end.sum != nullptr && end.sum_col_stride != 1))
    return finish_elements(tile, width, rows, cols, end);
  switch (ending_of(end)) {
    case Ending::stays_open:
      return finish_vectors<Ending::stays_open, WholeVector>(tile, width, rows, cols, end);
    case Ending::starts_sum:
      if (streams(end))
        return finish_vectors<Ending::starts_sum, StreamedVector>(tile, width, rows, cols, end);
      return finish_vectors<Ending::starts_sum, WholeVector>(tile, width, rows, cols, end);
    case Ending::continues_sum:
      return finish_vectors<Ending::continues_sum, WholeVector>(tile, width, rows, cols, end);
    case Ending::has_epilogue:
      if (streams(end))
        return finish_vectors<Ending::has_epilogue, StreamedVector>(tile, width, rows, cols, end);
      return finish_vectors<Ending::has_epilogue, WholeVector>(tile, width, rows, cols, end);
  }
}

Forms make_forms() {
  Forms forms;
  forms.lanes = kLanes;
  forms.tile_rows = kTileRows;
  forms.panel_rows = kPanelRows;
  forms.tall_rows = kTallRows;
  set_chains(forms, std::make_integer_sequence<int, kMostRows>());
#if HWY_TARGET != HWY_SCALAR
  set_few(forms, std::make_integer_sequence<int, kFewRows>());
#endif
  forms.pack = pack;
  forms.finish = finish;
  return forms;
}

const Forms& forms_of_target() {
  static const Forms made = make_forms();
  return made;
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::matmul_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::matmul_internal {

HWY_EXPORT(forms_of_target);

const Forms& forms() { return LOCKSTEP_SIMD_CALL(forms_of_target)(); }

}  // namespace lockstep::matmul_internal

#endif  // HWY_ONCE
