// The vector forms, compiled once for each instruction set.

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/conv/chain_cpu.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <hwy/highway.h>

#include "lockstep/conv/chain_internal.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::conv_internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace vectors = simd::HWY_NAMESPACE;

using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;

#if HWY_TARGET == HWY_SCALAR
constexpr int kLanes = 1, kTileVectors = 16, kDotForm = 2, kDotRows = 4;
#elif HWY_TARGET <= HWY_AVX3
constexpr int kLanes = 16, kTileVectors = 28, kDotForm = 2, kDotRows = 7;
#elif HWY_TARGET <= HWY_AVX2
constexpr int kLanes = 8, kTileVectors = 12, kDotForm = 1, kDotRows = 6;
#else
constexpr int kLanes = 4, kTileVectors = 24, kDotForm = 2, kDotRows = 6;
#endif

template <int kRows, int kVectors>
constexpr bool fits() {
  return kRows * kVectors <= kTileVectors;
}

// ---- The dot: weights by pixels

// Order: each element of the tile is one chain, taps ascending.
template <int kRows, int kVectors>
void dot_tile(std::int64_t taps,                         //
              const float* HWY_RESTRICT weight,          // [taps, kRows]
              const float* HWY_RESTRICT image,           //
              const std::int64_t* HWY_RESTRICT offsets,  // [taps]
              float* HWY_RESTRICT tile) {                // [kRows, kVectors * kLanes]
  const D d;
  V chain[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) chain[i][v] = hn::Zero(d);
  for (std::int64_t t = 0; t < taps; ++t) {
    const float* const from = image + offsets[t];
    V pixels[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) pixels[v] = hn::LoadU(d, from + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const V factor = hn::Set(d, weight[i]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) chain[i][v] = vectors::fma(factor, pixels[v], chain[i][v]);
    }
    weight += kRows;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) hn::StoreU(chain[i][v], d, tile + (i * kVectors + v) * kLanes);
}

void masked_dot(const MaskedTaps& taps, std::int64_t width, float* tile) {
  const D d;
  for (std::int64_t j = 0; j < width; j += kLanes) {
    V chain = hn::Zero(d);
    for (std::int64_t t = 0; t < taps.taps; ++t) {
      const auto is_term = hn::Ne(hn::LoadU(d, taps.inside + taps.inside_offsets[t] + j), hn::Zero(d));
      const V pixels = hn::LoadU(d, taps.image + taps.offsets[t] + j);
      const V next = vectors::fma(hn::Set(d, taps.weight[t * taps.weight_step]), pixels, chain);
      chain = hn::IfThenElse(is_term, next, chain);
    }
    hn::StoreU(chain, d, tile + j);
  }
}

struct WholeVector {
  HWY_INLINE V load(const float* p) const { return hn::LoadU(D(), p); }
  HWY_INLINE void store(V v, float* p) const { hn::StoreU(v, D(), p); }
};

struct RestOfRow {
  std::size_t count;
  HWY_INLINE V load(const float* p) const { return vectors::load_first(D(), p, count); }
  HWY_INLINE void store(V v, float* p) const { vectors::store_first(v, D(), p, count); }
};

/// kHasBias, kContinues: so that no vector asks.
template <bool kContinues, bool kHasBias, class Place>
HWY_INLINE void finish_vector(const float* chains, V bias, float* out, Place place) {
  const D d;
  V x = hn::Add(kContinues ? place.load(out) : hn::Zero(d), place.load(chains));
  if constexpr (kHasBias) x = hn::Add(x, bias);
  place.store(x, out);
}

template <bool kContinues, bool kHasBias>
void finish_row(const float* chains, std::int64_t cols, float bias, float* out) {
  const V added = hn::Set(D(), bias);
  std::int64_t j = 0;
  for (; j + kLanes <= cols; j += kLanes)
    finish_vector<kContinues, kHasBias>(chains + j, added, out + j, WholeVector());
  if (j < cols)
    finish_vector<kContinues, kHasBias>(chains + j, added, out + j,
                                        RestOfRow{static_cast<std::size_t>(cols - j)});
}

