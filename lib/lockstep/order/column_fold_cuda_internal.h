#pragma once
// Folds over rows (contracts, section 4), a column each, on a CUDA device, for .cu files. A warp has a tile
// of up to 32 columns, a lane each, and adds the rows of one chunk, which come through shared memory a few
// stages ahead of their sums. Chunks side by side leave partials in scratch, which the same chain then adds
// to the totals (column_fold_internal.h).

#include <algorithm>
#include <cstdint>

#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/order/column_fold_internal.h"

namespace lockstep::order {

constexpr int kFoldLanes = static_cast<int>(kTileCols);

/// The columns of a block.
struct FoldTile {
  std::int64_t first_col;
  int width;
  bool is_all;  ///< there are no other columns

  __device__ explicit FoldTile(std::int64_t tile, std::int64_t cols)
      : first_col(tile * kTileCols),
        width(static_cast<int>(cols - first_col < kTileCols ? cols - first_col : kTileCols)),
        is_all(width == cols) {}
  __device__ bool has_lane() const { return static_cast<int>(threadIdx.x) < width; }
  __device__ std::int64_t col() const { return first_col + threadIdx.x; }
};

// ---- What is folded. A Fold has
//   Partial            of a column; Partial() is +0, and + the rounded add of a partial to a total
//   open(j), total(j)  of column j: what they hold
//   keep_open(j, partial), keep_total(j, total)
//   terms(tile, row)   the Terms of a tile's chain over rows of the span, from `row` on
// Terms have
//   Stage              a number of rows in shared memory; kStages of them are in use at a time
//   rows_a_stage()     that number, of a tile
//   fetch(from, count, stage)         starts the copies of the chain's rows from number `from` on
//   add(partial, count, stage)        the partial of the lane's column after the next rows, ascending

// ---- Rows of a matrix as terms

/// 32 rows of 32 floats, or as many bytes.
template <class T>
constexpr int kStageElements = 4096 / sizeof(T);

/// Rows of a matrix in a tile's columns.
template <class T>
struct TileRows {
  const T* first;
  std::int64_t stride;
  int width;
  bool is_packed;  ///< rows follow each other without a gap

  __device__ TileRows(const T* matrix, std::int64_t row_stride, const FoldTile& tile, std::int64_t row)
      : first(matrix + row * row_stride + tile.first_col),
        stride(row_stride),
        width(tile.width),
        is_packed(tile.is_all && row_stride == tile.width) {}

  /// Rows that fit into a stage: whole pieces of 16 bytes, whatever the width.
  __device__ int rows_a_stage() const { return kStageElements<T> / width / 4 * 4; }
  /// Copies rows to shared memory, where they lie packed: 16 bytes a lane where they can.
  __device__ void fetch(int from, int count, T* to) const {
    constexpr int kPiece = 16 / sizeof(T);
    constexpr int kPiecesARow = kFoldLanes / kPiece, kRowsATurn = kFoldLanes / kPiecesARow;
    const int lane = static_cast<int>(threadIdx.x);
    const T* const begin = first + from * stride;
    const bool aligned = reinterpret_cast<std::uintptr_t>(begin) % 16 == 0;
    if (is_packed) {
      const int length = count * width, whole = aligned ? length / kPiece * kPiece : 0;
      for (int i = lane * kPiece; i < whole; i += kFoldLanes * kPiece)
        __pipeline_memcpy_async(to + i, begin + i, 16);
      for (int i = whole + lane; i < length; i += kFoldLanes)
        __pipeline_memcpy_async(to + i, begin + i, sizeof(T));
    } else if (aligned && width == kFoldLanes && stride % kPiece == 0) {
      const int at = lane % kPiecesARow * kPiece;
      for (int row = lane / kPiecesARow; row < count; row += kRowsATurn)
        __pipeline_memcpy_async(to + row * kFoldLanes + at, begin + row * stride + at, 16);
    } else if (lane < width) {
      for (int row = 0; row < count; ++row)
        __pipeline_memcpy_async(to + row * width + lane, begin + row * stride + lane, sizeof(T));
    }
  }
};

// ---- Chains

/// Order: a lane's column, rows ascending, from `partial` on.
template <class Terms, class Partial>
__device__ Partial add_rows(Partial partial, Terms terms, int rows, const FoldTile& tile,
                            typename Terms::Stage (&stages)[Terms::kStages]) {
  constexpr int kStages = Terms::kStages;
  const int rows_a_stage = terms.rows_a_stage();
  const auto fetch = [&](int from, int slot) {
    if (from < rows) terms.fetch(from, min(rows_a_stage, rows - from), stages[slot]);
    __pipeline_commit();
  };
  __syncwarp();  // the chain before has left the stages
  for (int slot = 0; slot < kStages - 1; ++slot) fetch(slot * rows_a_stage, slot);
  int slot = 0;
  for (int from = 0; from < rows; from += rows_a_stage) {
    __pipeline_wait_prior(kStages - 2);
    __syncwarp();  // every lane's copies of this stage are there, and the stage before is free
    fetch(from + (kStages - 1) * rows_a_stage, slot == 0 ? kStages - 1 : slot - 1);
    if (tile.has_lane()) partial = terms.add(partial, min(rows_a_stage, rows - from), stages[slot]);
    slot = slot + 1 == kStages ? 0 : slot + 1;
  }
  return partial;
}

template <class Fold>
using FoldStage = typename Fold::Terms::Stage;

template <class Fold>
__device__ typename Fold::Partial add_segment(const Fold& fold, const FoldSegment& segment,
                                              const FoldTile& tile,
                                              FoldStage<Fold> (&stages)[Fold::Terms::kStages]) {
  const auto start = segment.opens || !tile.has_lane() ? typename Fold::Partial() : fold.open(tile.col());
  return add_rows(start, fold.terms(tile, segment.offset), static_cast<int>(segment.rows), tile, stages);
}

/// Order: a block's columns, chunks ascending: the chain of each chunk, then total + partial.
template <class Fold>
__global__ void __launch_bounds__(kFoldLanes) fold_columns(Fold fold, FoldSpan span, std::int64_t cols) {
  __shared__ FoldStage<Fold> stages[Fold::Terms::kStages];
  const std::int64_t segments = fold_segments(span);
  for (std::int64_t i = blockIdx.x; i < fold_tiles(cols); i += gridDim.x) {
    const FoldTile tile(i, cols);
    auto total = tile.has_lane() ? fold.total(tile.col()) : typename Fold::Partial();
    for (std::int64_t s = 0; s < segments; ++s) {
      const FoldSegment segment = fold_segment(span, s);
      const auto partial = add_segment(fold, segment, tile, stages);
      if (segment.closes)
        total = total + partial;
      else if (tile.has_lane())
        fold.keep_open(tile.col(), partial);
    }
    if (tile.has_lane()) fold.keep_total(tile.col(), total);
  }
}

/// Order: a block's chunk, the chain of its rows from +0 or from the open partial. Block b: tile b mod tiles
/// of segment `first` + b / tiles, to partials [segments, cols].
template <class Fold>
__global__ void __launch_bounds__(kFoldLanes)
    fold_chunks(Fold fold, FoldSpan span, std::int64_t cols, std::int64_t first,
                typename Fold::Partial* partials) {
  __shared__ FoldStage<Fold> stages[Fold::Terms::kStages];
  const std::int64_t row = blockIdx.x / fold_tiles(cols);
  const FoldTile tile(blockIdx.x % fold_tiles(cols), cols);
  const auto partial = add_segment(fold, fold_segment(span, first + row), tile, stages);
  if (tile.has_lane()) partials[row * cols + tile.col()] = partial;
}

/// The partials of chunks, whose chain is the fold.
template <class Partial>
struct PartialTerms {
  struct Stage {
    alignas(16) Partial partials[kStageElements<Partial>];
  };
  static constexpr int kStages = 6;
  TileRows<Partial> rows;

