#pragma once
// What the two ways of folding the gradients of weight and bias share: where the sums wait, the chunks, and
// what becomes of their partials. A bias is a weight whose tap reads 1 everywhere: fma(dy, 1, chain) is
// chain + dy.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lockstep/conv/chain_internal.h"
#include "lockstep/conv/conv.h"
#include "lockstep/conv/planes_internal.h"
#include "lockstep/order/fold.h"

namespace lockstep::conv_internal {

/// Pixels first … first + pixels - 1 of one sample.
struct Piece {
  std::int64_t sample = 0, first = 0, pixels = 0;
};

/// Sums lie in an order of the form's own until the call's end.
class Folds {
 public:
  virtual ~Folds() = default;
  void run();

 protected:
  /// Sums of a part, one behind the other.
  struct Range {
    std::int64_t begin = 0, end = 0;
  };

  explicit Folds(const ConvWeightGradient& call);

  virtual std::int64_t floats() const = 0;
  /// Where the sum of an output channel's tap lies, the bias being tap number taps_.
  virtual std::int64_t place(std::int64_t filter, std::int64_t tap) const = 0;
  /// Work that is independent inside a segment; the number of parts.
  virtual std::int64_t make_parts(std::int64_t threads) = 0;
  virtual Range sums_of(std::int64_t part) const = 0;
  /// Continues a part's chains with the segment's pixels; `masked` asks each tap whether it is a term.
  virtual void run_chains(const order::FoldSegment& segment, std::int64_t part, bool masked,
                          float* partial) const = 0;

  /// Rows of pixels that a chunk may touch.
  std::int64_t most_rows() const;
  std::int64_t row_step() const { return g_.out_w() + w_.reach; }
  /// The first row of a piece.
  std::int64_t row_of(const Piece& piece) const { return piece.first / g_.out_w(); }

  template <class Visit>
  void for_each_piece(const order::FoldSegment& segment, Visit visit) const;
  /// The piece as at most three rectangles: visit(its place in the planes, its first pixel, Pixels).
  template <class Visit>
  void for_each_rectangle(const Piece& piece, Visit visit) const;

  const ConvWeightGradient& call_;
  const ConvGeometry& g_;
  const Forms& forms_;
  const Axis h_, w_;
  const std::int64_t channels_, filters_;  ///< of a group
  const std::int64_t taps_;                ///< that are wanted
  const bool has_bias_;

 private:
  template <class Move>
  void for_each_sum(bool is_bias, Move move) const;
  void load(float* ConvFold::*memory, float* sums) const;
  void store(const float* sums, float* ConvFold::*memory) const;
  std::int64_t useful_threads() const;
  void run_part(const order::FoldSegment& segment, std::int64_t part, float* partial) const;
  void start(const order::FoldSegment& segment, const Range& sums, float* partial) const;
  void run_segments(std::int64_t threads);

  std::vector<float> total_, open_;
};

template <class Visit>
void Folds::for_each_piece(const order::FoldSegment& segment, Visit visit) const {
  const std::int64_t pixels = g_.out_pixels(), end = segment.offset + segment.rows;
  for (std::int64_t row = segment.offset; row < end;) {
    const std::int64_t first = row % pixels;
    const Piece piece{row / pixels, first, std::min(pixels - first, end - row)};
    visit(piece);
    row += piece.pixels;
  }
}

template <class Visit>
void Folds::for_each_rectangle(const Piece& piece, Visit visit) const {
  const std::int64_t width = g_.out_w(), end = piece.first + piece.pixels;
  for (std::int64_t pixel = piece.first; pixel < end;) {
    const std::int64_t row = pixel / width, col = pixel % width;
    const bool is_whole = col == 0 && end - pixel >= width;
    const std::int64_t rows = is_whole ? (end - pixel) / width : 1;
    const std::int64_t cols = is_whole ? width : std::min(width - col, end - pixel);
    visit((row - row_of(piece)) * row_step() + col, pixel - piece.first,
          Pixels{rows, cols, row_step(), nullptr});
    pixel += rows * cols;
  }
}

/// Tiles of taps by the filters of a group.
void fold_by_filters(const ConvWeightGradient& call);
/// Tiles of taps by groups side by side, where these have few filters.
void fold_by_groups(const ConvWeightGradient& call);

}  // namespace lockstep::conv_internal
