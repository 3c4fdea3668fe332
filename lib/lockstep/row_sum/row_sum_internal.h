#pragma once
// What row_sum.cpp chooses from. Extents have been checked. C++17, for host and device.

#include <cstdint>

#include "lockstep/base/host_device.h"
#include "lockstep/order/fold.h"

namespace lockstep::row_sum_internal {

/// T is the type of the rows.
template <class T>
struct BasicProblem {
  const T* x = nullptr;
  std::int64_t x_row_stride = 0;
  const T* y = nullptr;
  std::int64_t y_row_stride = 0;
  bool is_product = false;  ///< else y is null
  std::int64_t cols = 0;
  order::FoldSpan span;
  double* total = nullptr;
  double* open = nullptr;
  double* scratch = nullptr;  ///< the CUDA form's: scratch_elements(cols, span)
};
using Problem = BasicProblem<float>;

void sum_cpu(const Problem& problem);
void sum_cuda(const Problem& problem, void* stream);

// How the CUDA form shares the work. A block has a tile of columns: of all chunks, one after the other, where
// that makes enough blocks for a GPU; else of one chunk, and as many chunks as make kBlocksAWave are side by
// side, their partials in scratch.

constexpr std::int64_t kTileCols = 32;
constexpr std::int64_t kTilesThatFill = 2048;
constexpr std::int64_t kBlocksAWave = 8192;

LOCKSTEP_HOST_DEVICE constexpr std::int64_t tiles(std::int64_t cols) {
  return (cols + kTileCols - 1) / kTileCols;
}

constexpr std::int64_t segments_a_wave(std::int64_t cols, std::int64_t segments) {
  const std::int64_t wave = kBlocksAWave / tiles(cols);
  return wave < segments ? wave : segments;
}

/// At most kBlocksAWave tiles of float64: 2 MiB.
constexpr std::int64_t scratch_elements(std::int64_t cols, const order::FoldSpan& span) {
  const std::int64_t segments = order::fold_segments(span);
  return cols == 0 || segments <= 1 || tiles(cols) >= kTilesThatFill ? 0
                                                                     : segments_a_wave(cols, segments) * cols;
}

}  // namespace lockstep::row_sum_internal
