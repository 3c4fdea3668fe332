// How a product is cut: into rectangles of the result for threads, and a rectangle into what the caches hold.
// No bit depends on it, since each element of the result stays one sequence of operations.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "lockstep/base/float_mode.h"
#include "lockstep/matmul/matmul_internal.h"
#include "lockstep/matmul/tile_internal.h"
#include "lockstep/order/fold.h"
#include "lockstep/parallel/parallel.h"

namespace lockstep::matmul_internal {
namespace {

constexpr std::int64_t kDepthPerPass = 256;   // a strip's rows that stay in the first cache beside a panel
constexpr std::int64_t kDepthPerSweep = 16;   // rows of an unpacked operand that are read side by side
constexpr std::int64_t kRowsPerBlock = 168;   // packed rows that stay in the second cache
constexpr std::int64_t kColsPerBlock = 2048;  // packed columns that the rows pass by
constexpr std::int64_t kRowsWithSums = 512;   // where the sums of blocks need memory of their own
constexpr std::int64_t kRowsUnpacked = 16;    // up to which packing the right operand does not pay
constexpr std::int64_t kSpill = 16;           // elements that packing may write behind its end
constexpr double kWorkPerThread = 1 << 18;    // multiplications that are worth a thread's start
constexpr double kPackingCost = 10;           // multiplications in the time of packing an element

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

struct Range {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
};

/// Part `index` of `parts` of a range, even but for units that stay whole.
Range part_of(Range range, std::int64_t unit, std::int64_t parts, std::int64_t index) {
  const std::int64_t units = ceil_div(range.size(), unit);
  const auto begin = [&](std::int64_t part) {
    return std::min(range.end, range.begin + units * part / parts * unit);
  };
  return {begin(index), begin(index + 1)};
}

/// Memory that a thread keeps for its next product.
class Scratch {
 public:
  float* get(std::int64_t count) {
    if (count > count_) {
      memory_.reset();
      memory_.reset(
          static_cast<float*>(::operator new(static_cast<std::size_t>(count) * sizeof(float), kAlign)));
      count_ = count;
    }
    return memory_.get();
  }

 private:
  static constexpr std::align_val_t kAlign{64};
  struct Free {
    void operator()(float* memory) const { ::operator delete(memory, kAlign); }
  };
  std::unique_ptr<float, Free> memory_;
  std::int64_t count_ = 0;
};

struct ThreadScratch {
  Scratch left, right, tile, sums;
};

ThreadScratch& thread_scratch() {
  thread_local ThreadScratch mine;
  return mine;
}

/// Columns that one tile spans.
struct Strip {
  std::int64_t begin = 0, cols = 0;
  int form = 0;            ///< log2 of the vectors of a tile's row
  std::int64_t width = 0;  ///< floats of a tile's row: cols, or more
};

/// What happens at the two ends of a segment of the depth.
struct Segment {
  order::FoldSegment place;
  bool first = false, last = false;  ///< of the depth
};

/// A rectangle of one result, computed by one thread.
class Rectangle {
 public:
  Rectangle(const Problem& problem, std::int64_t batch, Range rows, Range cols)
      : p_(problem),
        forms_(forms()),
        left_(problem.left.data + batch * problem.left_batch_stride),
        right_(problem.right.data + batch * problem.right_batch_stride),
        result_(problem.result + batch * problem.result_batch_stride),
        rows_(rows),
        cols_(cols) {}

  void run();

 private:
  bool sums_lie_apart() const { return p_.beta != 0 && order::fold_segments(p_.span) > 1; }
  bool right_is_swept() const { return p_.right.place_stride == 1 && rows_.size() <= kRowsUnpacked; }
  void run_columns();
  void run_segment(const Segment& segment);
  void run_block(const Segment& segment, Range block, const float* packed);
  void sweep(const Segment& segment);
  void end_without_depth();

  void choose_widest(std::int64_t rows);
  Strip packed_strip(std::int64_t begin) const;
  Strip whole_strip(std::int64_t begin) const;
  Range panel(Range block, std::int64_t index) const;
  std::int64_t panels(Range block) const { return ceil_div(block.size(), forms_.most_rows); }

  float* pack_left(const order::FoldSegment& place, Range block) const;
  void pack_right(const Strip& strip, std::int64_t k, std::int64_t depth, float* target) const;
  void load_open(const Segment& segment, Range block, const Strip& strip, float* tile) const;
  void finish(const Segment& segment, Range rows, const Strip& strip, const float* tile) const;
  void prefetch_result(Range rows, const Strip& strip) const;
  TileEnd tile_end(const Segment& segment, std::int64_t i, std::int64_t j) const;

