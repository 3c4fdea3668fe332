// How a product is cut: into rectangles of the result for threads, and a rectangle into what the caches hold.
// No bit depends on it, since each element of the result stays one sequence of operations.

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include <hwy/cache_control.h>

#include "lockstep/base/ceil_div_internal.h"
#include "lockstep/base/float_mode.h"
#include "lockstep/base/scratch_internal.h"
#include "lockstep/matmul/matmul_internal.h"
#include "lockstep/matmul/tile_internal.h"
#include "lockstep/order/fold.h"
#include "lockstep/parallel/parallel.h"

namespace lockstep::matmul_internal {
namespace {

constexpr std::int64_t kFloatsPerPass = 1 << 15;    // of a strip, where each pass packs its own
constexpr std::int64_t kDepthPerSweep = 32;         // rows of an operand that are read side by side
constexpr std::int64_t kFloatsPerBlock = 96 << 10;  // of packed rows, in the second cache beside strips
constexpr std::int64_t kFloatsOnce = 200 << 10;  // up to which a strip is packed for all rows, and forgotten
constexpr std::int64_t kColsPerBlock = 1024;     // packed columns that the rows pass by
constexpr std::int64_t kRowsWithSums = 512;      // where the sums of blocks need memory of their own
constexpr std::int64_t kColsWithSums = 2048;     // columns there, and where all tiles wait
constexpr std::int64_t kRowsUnpacked = 48;       // up to which packing the right operand does not pay
constexpr std::int64_t kFloatsStreamed = 1 << 21;  // a result that will not be found in a cache
constexpr std::int64_t kFloatsPerLine = 16;
constexpr std::int64_t kFloatsPerPrefetch = 2 * kFloatsPerLine;
constexpr std::int64_t kColUnit = 128;      // columns that are never cut apart
constexpr std::int64_t kSpill = 16;         // elements that packing may write behind its end
constexpr double kWorkPerThread = 1 << 18;  // multiplications that are worth a thread's start
constexpr double kPackingCost = 10;         // multiplications in the time of packing an element

using internal::ceil_div;

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

struct ThreadScratch {
  internal::Scratch left, right, tile, sums;
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

/// A segment of the depth, and whether it is the first and the last.
struct Segment {
  order::FoldSegment place;
  bool first = false, last = false;
};

/// The memory of the next strip, which is asked for a little at a time while the tiles before it are
/// computed.
class NextStrip {
 public:
  NextStrip() = default;
  /// `runs` runs of `length` floats, `run_stride` apart, asked for in steps of `step` floats.
  NextStrip(const float* source, std::int64_t runs, std::int64_t run_stride, std::int64_t length,
            std::int64_t step)
      : run_(source), runs_(runs), run_stride_(run_stride), length_(length), step_(step) {}

  /// `places` places of an operand, `depth` deep, in the order of memory; nothing where neither is dense.
  NextStrip(const Operand& operand, std::int64_t places, std::int64_t depth) {
    if (operand.depth_stride == 1)
      *this = {operand.data, places, operand.place_stride, depth, kFloatsPerPrefetch};
    else if (operand.place_stride == 1)
      *this = {operand.data, ceil_div(places, kFloatsPerPrefetch), kFloatsPerPrefetch,
               depth * operand.depth_stride, operand.depth_stride};
  }

  /// Where a run goes on for `steps` steps or fewer; nothing at the end.
  Ahead take(std::int64_t steps) {
    if (runs_ == 0) return {};
    const Ahead here{run_ + taken_, step_};
    taken_ += steps * step_;
    if (taken_ >= length_) {
      taken_ = 0;
      run_ += run_stride_;
      --runs_;
    }
    return here;
  }

 private:
  const float* run_ = nullptr;
  std::int64_t runs_ = 0, run_stride_ = 0, length_ = 0, step_ = 0, taken_ = 0;
};

/// A rectangle of one result, computed by one thread. Its rows are cut into panels, and a panel into tiles.
class Rectangle {
 public:
  Rectangle(const Problem& problem, std::int64_t batch, Range rows, Range cols);