void finish_apart(const float* chains, std::int64_t cols, const float* bias, bool continues,
                  std::int64_t col_step, float* out) {
  for (std::int64_t j = 0; j < cols; ++j, out += col_step) {
    const float x = (continues ? *out : 0.0f) + chains[j];
    *out = bias == nullptr ? x : x + *bias;
  }
}

void finish_dots(const float* tile, std::int64_t width, std::int64_t rows, std::int64_t cols,
                 const DotEnd& end) {
  for (std::int64_t i = 0; i < rows; ++i) {
    const float* const chains = tile + i * width;
    const float* const bias = end.bias == nullptr ? nullptr : end.bias + i;
    float* const out = end.out + i * end.row_step;
    if (end.col_step != 1)
      finish_apart(chains, cols, bias, end.continues, end.col_step, out);
    else if (bias == nullptr)
      end.continues ? finish_row<true, false>(chains, cols, 0, out)
                    : finish_row<false, false>(chains, cols, 0, out);
    else
      end.continues ? finish_row<true, true>(chains, cols, *bias, out)
                    : finish_row<false, true>(chains, cols, *bias, out);
  }
}

// ---- The fold: taps by filters

#if HWY_TARGET == HWY_SCALAR

std::int64_t lay_quads(const float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, float*) {
  return 0;
}

#else

/// Four filters at a time, four pixels at a time: the number of pixels that were laid.
std::int64_t lay_quads(const float* from, std::int64_t filter_step, std::int64_t filters, std::int64_t pixels,
                       std::int64_t width, float* to) {
  const hn::CappedTag<float, 4> d;
  const hn::Repartition<double, decltype(d)> pairs;
  const std::int64_t whole = pixels / 4 * 4;
  for (std::int64_t f = 0; f + 4 <= filters; f += 4) {
    const float* const filter = from + f * filter_step;
    for (std::int64_t p = 0; p < whole; p += 4) {
      const auto v0 = hn::LoadU(d, filter + p), v1 = hn::LoadU(d, filter + filter_step + p);
      const auto v2 = hn::LoadU(d, filter + 2 * filter_step + p),
                 v3 = hn::LoadU(d, filter + 3 * filter_step + p);
      const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, v0, v1));
      const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, v2, v3));
      const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, v0, v1));
      const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, v2, v3));
      float* const out = to + p * width + f;
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), d, out);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), d, out + width);
      hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), d, out + 2 * width);
      hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), d, out + 3 * width);
    }
  }
  return whole;
}

#endif

void lay_beside(const float* from, std::int64_t filter_step, std::int64_t filters, std::int64_t pixels,
                std::int64_t width, float* to) {
  const std::int64_t quads = filters / 4 * 4, laid = lay_quads(from, filter_step, filters, pixels, width, to);
  for (std::int64_t p = 0; p < pixels; ++p) {
    for (std::int64_t f = p < laid ? quads : 0; f < filters; ++f)
      to[p * width + f] = from[f * filter_step + p];
    std::fill(to + p * width + filters, to + (p + 1) * width, 0.0f);
  }
}

