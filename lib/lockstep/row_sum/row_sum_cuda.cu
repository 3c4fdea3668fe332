// A warp owns up to 32 columns, a lane each, and adds the rows of one chunk, which come through shared memory
// a few stages ahead of their sums. Chunks side by side leave partials in scratch, which the same chain then
// adds to the totals.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime_api.h>

#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/row_sum/row_sum_internal.h"

namespace lockstep::row_sum_internal {
namespace {

constexpr int kLanes = static_cast<int>(kTileCols);
constexpr int kStages = 6;  // with both operands of a product all the memory that a block has without asking
template <class T>
constexpr int kStageElements = 4096 / sizeof(T);  // 32 rows of 32 floats, more of narrower ones
constexpr unsigned kMostBlocks = 1u << 30;

/// Rows of an operand, from the first one of a chain and the first column of a tile.
template <class T>
struct Rows {
  const T* first;
  std::int64_t stride;
  bool packed;  ///< the tile is all columns, and rows follow each other without a gap
};

/// Copies `count` rows from row `from` on, packed, to shared memory: 16 bytes a lane where they lie so.
template <class T>
__device__ void stage_rows(const Rows<T>& rows, int from, int count, int width, T* to) {
  constexpr int kPiece = 16 / sizeof(T);
  constexpr int kPiecesARow = kLanes / kPiece, kRowsATurn = kLanes / kPiecesARow;
  const int lane = static_cast<int>(threadIdx.x);
  const T* const begin = rows.first + from * rows.stride;
  const bool aligned = reinterpret_cast<std::uintptr_t>(begin) % 16 == 0;
  if (rows.packed) {
    const int length = count * width, whole = aligned ? length / kPiece * kPiece : 0;
    for (int i = lane * kPiece; i < whole; i += kLanes * kPiece)
      __pipeline_memcpy_async(to + i, begin + i, 16);
    for (int i = whole + lane; i < length; i += kLanes) __pipeline_memcpy_async(to + i, begin + i, sizeof(T));
  } else if (aligned && width == kLanes && rows.stride % kPiece == 0) {
    const int at = lane % kPiecesARow * kPiece;
    for (int row = lane / kPiecesARow; row < count; row += kRowsATurn)
      __pipeline_memcpy_async(to + row * kLanes + at, begin + row * rows.stride + at, 16);
  } else if (lane < width) {
    for (int row = 0; row < count; ++row)
      __pipeline_memcpy_async(to + row * width + lane, begin + row * rows.stride + lane, sizeof(T));
  }
}

template <class T, bool kProduct>
struct Stages {
  alignas(16) T x[kStages][kStageElements<T>];
  alignas(16) T y[kProduct ? kStages : 1][kProduct ? kStageElements<T> : 1];
};

/// Order: a lane's column, rows ascending, one float64 add or fma each, from `sum` on.
template <class T, bool kProduct>
__device__ double add_rows(double sum, const Rows<T>& x, const Rows<T>& y, int rows, int width,
                           Stages<T, kProduct>& stages) {
  const int lane = static_cast<int>(threadIdx.x);
  const int rows_a_stage = kStageElements<T> / width / 4 * 4;  // whole pieces of 16 bytes, whatever the width
  const auto fetch = [&](int from, int slot) {
    if (from < rows) {
      const int count = min(rows_a_stage, rows - from);
      stage_rows(x, from, count, width, stages.x[slot]);
      if constexpr (kProduct) stage_rows(y, from, count, width, stages.y[slot]);
    }
    __pipeline_commit();
  };
  __syncwarp();  // the chain before has left the stages
  for (int slot = 0; slot < kStages - 1; ++slot) fetch(slot * rows_a_stage, slot);
  int slot = 0;
  for (int from = 0; from < rows; from += rows_a_stage) {
    __pipeline_wait_prior(kStages - 2);
    __syncwarp();  // every lane's copies of this stage are there, and the stage before is free
    fetch(from + (kStages - 1) * rows_a_stage, slot == 0 ? kStages - 1 : slot - 1);
    if (lane < width) {
      const int count = min(rows_a_stage, rows - from);
#pragma unroll 8
      for (int row = 0; row < count; ++row) {
        const double term = stages.x[slot][row * width + lane];
        if constexpr (kProduct)
          sum = std::fma(term, static_cast<double>(stages.y[slot][row * width + lane]), sum);
        else
          sum = sum + term;
      }
    }
    slot = slot + 1 == kStages ? 0 : slot + 1;
  }
  return sum;
}

__device__ int tile_width(std::int64_t cols, std::int64_t first_col) {
  return static_cast<int>(cols - first_col < kTileCols ? cols - first_col : kTileCols);
}

template <bool kProduct>
__device__ double add_segment(const Problem& p, const order::FoldSegment& segment, std::int64_t first_col,
                              int width, Stages<float, kProduct>& stages) {
  const auto rows_of = [&](const float* operand, std::int64_t stride) {
    return Rows<float>{operand + segment.offset * stride + first_col, stride,
                       p.cols <= kTileCols && stride == p.cols};
  };
  const std::int64_t j = first_col + threadIdx.x;
  const double start = segment.opens || j >= p.cols ? 0.0 : p.open[j];
  const Rows<float> x = rows_of(p.x, p.x_row_stride);
  return add_rows<float, kProduct>(start, x, kProduct ? rows_of(p.y, p.y_row_stride) : x,
                                   static_cast<int>(segment.rows), width, stages);
}

/// Order: a block's columns, chunks ascending: the chain of each chunk, then total + partial.
template <bool kProduct>
__global__ void __launch_bounds__(kLanes) sum_columns(Problem p) {
  __shared__ Stages<float, kProduct> stages;
  const std::int64_t segments = order::fold_segments(p.span);
  for (std::int64_t tile = blockIdx.x; tile < tiles(p.cols); tile += gridDim.x) {
    const std::int64_t first_col = tile * kTileCols, j = first_col + threadIdx.x;
    const int width = tile_width(p.cols, first_col);
    const bool owns = threadIdx.x < width;
    double total = owns ? p.total[j] : 0.0;
    for (std::int64_t s = 0; s < segments; ++s) {
      const order::FoldSegment segment = order::fold_segment(p.span, s);
      const double partial = add_segment<kProduct>(p, segment, first_col, width, stages);
      if (segment.closes)
        total = total + partial;
      else if (owns)
        p.open[j] = partial;
    }
    if (owns) p.total[j] = total;
  }
}

/// Order: a block's chunk, the chain of its rows from +0 or from the open partial. Block b: tile b mod tiles
/// of segment `first` + b / tiles, to partials [segments, cols].
template <bool kProduct>
__global__ void __launch_bounds__(kLanes) sum_chunks(Problem p, std::int64_t first, double* partials) {
  __shared__ Stages<float, kProduct> stages;
  const std::int64_t row = blockIdx.x / tiles(p.cols), first_col = blockIdx.x % tiles(p.cols) * kTileCols;
  const int width = tile_width(p.cols, first_col);
  const double partial =
      add_segment<kProduct>(p, order::fold_segment(p.span, first + row), first_col, width, stages);
  if (threadIdx.x < width) partials[row * p.cols + first_col + threadIdx.x] = partial;
}

/// Order: total + partial, chunks ascending. The partial behind them, if any, is the one that stays open.
__global__ void __launch_bounds__(kLanes) fold_partials(const double* partials,  // [closed or more, cols]
                                                        int closed, std::int64_t cols, double* total,
                                                        double* open)  // null: all are closed
{
  __shared__ Stages<double, false> stages;
  const std::int64_t first_col = blockIdx.x * kTileCols, j = first_col + threadIdx.x;
  const int width = tile_width(cols, first_col);
  const bool owns = threadIdx.x < width;
  const Rows<double> rows{partials + first_col, cols, cols <= kTileCols};
  const double sum = add_rows<double, false>(owns ? total[j] : 0.0, rows, rows, closed, width, stages);
  if (!owns) return;
  total[j] = sum;
  if (open != nullptr) open[j] = partials[closed * cols + j];
}

template <bool kProduct>
void sum_in_waves(const Problem& p, cudaStream_t on) {
  const std::int64_t segments = order::fold_segments(p.span), wave = segments_a_wave(p.cols, segments);
  for (std::int64_t first = 0; first < segments; first += wave) {
    const std::int64_t count = std::min(wave, segments - first);
    sum_chunks<kProduct>
        <<<static_cast<unsigned>(count * tiles(p.cols)), kLanes, 0, on>>>(p, first, p.scratch);
    check_launch("row_sum: sum_chunks");
    const bool stays_open = !order::fold_segment(p.span, first + count - 1).closes;
    fold_partials<<<static_cast<unsigned>(tiles(p.cols)), kLanes, 0, on>>>(
        p.scratch, static_cast<int>(count - (stays_open ? 1 : 0)), p.cols, p.total,
        stays_open ? p.open : nullptr);
    check_launch("row_sum: fold_partials");
  }
}

template <bool kProduct>
void sum_as(const Problem& p, cudaStream_t on) {
  if (scratch_elements(p.cols, p.span) > 0) return sum_in_waves<kProduct>(p, on);
  const auto blocks = static_cast<unsigned>(std::min<std::int64_t>(tiles(p.cols), kMostBlocks));
  sum_columns<kProduct><<<blocks, kLanes, 0, on>>>(p);
  check_launch("row_sum: sum_columns");
}

}  // namespace

void sum_cuda(const Problem& problem, void* stream) {
  if (problem.cols == 0 || order::fold_segments(problem.span) == 0) return;
  auto* const on = static_cast<cudaStream_t>(stream);
  problem.is_product ? sum_as<true>(problem, on) : sum_as<false>(problem, on);
}

}  // namespace lockstep::row_sum_internal