  void run();

 private:
  void run_segment(const Segment& segment);
  void run_block(const Segment& segment, Range panels, Range next_rows, Range cols, bool is_first,
                 float* packed);
  void run_panel(std::int64_t rows, std::int64_t depth, const float* left, const float* right,
                 std::int64_t right_step, const Strip& strip, bool continues, float* tile);
  void run_strip(const Segment& segment, Range panels, const Strip& strip, const float* left,
                 const float* packed);
  NextStrip next_strip(const order::FoldSegment& place, std::int64_t begin, Range cols, bool is_packed_next,
                       const float* packed) const;
  NextStrip source_of(const Strip& strip, const order::FoldSegment& place, std::int64_t k,
                      std::int64_t depth) const;
  NextStrip left_source(const order::FoldSegment& place, Range rows) const;
  NextStrip next_pass(const Strip& strip, const order::FoldSegment& place, std::int64_t k,
                      std::int64_t pass) const;
  void run_few(const Segment& segment);
  void run_once(const Segment& segment);
  void sweep(const Segment& segment);
  void end_without_depth();

  Strip packed_strip(std::int64_t begin, std::int64_t end) const;
  Strip whole_strip(std::int64_t begin) const;
  /// Panels differ by one row at most. No division: a panel is asked for where it takes a microsecond.
  Range panel(std::int64_t index) const { return {panel_begin(index), panel_begin(index + 1)}; }
  std::int64_t panel_begin(std::int64_t index) const {
    return rows_.begin + index * panel_rows_ + std::min(index, larger_panels_);
  }
  Range rows_of(Range panels) const { return {panel(panels.begin).begin, panel(panels.end - 1).end}; }

  const float* pack_left(const order::FoldSegment& place, Range panels);
  void pack_strip(const Strip& strip, const order::FoldSegment& place, std::int64_t k, std::int64_t depth,
                  float* target) const;
  void load_open(const Segment& segment, Range rows, const Strip& strip, float* tile) const;
  void ask_for_result(const Segment& segment, Range rows, const Strip& strip) const;
  void finish(const Segment& segment, Range rows, const Strip& strip, const float* tile) const;
  TileEnd tile_end(const Segment& segment, std::int64_t i, std::int64_t j) const;

  bool sums_lie_apart() const { return p_.beta != 0 && order::fold_segments(p_.span) > 1; }
  /// Of the highest tile that a panel of so many rows is cut into.
  std::int64_t tile_height(std::int64_t rows) const { return ceil_div(rows, ceil_div(rows, tile_rows_)); }

