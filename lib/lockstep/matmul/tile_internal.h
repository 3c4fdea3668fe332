#pragma once
// What one instruction set gives to a product: chains over a tile of the result that lies in registers, the
// packing of operands for them, and the end of a chain. The tiles of one strip of columns lie one after the
// other in a scratch, row-major, `width` columns each, whether all are wanted or not.

#include <cstdint>

namespace lockstep::matmul_internal {

constexpr int kMostRows = 14;    // of a tile, on any instruction set
constexpr int kFewRows = 8;      // of a tile whose right operand is not packed, though it lies across
constexpr int kMostVectors = 8;  // of a tile's row: 1, 2, 4 or 8
constexpr int kWidths = 4;

constexpr std::int64_t kDepthPerPrefetch = 8;

/// Memory that will soon be wanted, and that a chain asks for on its way: two cache lines every
/// kDepthPerPrefetch.
struct Ahead {
  const float* begin = nullptr;  ///< null: nothing
  std::int64_t step = 0;         ///< floats between such pairs
};

/// tile[i, j] continues (or starts from +0) as fma(left[k, i], right[k, j], tile[i, j]) for k = 0 … depth
/// - 1. left[k, i] is left[k * left_step + i], right[k, j] is right[k * right_step + j].
using ChainTile = void (*)(std::int64_t depth, const float* left, std::int64_t left_step, const float* right,
                           std::int64_t right_step, float* tile, bool continues, Ahead ahead);

/// ChainTile for few rows and a right operand whose depths are neighbours in memory, read where it lies:
/// right[k, j] is right[j * place_stride + k] for j < places, at most a vector, which is a tile's row.
using ChainFew = void (*)(std::int64_t depth, const float* left, const float* right,
                          std::int64_t place_stride, std::int64_t places, float* tile, bool continues);

/// target[k * width + j] = source[j * place_stride + k * depth_stride] for j < places, k < depth. The places
/// from there to `width` are +0; up to 16 elements behind the end are overwritten. Where one of the strides
/// is 1, what lies `ahead` floats behind each line that is read is asked for.
using Pack = void (*)(const float* source, std::int64_t place_stride, std::int64_t depth_stride,
                      std::int64_t places, std::int64_t width, std::int64_t depth, float* target,
                      std::int64_t ahead);

/// Where a tile's chains go, and how they end.
struct TileEnd {
  float* out = nullptr;
  std::int64_t row_stride = 0, col_stride = 0;
  const float* sum = nullptr;  ///< what the chains are added to; null: +0
  std::int64_t sum_row_stride = 0, sum_col_stride = 0;
  bool stays_open = false;  ///< stored as it is, added to nothing
  bool streams = false;  ///< out is not read soon: past the caches, where it begins at a multiple of 64 bytes
  bool has_epilogue = false;
  float alpha = 1, beta = 0;
  const float* bias = nullptr;
  std::int64_t bias_row_stride = 0, bias_col_stride = 0;
};

struct Forms {
  int lanes = 1;       ///< floats of a vector
  int tile_rows = 1;   ///< of the tiles that many rows are cut into
  int panel_rows = 1;  ///< whose left operand is packed together: those of one tile or more
  int tall_rows = 1;   ///< of the highest tile
  /// [rows - 1][log2 of the vectors of a row]; null where the tile would not fit the registers.
  ChainTile chain[kMostRows][kWidths] = {};
  ChainFew chain_few[kFewRows] = {};  ///< [rows - 1]; null where there is none
  Pack pack = nullptr;
  /// Ends the chains of `rows` × `cols` elements of tiles, row-major in rows of `width`.
  void (*finish)(const float* tile, std::int64_t width, std::int64_t rows, std::int64_t cols,
                 const TileEnd& end) = nullptr;
};

/// Those of the instruction set that runs.
const Forms& forms();

}  // namespace lockstep::matmul_internal
