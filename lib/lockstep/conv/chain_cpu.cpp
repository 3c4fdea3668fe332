// The vector forms, compiled once for each instruction set.

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/conv/chain_cpu.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <algorithm>
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

// ---- The fold: taps by filters

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

// ---- What there is

template <int kRows, int kForm>
void set_form(Forms& forms) {
  if constexpr (fits<kRows, 1 << kForm>()) {
    forms.dot[kRows - 1][kForm] = dot_tile<kRows, 1 << kForm>;
    forms.fold[kRows - 1][kForm] = fold_tile<kRows, 1 << kForm>;
    forms.fold_rows[kForm] = std::max(forms.fold_rows[kForm], kRows);
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
  forms.masked_dot = masked_dot;
  forms.masked_fold = masked_fold;
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