  const Problem& p_;
  const Forms& forms_;
  const float* left_;
  const float* right_;
  float* result_;
  Range rows_, cols_;
  bool is_swept_ = false;  ///< the right operand is read where it lies
  bool is_few_ = false;    ///< so too, though it has to be transposed
  std::int64_t tile_rows_ = 1, panels_ = 0;
  std::int64_t panel_rows_, larger_panels_;  ///< of the smaller ones; how many have one row more
  int widest_ = 0;                           ///< the form of the widest tiles that the panels allow
  NextStrip next_;
  ThreadScratch& scratch_ = thread_scratch();
};

Rectangle::Rectangle(const Problem& problem, std::int64_t batch, Range rows, Range cols)
    : p_(problem),
      forms_(forms()),
      left_(problem.left.data + batch * problem.left_batch_stride),
      right_(problem.right.data + batch * problem.right_batch_stride),
      result_(problem.result + batch * problem.result_batch_stride),
      rows_(rows),
      cols_(cols),
      is_swept_(problem.right.place_stride == 1 && rows.size() <= kRowsUnpacked),
      is_few_(!is_swept_ && problem.right.depth_stride == 1 && rows.size() <= kFewRows &&
              forms_.chain_few[rows.size() - 1] != nullptr),
      tile_rows_(is_swept_ ? forms_.tall_rows : forms_.tile_rows),
      panels_(is_few_ ? 1 : ceil_div(rows.size(), is_swept_ ? forms_.tall_rows : forms_.panel_rows)),
      panel_rows_(rows.size() / panels_),
      larger_panels_(rows.size() % panels_) {
  const std::int64_t most = ceil_div(rows.size(), panels_);
  const std::int64_t tallest = std::max(tile_height(most), tile_height(rows.size() / panels_));
  for (widest_ = is_swept_ ? kWidths - 1 : 2; forms_.chain[tallest - 1][widest_] == nullptr;) --widest_;
}

/// For packing, which fills the last vector.
Strip Rectangle::packed_strip(std::int64_t begin, std::int64_t end) const {
  const std::int64_t rest = end - begin;
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

// ---- Operands

/// Panel by panel: rows r … lie at (r - first row) * depth, [depth, panel's rows].
const float* Rectangle::pack_left(const order::FoldSegment& place, Range panels) {
  const std::int64_t first_row = panel(panels.begin).begin;
  float* const packed = scratch_.left.get(rows_of(panels).size() * place.rows + kSpill);
  // Where the panels' rows are neighbours in memory, all panels take some depth before any takes more.
  const std::int64_t step = p_.left.place_stride == 1 ? std::min(kDepthPerSweep, place.rows) : place.rows;
  for (std::int64_t k = 0; k < place.rows; k += step) {
    for (std::int64_t index = panels.begin; index < panels.end; ++index) {
      const Range rows = panel(index);
      forms_.pack(
          left_ + rows.begin * p_.left.place_stride + (place.offset + k) * p_.left.depth_stride,
          p_.left.place_stride, p_.left.depth_stride, rows.size(), rows.size(),
          std::min(step, place.rows - k), packed + (rows.begin - first_row) * place.rows + k * rows.size(),
          p_.left.place_stride == 1 ? step * p_.left.depth_stride : rows.size() * p_.left.place_stride);
    }
  }
  return packed;
}

/// Depths k … of a strip. What is asked for ahead are the next depths, or behind the last ones the next
/// strip's first.
void Rectangle::pack_strip(const Strip& strip, const order::FoldSegment& place, std::int64_t k,
                           std::int64_t depth, float* target) const {
  const std::int64_t back = k + depth < place.rows ? 0 : place.rows;
  const std::int64_t ahead =
      (depth - back) * p_.right.depth_stride + (back == 0 ? 0 : strip.width * p_.right.place_stride);
  forms_.pack(right_ + strip.begin * p_.right.place_stride + (place.offset + k) * p_.right.depth_stride,
              p_.right.place_stride, p_.right.depth_stride, strip.cols, strip.width, depth, target, ahead);
}

// ---- Ends of chains

TileEnd Rectangle::tile_end(const Segment& segment, std::int64_t i, std::int64_t j) const {
  TileEnd end;
  if (!segment.place.closes) {
    end.out = p_.open + i * p_.open_row_stride + j * p_.open_col_stride;
    end.row_stride = p_.open_row_stride;
    end.col_stride = p_.open_col_stride;
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
  end.streams = segment.last && p_.beta == 0 && p_.batch * p_.rows * p_.cols >= kFloatsStreamed;
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

/// What finish will touch, so that it does not wait for it.
void Rectangle::ask_for_result(const Segment& segment, Range rows, const Strip& strip) const {
  const TileEnd end = tile_end(segment, rows.begin, strip.begin);
  if (end.col_stride != 1 || end.streams) return;
  for (std::int64_t i = 0; i < rows.size(); ++i)
    for (std::int64_t j = 0; j < strip.cols; j += kFloatsPerLine)
      __builtin_prefetch(end.out + i * end.row_stride + j, 1, 2);
}

/// The chains that a cut left open, for them to continue.
void Rectangle::load_open(const Segment& segment, Range rows, const Strip& strip, float* tile) const {
  if (segment.place.opens) return;
  for (std::int64_t i = rows.begin; i < rows.end; ++i)
    for (std::int64_t j = 0; j < strip.width; ++j)
      tile[(i - rows.begin) * strip.width + j] =
          j < strip.cols ? p_.open[i * p_.open_row_stride + (strip.begin + j) * p_.open_col_stride] : 0.0f;
}

// ---- Blocks

/// The tiles of one strip and one panel: `left` and `right` at the depth where their chains go on.
void Rectangle::run_panel(std::int64_t rows, std::int64_t depth, const float* left, const float* right,
                          std::int64_t right_step, const Strip& strip, bool continues, float* tile) {
  const std::int64_t steps = ceil_div(depth, kDepthPerPrefetch);
  const auto run_tile = [&](std::int64_t begin, std::int64_t height) {
    forms_.chain[height - 1][strip.form](depth, left + begin, rows, right, right_step,
                                         tile + begin * strip.width, continues, next_.take(steps));
  };
  if (rows <= tile_rows_) return run_tile(0, rows);
  auto tiles = static_cast<std::uint32_t>(ceil_div(rows, tile_rows_));
  for (std::int64_t begin = 0; tiles > 0; --tiles) {
    const std::int64_t height = static_cast<std::uint32_t>(rows - begin) / tiles;
    run_tile(begin, height);
    begin += height;
  }
}

/// The tiles of a strip, whose right operand is `packed`. Chains run to their ends at once: a strip comes
/// from the second cache for each tile, which costs less than tiles that wait.
void Rectangle::run_strip(const Segment& segment, Range panels, const Strip& strip, const float* left,
                          const float* packed) {
  const std::int64_t depth = segment.place.rows, first_row = panel(panels.begin).begin;
  float* const tile = scratch_.tile.get((panel_rows_ + 1) * strip.width);
  for (std::int64_t index = panels.begin; index < panels.end; ++index) {
    const Range rows = panel(index);
    load_open(segment, rows, strip, tile);
    ask_for_result(segment, rows, strip);
    run_panel(rows.size(), depth, left + (rows.begin - first_row) * depth, packed, strip.width, strip,
              !segment.place.opens, tile);
    finish(segment, rows, strip, tile);
  }
}

/// All columns for some panels, and `next_rows` come after them. The first block of rows packs the right
/// operand, strip by strip: columns c … lie at (c - cols.begin) * depth, [depth, strip's width].
void Rectangle::run_block(const Segment& segment, Range panels, Range next_rows, Range cols, bool is_first,
                          float* packed) {
  const std::int64_t depth = segment.place.rows;
  const float* const left = pack_left(segment.place, panels);
  for (std::int64_t begin = cols.begin; begin < cols.end;) {
    const Strip strip = packed_strip(begin, cols.end);
    float* const right = packed + (begin - cols.begin) * depth;
    if (is_first) pack_strip(strip, segment.place, 0, depth, right);
    begin += strip.cols;
    next_ = begin < cols.end ? next_strip(segment.place, begin, cols, is_first, right + strip.width * depth)
                             : left_source(segment.place, next_rows);
    run_strip(segment, panels, strip, left, right);
  }
}

/// The strip at column `begin`: its source where it is still to be packed, or what was packed.
NextStrip Rectangle::next_strip(const order::FoldSegment& place, std::int64_t begin, Range cols,
                                bool is_packed_next, const float* packed) const {
  const Strip strip = packed_strip(begin, cols.end);
  if (is_packed_next) return source_of(strip, place, 0, place.rows);
  return {packed, 1, 0, strip.width * place.rows, kFloatsPerPrefetch};
}

/// Where depths k … of a strip lie in the right operand.
NextStrip Rectangle::source_of(const Strip& strip, const order::FoldSegment& place, std::int64_t k,
                               std::int64_t depth) const {
  const Operand& right = p_.right;
  return NextStrip({right_ + strip.begin * right.place_stride + (place.offset + k) * right.depth_stride,
                    right.place_stride, right.depth_stride},
                   strip.cols, depth);
}

/// Rows that pack_left takes next.
NextStrip Rectangle::left_source(const order::FoldSegment& place, Range rows) const {
  const Operand& left = p_.left;
  return NextStrip({left_ + rows.begin * left.place_stride + place.offset * left.depth_stride,
                    left.place_stride, left.depth_stride},
                   rows.size(), place.rows);
}

/// What run_once packs after depth k of a strip.
NextStrip Rectangle::next_pass(const Strip& strip, const order::FoldSegment& place, std::int64_t k,
                               std::int64_t pass) const {
  if (k < place.rows) return source_of(strip, place, k, std::min(pass, place.rows - k));
  const std::int64_t begin = strip.begin + strip.cols;
  if (begin >= cols_.end) return {};
  return source_of(packed_strip(begin, cols_.end), place, 0, std::min(pass, place.rows));
}

void Rectangle::run_segment(const Segment& segment) {
  const std::int64_t blocks = ceil_div(rows_.size() * segment.place.rows, kFloatsPerBlock),
                     col_blocks = ceil_div(cols_.size(), kColsPerBlock);
  if (is_few_) return run_few(segment);
  if (rows_.size() * segment.place.rows <= kFloatsOnce) return run_once(segment);
  const auto block = [&](std::int64_t index) { return part_of({0, panels_}, 1, blocks, index); };
  const std::int64_t widest = std::int64_t{forms_.lanes} << widest_;
  for (std::int64_t across = 0; across < col_blocks; ++across) {
    const Range cols = part_of(cols_, kColUnit, col_blocks, across);
    float* const packed = scratch_.right.get((cols.size() + widest) * segment.place.rows + kSpill);
    for (std::int64_t down = 0; down < blocks; ++down) {
      const Range next_rows = down + 1 < blocks ? rows_of(block(down + 1)) : Range{};
      run_block(segment, block(down), next_rows, cols, down == 0, packed);
    }
  }
}

/// Still fewer: nothing is packed of the right operand.
void Rectangle::run_few(const Segment& segment) {
  const std::int64_t depth = segment.place.rows, width = forms_.lanes;
  const float* const left = pack_left(segment.place, {0, panels_});
  float* const tile = scratch_.tile.get(rows_.size() * width);
  for (std::int64_t begin = cols_.begin; begin < cols_.end; begin += width) {
    const Strip strip{begin, std::min(width, cols_.end - begin), 0, width};
    const float* const right = right_ + begin * p_.right.place_stride + segment.place.offset;
    load_open(segment, rows_, strip, tile);
    forms_.chain_few[rows_.size() - 1](depth, left, right, p_.right.place_stride, strip.cols, tile,
                                       !segment.place.opens);
    finish(segment, rows_, strip, tile);
  }
}

/// Few rows: what is packed of the right operand is used at once, and never again.
void Rectangle::run_once(const Segment& segment) {
  const std::int64_t depth = segment.place.rows, widest = std::int64_t{forms_.lanes} << widest_;
  const float* const left = pack_left(segment.place, {0, panels_});
  const std::int64_t pass = std::max<std::int64_t>(1, kFloatsPerPass / widest);
  float* const right = scratch_.right.get(pass * widest + kSpill);
  float* const tiles = scratch_.tile.get(rows_.size() * widest);
  for (std::int64_t begin = cols_.begin; begin < cols_.end;) {
    const Strip strip = packed_strip(begin, cols_.end);
    load_open(segment, rows_, strip, tiles);
    for (std::int64_t k = 0; k < depth; k += pass) {
      const std::int64_t count = std::min(pass, depth - k);
      pack_strip(strip, segment.place, k, count, right);
      next_ = next_pass(strip, segment.place, k + count, pass);
      for (std::int64_t index = 0; index < panels_; ++index) {
        const Range rows = panel(index);
        const std::int64_t row = rows.begin - rows_.begin;
        run_panel(rows.size(), count, left + row * depth + k * rows.size(), right, strip.width, strip,
                  k > 0 || !segment.place.opens, tiles + row * strip.width);
      }
    }
    finish(segment, rows_, strip, tiles);
    begin += strip.cols;
  }
}

/// Few rows: the right operand is read where it lies, a few of its rows at a time from end to end, which is
/// how memory likes to be read. The tiles of all strips wait in the scratch.
void Rectangle::sweep(const Segment& segment) {
  const std::int64_t depth = segment.place.rows;
  const float* const left = pack_left(segment.place, {0, panels_});
  float* const tiles = scratch_.tile.get(rows_.size() * (cols_.size() + forms_.lanes));
  float* const rest = scratch_.right.get(kDepthPerSweep * forms_.lanes + kSpill);
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
  for (std::int64_t k = 0; k < depth; k += kDepthPerSweep) {
    const std::int64_t count = std::min(kDepthPerSweep, depth - k);
    for_each_strip([&](const Strip& strip, float* tile) {
      const float* right = right_ + (segment.place.offset + k) * p_.right.depth_stride + strip.begin;
      std::int64_t right_step = p_.right.depth_stride;
      if (strip.cols < strip.width) {
        pack_strip(strip, segment.place, k, count, rest);
        right = rest;
        right_step = strip.width;
      }
      for (std::int64_t index = 0; index < panels_; ++index) {
        const Range rows = panel(index);
        const std::int64_t row = rows.begin - rows_.begin;
        run_panel(rows.size(), count, left + row * depth + k * rows.size(), right, right_step, strip,
                  k > 0 || !segment.place.opens, tile + row * strip.width);
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
      finish(segment, {i, i + 1}, {j, std::min(kWidth, cols_.end - j), 0, kWidth}, kZeros.data());
}

void Rectangle::run() {
  const std::int64_t segments = order::fold_segments(p_.span);
  if (segments == 0) return end_without_depth();
  if (sums_lie_apart()) scratch_.sums.get(rows_.size() * cols_.size());
  for (std::int64_t index = 0; index < segments; ++index) {
    const Segment segment{order::fold_segment(p_.span, index), index == 0, index + 1 == segments};
    is_swept_ ? sweep(segment) : run_segment(segment);
  }
}

/// What one thread does of one result, cut to what its scratch may take.
void run_part(const Problem& p, std::int64_t batch, Range rows, Range cols) {
  const bool sums_lie_apart = p.beta != 0 && order::fold_segments(p.span) > 1;
  const std::int64_t down = sums_lie_apart ? ceil_div(rows.size(), kRowsWithSums) : 1;
  const bool few_rows = rows.size() <= kRowsUnpacked;  // whose tiles all wait in the scratch
  const std::int64_t across = sums_lie_apart || few_rows ? ceil_div(cols.size(), kColsWithSums) : 1;
  for (std::int64_t i = 0; i < down; ++i) {
    for (std::int64_t j = 0; j < across; ++j) {
      const Range some_rows = part_of(rows, 1, down, i), some_cols = part_of(cols, kColUnit, across, j);
      if (some_rows.size() > 0 && some_cols.size() > 0) Rectangle(p, batch, some_rows, some_cols).run();
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

void sum_rectangles(const Problem& p) {
  const std::int64_t threads = useful_threads(p);
  const Grid grid = p.batch >= threads ? Grid{} : choose_grid(p, ceil_div(threads, p.batch));
  const std::int64_t rectangles = grid.down * grid.across, tasks = p.batch * rectangles;
  const std::int64_t unit = forms().lanes;
  parallel::for_each_range(tasks, ceil_div(tasks, threads), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t rectangle = task % rectangles;
      run_part(p, task / rectangles, part_of({0, p.rows}, 1, grid.down, rectangle / grid.across),
               part_of({0, p.cols}, unit, grid.across, rectangle % grid.across));
    }
    hwy::FlushStream();  // before another thread reads what went past the caches
  });
}

}  // namespace

void sum_cpu(const Problem& p) {
  if (p.batch == 0 || p.rows == 0 || p.cols == 0) return;
  if (p.accumulates && p.span.rows == 0) return close_without_rows(p);
  // Vectors lie along a result's columns, so those should be neighbours in memory; an open partial's are.
  const bool lies_across = p.col_stride != 1 && p.row_stride == 1 && !order::needs_open_partial(p.span);
  lies_across ? sum_rectangles(transposed(p)) : sum_rectangles(p);
}

}  // namespace lockstep::matmul_internal