  const Problem& p_;
  const Forms& forms_;
  const float* left_;
  const float* right_;
  float* result_;
  Range rows_, cols_;
  int widest_ = 0;
  ThreadScratch& scratch_ = thread_scratch();
};

// ---- Tiles

/// The widest tiles that this many rows allow.
void Rectangle::choose_widest(std::int64_t rows) {
  const std::int64_t tallest = ceil_div(rows, ceil_div(rows, forms_.most_rows));
  for (widest_ = kWidths - 1; forms_.chain[tallest - 1][widest_] == nullptr;) --widest_;
}

/// For packing, which fills the last vector.
Strip Rectangle::packed_strip(std::int64_t begin) const {
  const std::int64_t rest = cols_.end - begin;
  int form = widest_;
  while (form > 0 && rest <= std::int64_t{forms_.lanes} << (form - 1)) --form;
  const std::int64_t width = std::int64_t{forms_.lanes} << form;
  return {begin, std::min(rest, width), form, width};
}

/// For reading in place: of whole vectors, or less than one.
Strip Rectangle::whole_strip(std::int64_t begin) const {
  const std::int64_t rest = cols_.end - begin;
  int form = widest_;
  while (form > 0 && rest < std::int64_t{forms_.lanes} << form) --form;
  const std::int64_t width = std::int64_t{forms_.lanes} << form;
  return {begin, std::min(rest, width), form, width};
}

Range Rectangle::panel(Range block, std::int64_t index) const {
  return part_of(block, 1, panels(block), index);
}

// ---- Operands

/// Panel by panel: panel rows r … lie at (r - block.begin) * depth, [depth, panel's rows].
float* Rectangle::pack_left(const order::FoldSegment& place, Range block) const {
  float* const packed = scratch_.left.get(block.size() * place.rows + kSpill);
  const float* const source = left_ + place.offset * p_.left.depth_stride;
  for (std::int64_t index = 0; index < panels(block); ++index) {
    const Range rows = panel(block, index);
    forms_.pack(source + rows.begin * p_.left.place_stride, p_.left.place_stride, p_.left.depth_stride,
                rows.size(), rows.size(), place.rows, packed + (rows.begin - block.begin) * place.rows);
  }
  return packed;
}

void Rectangle::pack_right(const Strip& strip, std::int64_t k, std::int64_t depth, float* target) const {
  forms_.pack(right_ + strip.begin * p_.right.place_stride + k * p_.right.depth_stride, p_.right.place_stride,
              p_.right.depth_stride, strip.cols, strip.width, depth, target);
}

// ---- Ends of chains

TileEnd Rectangle::tile_end(const Segment& segment, std::int64_t i, std::int64_t j) const {
  TileEnd end;
  if (!segment.place.closes) {
    end.out = p_.open + i * p_.cols + j;
    end.row_stride = p_.cols;
    end.col_stride = 1;
    end.stays_open = true;
    return end;
  }
  end.out = result_ + i * p_.row_stride + j * p_.col_stride;
  end.row_stride = p_.row_stride;
  end.col_stride = p_.col_stride;
  if (sums_lie_apart()) {
    float* const sums = scratch_.sums.get(0) + (i - rows_.begin) * cols_.size() + j - cols_.begin;
    end.sum = segment.first ? nullptr : sums;
    end.sum_row_stride = cols_.size();
    end.sum_col_stride = 1;
    if (!segment.last) {
      end.out = sums;
      end.row_stride = cols_.size();
      end.col_stride = 1;
    }
  } else if (p_.accumulates || !segment.first) {
    end.sum = end.out;
    end.sum_row_stride = p_.row_stride;
    end.sum_col_stride = p_.col_stride;
  }
  end.has_epilogue = segment.last && !p_.accumulates;
  end.alpha = p_.alpha;
  end.beta = p_.beta;
  end.bias = p_.bias == nullptr ? nullptr : p_.bias + i * p_.bias_row_stride + j * p_.bias_col_stride;
  end.bias_row_stride = p_.bias_row_stride;
  end.bias_col_stride = p_.bias_col_stride;
  return end;
}

void Rectangle::finish(const Segment& segment, Range rows, const Strip& strip, const float* tile) const {
  forms_.finish(tile, strip.width, rows.size(), strip.cols, tile_end(segment, rows.begin, strip.begin));
}

void Rectangle::prefetch_result(Range rows, const Strip& strip) const {
  constexpr std::int64_t kFloatsPerLine = 16;
  if (p_.col_stride != 1) return;
  for (std::int64_t i = rows.begin; i < rows.end; ++i)
    for (std::int64_t j = 0; j < strip.cols; j += kFloatsPerLine)
      __builtin_prefetch(result_ + i * p_.row_stride + strip.begin + j, 1);
}

/// The chains that a cut left open, for them to continue.
void Rectangle::load_open(const Segment& segment, Range block, const Strip& strip, float* tile) const {
  if (segment.place.opens) return;
  for (std::int64_t i = block.begin; i < block.end; ++i)
    for (std::int64_t j = 0; j < strip.width; ++j)
      tile[(i - block.begin) * strip.width + j] =
          j < strip.cols ? p_.open[i * p_.cols + strip.begin + j] : 0.0f;
}

// ---- Blocks

/// The strips of a block of rows. `packed`: all strips' right operand, or null, and each is packed when it is
/// needed.
void Rectangle::run_block(const Segment& segment, Range block, const float* packed) {
  const std::int64_t depth = segment.place.rows;
  const float* const left = pack_left(segment.place, block);
  float* const tile = scratch_.tile.get(block.size() * std::int64_t{forms_.lanes} << widest_);
  for (std::int64_t begin = cols_.begin; begin < cols_.end;) {
    const Strip strip = packed_strip(begin);
    load_open(segment, block, strip, tile);
    for (std::int64_t k = 0; k < depth; k += kDepthPerPass) {
      const std::int64_t count = std::min(kDepthPerPass, depth - k);
      const float* right = packed + (begin - cols_.begin) * depth + k * strip.width;
      if (packed == nullptr) {
        float* const here = scratch_.right.get(kDepthPerPass * strip.width + kSpill);
        pack_right(strip, segment.place.offset + k, count, here);
        right = here;
      }
      for (std::int64_t index = 0; index < panels(block); ++index) {
        const Range rows = panel(block, index);
        const std::int64_t offset = rows.begin - block.begin;
        const bool ends = k + count == depth;
        if (ends) prefetch_result(rows, strip);
        forms_.chain[rows.size() - 1][strip.form](count, left + offset * depth + k * rows.size(), rows.size(),
                                                  right, strip.width, tile + offset * strip.width,
                                                  k > 0 || !segment.place.opens);
        if (ends) finish(segment, rows, strip, tile + offset * strip.width);
      }
    }
    begin += strip.cols;
  }
}

void Rectangle::run_segment(const Segment& segment) {
  const std::int64_t depth = segment.place.rows;
  const std::int64_t blocks = ceil_div(rows_.size(), kRowsPerBlock);
  float* packed = nullptr;
  if (blocks > 1) {
    packed = scratch_.right.get((cols_.size() + (std::int64_t{forms_.lanes} << widest_)) * depth + kSpill);
    for (std::int64_t begin = cols_.begin; begin < cols_.end;) {
      const Strip strip = packed_strip(begin);
      pack_right(strip, segment.place.offset, depth, packed + (begin - cols_.begin) * depth);
      begin += strip.cols;
    }
  }
  for (std::int64_t index = 0; index < blocks; ++index)
    run_block(segment, part_of(rows_, 1, blocks, index), packed);
}

/// Few rows: the right operand is read where it lies, a few of its rows at a time from end to end, which is
/// how memory likes to be read. The tiles of all strips wait in the scratch.
void Rectangle::sweep(const Segment& segment) {
  const std::int64_t depth = segment.place.rows;
  const float* const left = pack_left(segment.place, rows_);
  float* const tiles = scratch_.tile.get(rows_.size() * (cols_.size() + forms_.lanes));
  const auto for_each_strip = [&](auto&& visit) {
    float* tile = tiles;
    for (std::int64_t begin = cols_.begin; begin < cols_.end;) {
      const Strip strip = whole_strip(begin);
      visit(strip, tile);
      begin += strip.cols;
      tile += rows_.size() * strip.width;
    }
  };
  for_each_strip([&](const Strip& strip, float* tile) { load_open(segment, rows_, strip, tile); });
  float* const rest = scratch_.right.get(kDepthPerSweep * forms_.lanes + kSpill);
  for (std::int64_t k = 0; k < depth; k += kDepthPerSweep) {
    const std::int64_t count = std::min(kDepthPerSweep, depth - k);
    for_each_strip([&](const Strip& strip, float* tile) {
      const float* right = right_ + (segment.place.offset + k) * p_.right.depth_stride + strip.begin;
      std::int64_t right_step = p_.right.depth_stride;
      if (strip.cols < strip.width) {
        pack_right(strip, segment.place.offset + k, count, rest);
        right = rest;
        right_step = strip.width;
      }
      for (std::int64_t index = 0; index < panels(rows_); ++index) {
        const Range rows = panel(rows_, index);
        const std::int64_t offset = rows.begin - rows_.begin;
        forms_.chain[rows.size() - 1][strip.form](count, left + offset * depth + k * rows.size(), rows.size(),
                                                  right, right_step, tile + offset * strip.width,
                                                  k > 0 || !segment.place.opens);
      }
    });
  }
  for_each_strip([&](const Strip& strip, float* tile) { finish(segment, rows_, strip, tile); });
}

/// A dot of nothing: the epilogue of +0.
void Rectangle::end_without_depth() {
  constexpr std::int64_t kWidth = 64;
  constexpr std::array<float, kWidth> kZeros{};
  const Segment segment{{0, 0, true, true}, true, true};
  for (std::int64_t i = rows_.begin; i < rows_.end; ++i)
    for (std::int64_t j = cols_.begin; j < cols_.end; j += kWidth)
      forms_.finish(kZeros.data(), kWidth, 1, std::min(kWidth, cols_.end - j), tile_end(segment, i, j));
}

void Rectangle::run_columns() {
  const std::int64_t segments = order::fold_segments(p_.span);
  if (segments == 0) return end_without_depth();
  if (sums_lie_apart()) scratch_.sums.get(rows_.size() * cols_.size());
  for (std::int64_t index = 0; index < segments; ++index) {
    const Segment segment{order::fold_segment(p_.span, index), index == 0, index + 1 == segments};
    right_is_swept() ? sweep(segment) : run_segment(segment);
  }
}

void Rectangle::run() {
  const Range rows = rows_, cols = cols_;
  const std::int64_t row_parts = sums_lie_apart() ? ceil_div(rows.size(), kRowsWithSums) : 1;
  const std::int64_t col_parts = ceil_div(cols.size(), kColsPerBlock);
  for (std::int64_t i = 0; i < row_parts; ++i) {
    for (std::int64_t j = 0; j < col_parts; ++j) {
      rows_ = part_of(rows, 1, row_parts, i);
      cols_ = part_of(cols, std::int64_t{forms_.lanes} * kMostVectors, col_parts, j);
      if (rows_.size() == 0 || cols_.size() == 0) continue;
      choose_widest(std::min(rows_.size(), kRowsPerBlock));
      run_columns();
    }
  }
}

// ---- Threads

/// How many rectangles a result is cut into, down and across.
struct Grid {
  std::int64_t down = 1, across = 1;
};

/// The cut whose largest rectangle takes least time, packing included.
Grid choose_grid(const Problem& p, std::int64_t threads) {
  Grid best;
  double least = -1;
  for (std::int64_t down = 1; down <= threads; ++down) {
    const std::int64_t across = threads / down;
    const auto rows = static_cast<double>(ceil_div(p.rows, down));
    const auto cols = static_cast<double>(ceil_div(ceil_div(p.cols, kSpill), across) * kSpill);
    const double cost = rows * cols + kPackingCost * (rows + cols);
    if (least < 0 || cost < least) {
      least = cost;
      best = {down, across};
    }
  }
  return best;
}

/// A last span without rows adds the open partial to the total, and any other one does nothing.
void close_without_rows(const Problem& p) {
  if (order::fold_segments(p.span) == 0) return;
  const FloatMode mode;
  TileEnd end;
  end.out = p.result;
  end.row_stride = p.row_stride;
  end.col_stride = p.col_stride;
  end.sum = p.result;
  end.sum_row_stride = p.row_stride;
  end.sum_col_stride = p.col_stride;
  forms().finish(p.open, p.cols, p.rows, p.cols, end);
}

std::int64_t useful_threads(const Problem& p) {
  const double work = static_cast<double>(p.batch) * static_cast<double>(p.rows) *
                      static_cast<double>(p.cols) * static_cast<double>(p.span.rows);
  return std::max<std::int64_t>(
      1, std::min<std::int64_t>(parallel::thread_count(), static_cast<std::int64_t>(work / kWorkPerThread)));
}

}  // namespace

void sum_cpu(const Problem& p) {
  if (p.batch == 0 || p.rows == 0 || p.cols == 0) return;
  if (p.accumulates && p.span.rows == 0) return close_without_rows(p);
  const std::int64_t threads = useful_threads(p);
  const Grid grid = p.batch >= threads ? Grid{} : choose_grid(p, ceil_div(threads, p.batch));
  const std::int64_t rectangles = grid.down * grid.across, tasks = p.batch * rectangles;
  const std::int64_t unit = forms().lanes;
  parallel::for_each_range(tasks, ceil_div(tasks, threads), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t rectangle = task % rectangles;
      Rectangle(p, task / rectangles, part_of({0, p.rows}, 1, grid.down, rectangle / grid.across),
                part_of({0, p.cols}, unit, grid.across, rectangle % grid.across))
          .run();
    }
  });
}

}  // namespace lockstep::matmul_internal
