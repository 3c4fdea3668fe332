#pragma once
// How the CUDA form of the gradients of weight and bias shares its work, and so the scratch that it needs.
// None of it shows in the bits. C++17, for host and device.

#include <algorithm>
#include <cstdint>

#include "lockstep/base/host_device.h"
#include "lockstep/conv/conv.h"
#include "lockstep/order/fold.h"

namespace lockstep::conv_internal {

/// Tiles of filters by columns, the wider the more sums of each thread's share what it reads.
enum class FoldForm { wide, many_filters, many_columns, single };

struct FoldPlan {
  FoldForm form;
  int filters, columns;  ///< of a tile
  std::int64_t filter_tiles, column_tiles, groups;
  std::int64_t
      segments_a_wave;  ///< side by side, their partials in scratch; 0: a block takes all of its tile

  LOCKSTEP_HOST_DEVICE std::int64_t tiles() const { return groups * filter_tiles * column_tiles; }
};

inline FoldPlan fold_plan(const ConvGeometry& g, std::int64_t columns, const order::FoldSpan& span) {
  constexpr std::int64_t kBlocksThatFill = 128, kTilesThatFill = 264, kBlocksAWave = 1024;
  const std::int64_t filters = g.out_channels / g.groups, segments = order::fold_segments(span);
  const auto tiled = [&](FoldForm form, int tile_filters, int tile_columns) {
    return FoldPlan{form,
                    tile_filters,
                    tile_columns,
                    (filters + tile_filters - 1) / tile_filters,
                    (columns + tile_columns - 1) / tile_columns,
                    g.groups,
                    0};
  };
  const FoldPlan wide = tiled(FoldForm::wide, 64, 64);
  FoldPlan plan = tiled(FoldForm::single, 16, 16);
  if (filters > 32 && columns > 32 && wide.tiles() * segments >= kBlocksThatFill)
    plan = wide;
  else if (filters > 16 && plan.tiles() * segments >= 2 * kBlocksThatFill)
    plan = tiled(FoldForm::many_filters, 32, 16);
  else if (columns > 16 && plan.tiles() * segments >= 2 * kBlocksThatFill)
    plan = tiled(FoldForm::many_columns, 16, 32);
  if (segments > 1 && plan.tiles() < kTilesThatFill)
    plan.segments_a_wave = std::min(segments, std::max<std::int64_t>(1, kBlocksAWave / plan.tiles()));
  return plan;
}

/// Enough for either gradient alone too.
inline std::int64_t fold_scratch_elements(const ConvGeometry& g, const order::FoldSpan& span) {
  if (g.out_channels == 0) return 0;
  std::int64_t most = 0;
  for (const std::int64_t columns : {std::int64_t{1}, g.taps(), g.taps() + 1})
    if (columns > 0)
      most = std::max(most, fold_plan(g, columns, span).segments_a_wave * g.out_channels * columns);
  return most;
}

}  // namespace lockstep::conv_internal
