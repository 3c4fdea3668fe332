#pragma once
// How folds over rows (contracts, section 4), a column each, are shared out on a CUDA device. A block has a
// tile of columns: of all chunks, one after the other, where that makes enough blocks for a GPU; else of one
// chunk, and as many chunks as make kFoldBlocksAWave are side by side, their partials in scratch. C++17.

#include <cstdint>

#include "lockstep/base/ceil_div_internal.h"
#include "lockstep/order/fold.h"

namespace lockstep::order {

constexpr std::int64_t kTileCols = 32;
constexpr std::int64_t kTilesThatFill = 2048;
constexpr std::int64_t kFoldBlocksAWave = 8192;

LOCKSTEP_HOST_DEVICE constexpr std::int64_t fold_tiles(std::int64_t cols) {
  return internal::ceil_div(cols, kTileCols);
}

constexpr std::int64_t fold_segments_a_wave(std::int64_t cols, std::int64_t segments) {
  const std::int64_t wave = kFoldBlocksAWave / fold_tiles(cols);
  return wave < segments ? wave : segments;
}

/// The partials that lie in scratch at a time: at most kFoldBlocksAWave tiles of them; 0 where none do.
constexpr std::int64_t fold_scratch_partials(std::int64_t cols, const FoldSpan& span) {
  const std::int64_t segments = fold_segments(span);
  return cols == 0 || segments <= 1 || fold_tiles(cols) >= kTilesThatFill
             ? 0
             : fold_segments_a_wave(cols, segments) * cols;
}

}  // namespace lockstep::order
