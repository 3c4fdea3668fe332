#pragma once
// What one instruction set gives to a convolution: chains over a tile of the result that lies in registers.
// A tile's columns are `lanes` << form of them: neighbouring pixels for the dot, filters for the fold.

#include <cstdint>

namespace lockstep::conv_internal {

constexpr int kMostRows = 14;  // of a tile, on any instruction set
constexpr int kWidths = 3;     // 1, 2 or 4 vectors in a tile's row
constexpr int kMostTileElements = 14 * 4 * 16;

/// tile[i, j] is the chain from +0 over the taps t, ascending, of fma(weight[t, i], image[offsets[t] + j]).
using DotTile = void (*)(std::int64_t taps, const float* weight, const float* image,
                         const std::int64_t* offsets, float* tile);

/// One row of the same, for taps of which some are no terms.
struct MaskedTaps {
  std::int64_t taps = 0;
  const float* weight = nullptr;  ///< [taps], weight_step apart
  std::int64_t weight_step = 0;
  const float* image = nullptr;
  const std::int64_t* offsets = nullptr;
  const float* inside = nullptr;  ///< where inside[inside_offsets[t] + j] is 0 there is no term
  const std::int64_t* inside_offsets = nullptr;
};
using MaskedDot = void (*)(const MaskedTaps& taps, std::int64_t width, float* tile);

/// Where the chains of neighbouring pixels go.
struct DotEnd {
  float* out = nullptr;  ///< of the tile's first row
  std::int64_t row_step = 0, col_step = 1;
  bool continues = false;       ///< added to what lies there, else to +0
  const float* bias = nullptr;  ///< [rows], added then; or null
};

/// Ends `cols` chains of each of `rows` rows, which are `width` floats apart.
using FinishDots = void (*)(const float* tile, std::int64_t width, std::int64_t rows, std::int64_t cols,
                            const DotEnd& end);

/// to[p * width + f] = from[f * filter_step + p] for p < pixels, f < filters; +0 for f = filters … width - 1.
using LayBeside = void (*)(const float* from, std::int64_t filter_step, std::int64_t filters,
                           std::int64_t pixels, std::int64_t width, float* to);

/// A rectangle of output pixels, and the gradients of some filters there: gradient[h, w, j].
struct Pixels {
  std::int64_t rows = 0, cols = 0;
  std::int64_t image_row_step = 0;  ///< what a tap moves by from one row to the next
  const float* gradient = nullptr;  ///< [rows, cols, the tile's columns]
};

/// tile[i, j] continues with the rectangle's pixels, ascending, as fma(gradient[h, w, j], taps[i][h, w], …).
/// taps[i][h, w] is taps[i][h * image_row_step + w].
using FoldTile = void (*)(const Pixels& pixels, const float* const* taps, float* tile,
                          std::int64_t tile_step);

/// The same for one row of one vector; where inside[h, w] is 0 there is no term.
using MaskedFold = void (*)(const Pixels& pixels, const float* tap, const float* inside,
                            std::int64_t gradient_step, float* tile);

/// tile[i, j] continues as fma(gradient[h, w, j], taps[i][h, w, j], …), for one vector of groups side by
/// side.
using FoldBeside = void (*)(const Pixels& pixels, const float* const* taps, float* tile);

/// The same for one row; where inside[h, w] is 0 there is no term.
using MaskedBeside = void (*)(const Pixels& pixels, const float* tap, const float* inside, float* tile);

struct Forms {
  int lanes = 1;                           ///< floats of a vector
  int dot_form = 0, dot_rows = 1;          ///< the dot's tiles: log2 of their vectors, and their rows
  DotTile dot[kMostRows][kWidths] = {};    ///< [rows - 1][form]
  FoldTile fold[kMostRows][kWidths] = {};  ///< [rows - 1][form]
  int fold_rows[kWidths] = {};             ///< the most rows of the fold's tiles, by form
  FinishDots finish_dots = nullptr;
  LayBeside lay_beside = nullptr;
  MaskedDot masked_dot = nullptr;
  FoldBeside beside[kMostRows] = {};  ///< [rows - 1]
  MaskedFold masked_fold = nullptr;
  MaskedBeside masked_beside = nullptr;
};

/// Those of the instruction set that runs.
const Forms& forms();

}  // namespace lockstep::conv_internal