// Order: each element of the tile is one chain, pixels ascending.
template <int kRows, int kVectors>
void fold_tile(const Pixels& pixels, const float* const* taps,      // [kRows]
               float* HWY_RESTRICT tile, std::int64_t tile_step) {  // [kRows, kVectors * kLanes]
  const D d;
  V chain[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) chain[i][v] = hn::LoadU(d, tile + i * tile_step + v * kLanes);
  const float* from[kRows];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) from[i] = taps[i];
  const float* HWY_RESTRICT gradient = pixels.gradient;
  for (std::int64_t row = 0; row < pixels.rows; ++row) {
    const std::int64_t begin = row * pixels.image_row_step, end = begin + pixels.cols;
    for (std::int64_t at = begin; at < end; ++at) {
      V filters[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) filters[v] = hn::LoadU(d, gradient + v * kLanes);
      gradient += kVectors * kLanes;
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i) {
        const V value = hn::Set(d, from[i][at]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) chain[i][v] = vectors::fma(filters[v], value, chain[i][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) hn::StoreU(chain[i][v], d, tile + i * tile_step + v * kLanes);
}

void masked_fold(const Pixels& pixels, const float* tap, const float* inside, std::int64_t gradient_step,
                 float* tile) {
  const D d;
  V chain = hn::LoadU(d, tile);
  const float* gradient = pixels.gradient;
  for (std::int64_t row = 0; row < pixels.rows; ++row) {
    for (std::int64_t col = 0; col < pixels.cols; ++col, gradient += gradient_step) {
      const std::int64_t at = row * pixels.image_row_step + col;
      if (inside[at] != 0) chain = vectors::fma(hn::LoadU(d, gradient), hn::Set(d, tap[at]), chain);
    }
  }
  hn::StoreU(chain, d, tile);
}

// ---- The fold of groups side by side

// Order: each element of the tile is one chain, pixels ascending.
template <int kRows>
void fold_beside(const Pixels& pixels, const float* const* taps,  // [kRows], lanes of groups
                 float* HWY_RESTRICT tile) {                      // [kRows, kLanes]
  const D d;
  V chain[kRows];
  const float* from[kRows];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) {
    chain[i] = hn::LoadU(d, tile + i * kLanes);
    from[i] = taps[i];
  }
  const float* HWY_RESTRICT gradient = pixels.gradient;
  for (std::int64_t row = 0; row < pixels.rows; ++row) {
    const std::int64_t begin = row * pixels.image_row_step;
    for (std::int64_t at = begin; at < begin + pixels.cols; ++at, gradient += kLanes) {
      const V groups = hn::LoadU(d, gradient);
#pragma GCC unroll 16
      for (int i = 0; i < kRows; ++i)
        chain[i] = vectors::fma(groups, hn::LoadU(d, from[i] + at * kLanes), chain[i]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) hn::StoreU(chain[i], d, tile + i * kLanes);
}

void masked_beside(const Pixels& pixels, const float* tap, const float* inside, float* tile) {
  const D d;
  V chain = hn::LoadU(d, tile);
  const float* gradient = pixels.gradient;
  for (std::int64_t row = 0; row < pixels.rows; ++row) {
    const std::int64_t begin = row * pixels.image_row_step;
    for (std::int64_t at = begin; at < begin + pixels.cols; ++at, gradient += kLanes)
      if (inside[at] != 0)
        chain = vectors::fma(hn::LoadU(d, gradient), hn::LoadU(d, tap + at * kLanes), chain);
  }
  hn::StoreU(chain, d, tile);
}

// ---- What there is

template <int kRows, int kForm>
void set_form(Forms& forms) {
  if constexpr (fits<kRows, 1 << kForm>()) {
    forms.dot[kRows - 1][kForm] = dot_tile<kRows, 1 << kForm>;
    forms.fold[kRows - 1][kForm] = fold_tile<kRows, 1 << kForm>;
    forms.fold_rows[kForm] = std::max(forms.fold_rows[kForm], kRows);
    if constexpr (kForm == 0) forms.beside[kRows - 1] = fold_beside<kRows>;
  }
}

template <int... kRowsMinusOne>
void set_forms(Forms& forms, std::integer_sequence<int, kRowsMinusOne...>) {
  ((set_form<kRowsMinusOne + 1, 0>(forms), set_form<kRowsMinusOne + 1, 1>(forms),
    set_form<kRowsMinusOne + 1, 2>(forms)),
   ...);
}

Forms make_forms() {
  Forms forms;
  forms.lanes = kLanes;
  forms.dot_form = kDotForm;
  forms.dot_rows = kDotRows;
  set_forms(forms, std::make_integer_sequence<int, kMostRows>());
  forms.finish_dots = finish_dots;
  forms.lay_beside = lay_beside;
  forms.masked_dot = masked_dot;
  forms.masked_fold = masked_fold;
  forms.masked_beside = masked_beside;
  return forms;
}

const Forms& forms_of_target() {
  static const Forms made = make_forms();
  return made;
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::conv_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::conv_internal {

HWY_EXPORT(forms_of_target);

const Forms& forms() { return LOCKSTEP_SIMD_CALL(forms_of_target)(); }

}  // namespace lockstep::conv_internal

#endif  // HWY_ONCE