  __device__ int rows_a_stage() const { return rows.rows_a_stage(); }
  __device__ void fetch(int from, int count, Stage& to) const { rows.fetch(from, count, to.partials); }
  __device__ Partial add(Partial total, int count, const Stage& stage) const {
#pragma unroll 8
    for (int row = 0; row < count; ++row)
      total = total + stage.partials[row * rows.width + static_cast<int>(threadIdx.x)];
    return total;
  }
};

/// Order: total + partial, chunks ascending. The partial behind them, if any, is the one that stays open.
template <class Fold>
__global__ void __launch_bounds__(kFoldLanes)
    fold_partials(Fold fold,
                  const typename Fold::Partial* partials,  // [closed or more, cols]
                  int closed, bool has_open, std::int64_t cols) {
  using Partial = typename Fold::Partial;
  using Terms = PartialTerms<Partial>;
  __shared__ typename Terms::Stage stages[Terms::kStages];
  const FoldTile tile(blockIdx.x, cols);
  const Partial start = tile.has_lane() ? fold.total(tile.col()) : Partial();
  const Partial total = add_rows(start, Terms{{partials, cols, tile, 0}}, closed, tile, stages);
  if (!tile.has_lane()) return;
  fold.keep_total(tile.col(), total);
  if (has_open) fold.keep_open(tile.col(), partials[closed * cols + tile.col()]);
}

// ---- The launch

/// `scratch`: fold_scratch_partials(cols, span) partials on a boundary of one; overwritten.
template <class Fold>
void launch_column_fold(const char* name, const Fold& fold, const FoldSpan& span, std::int64_t cols,
                        void* scratch, void* stream) {
  constexpr std::int64_t kMostBlocks = 1 << 30;
  auto* const on = static_cast<cudaStream_t>(stream);
  const std::int64_t segments = fold_segments(span), tiles = fold_tiles(cols);
  if (cols == 0 || segments == 0) return;
  if (fold_scratch_partials(cols, span) == 0) {
    fold_columns<<<static_cast<unsigned>(std::min(tiles, kMostBlocks)), kFoldLanes, 0, on>>>(fold, span,
                                                                                             cols);
    check_launch(name);
    return;
  }
  auto* const partials = static_cast<typename Fold::Partial*>(scratch);
  const std::int64_t wave = fold_segments_a_wave(cols, segments);
  for (std::int64_t first = 0; first < segments; first += wave) {
    const std::int64_t count = std::min(wave, segments - first);
    fold_chunks<<<static_cast<unsigned>(count * tiles), kFoldLanes, 0, on>>>(fold, span, cols, first,
                                                                             partials);
    check_launch(name);
    const bool has_open = !fold_segment(span, first + count - 1).closes;
    fold_partials<<<static_cast<unsigned>(tiles), kFoldLanes, 0, on>>>(
        fold, partials, static_cast<int>(count - (has_open ? 1 : 0)), has_open, cols);
    check_launch(name);
  }
}

}  // namespace lockstep::order
