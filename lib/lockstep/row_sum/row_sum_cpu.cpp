// Columns side by side in vectors, a few rows at a time from end to end; chunks side by side where columns
// are few.

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/row_sum/row_sum_cpu.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "lockstep/base/float_mode.h"
#include "lockstep/order/fold.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/row_sum/row_sum_internal.h"
#include "lockstep/simd/vector_internal.h"

#ifndef LOCKSTEP_ROW_SUM_ROWS
#define LOCKSTEP_ROW_SUM_ROWS
namespace lockstep::row_sum_internal {

/// Rows of the operands, and some of their columns.
struct Rows {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const float* y = nullptr;  ///< null: rows of x alone
  std::int64_t y_stride = 0;
  std::int64_t rows = 0, cols = 0;

  Rows after(std::int64_t count) const {
    return {x + count * x_stride, x_stride, y == nullptr ? y : y + count * y_stride, y_stride,
            rows - count,         cols};
  }
};

}  // namespace lockstep::row_sum_internal
#endif

HWY_BEFORE_NAMESPACE();
namespace lockstep::row_sum_internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace vectors = simd::HWY_NAMESPACE;

using D = hn::CappedTag<double, 8>;
using V = hn::Vec<D>;
using Narrow = hn::Rebind<float, D>;

struct Whole {
  HWY_INLINE V load(const float* p) const { return hn::PromoteTo(D(), hn::LoadU(Narrow(), p)); }
  HWY_INLINE V load(const double* p) const { return hn::LoadU(D(), p); }
  HWY_INLINE void store(V v, double* p) const { hn::StoreU(v, D(), p); }
};

struct Rest {
  std::size_t count;
  HWY_INLINE V load(const float* p) const {
    return hn::PromoteTo(D(), vectors::load_first(Narrow(), p, count));
  }
  HWY_INLINE V load(const double* p) const { return vectors::load_first(D(), p, count); }
  HWY_INLINE void store(V v, double* p) const { vectors::store_first(v, D(), p, count); }
};

template <bool kProduct, class Place>
HWY_INLINE V add_row(V chain, const Rows& r, std::int64_t row, std::int64_t j, Place place) {
  const V x = place.load(r.x + row * r.x_stride + j);
  if constexpr (kProduct) return vectors::fma(x, place.load(r.y + row * r.y_stride + j), chain);
  return hn::Add(chain, x);
}

/// Order: the chains of kVectors vectors of columns continue with kRows rows, ascending. The rows behind them
/// are asked for, since so many streams outrun the processor's own prefetcher.
template <int kVectors, int kRows, bool kProduct, class Place>
HWY_INLINE void add_rows(const Rows& r, std::int64_t j, double* partial, Place place) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(D()));
  if constexpr (kRows > 1) {
    for (int row = kRows; row < 2 * kRows; ++row) {
      hwy::Prefetch(r.x + row * r.x_stride + j);
      if constexpr (kProduct) hwy::Prefetch(r.y + row * r.y_stride + j);
    }
  }
  V chain[kVectors];
  for (int v = 0; v < kVectors; ++v) chain[v] = place.load(partial + j + v * lanes);
  for (int row = 0; row < kRows; ++row)
    for (int v = 0; v < kVectors; ++v) chain[v] = add_row<kProduct>(chain[v], r, row, j + v * lanes, place);
  for (int v = 0; v < kVectors; ++v) place.store(chain[v], partial + j + v * lanes);
}

template <int kRows, bool kProduct>
void add_rows_to_all(const Rows& r, double* partial) {
  constexpr int kVectorsInLine = std::min(4, 16 / static_cast<int>(hn::MaxLanes(D())));
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(D()));
  std::int64_t j = 0;
  for (; j + kVectorsInLine * lanes <= r.cols; j += kVectorsInLine * lanes)
    add_rows<kVectorsInLine, kRows, kProduct>(r, j, partial, Whole{});
  for (; j + lanes <= r.cols; j += lanes) add_rows<1, kRows, kProduct>(r, j, partial, Whole{});
  if (j < r.cols) add_rows<1, kRows, kProduct>(r, j, partial, Rest{static_cast<std::size_t>(r.cols - j)});
}

template <bool kProduct>
void continue_chains_as(Rows r, double* partial) {
  constexpr int kSideBySide = 8;
  for (; r.rows >= kSideBySide; r = r.after(kSideBySide)) add_rows_to_all<kSideBySide, kProduct>(r, partial);
  for (; r.rows > 0; r = r.after(1)) add_rows_to_all<1, kProduct>(r, partial);
}

/// kChunks whole chunks of rows that fit into kVectors vectors, the last of them not whole: their chains side
/// by side, since one alone waits for each of its adds. Order: each chunk's chain continues from +0 with its
/// rows, ascending.
template <int kVectors, int kChunks, bool kProduct>
void sum_chunks_as(const Rows& r, double* partials) {
  constexpr std::int64_t kWhole = (kVectors - 1) * static_cast<std::int64_t>(hn::MaxLanes(D()));
  const Rest rest{static_cast<std::size_t>(r.cols - kWhole)};
  V whole[kChunks], chain[kChunks];
#pragma GCC unroll 8
  for (int c = 0; c < kChunks; ++c) whole[c] = chain[c] = hn::Zero(D());
  for (std::int64_t row = 0; row < order::kRowsPerChunk; ++row) {
#pragma GCC unroll 8
    for (int c = 0; c < kChunks; ++c) {
      const std::int64_t at = c * order::kRowsPerChunk + row;
      if constexpr (kVectors > 1) whole[c] = add_row<kProduct>(whole[c], r, at, 0, Whole{});
      chain[c] = add_row<kProduct>(chain[c], r, at, kWhole, rest);
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < kChunks; ++c) {
    if constexpr (kVectors > 1) Whole{}.store(whole[c], partials + c * r.cols);
    rest.store(chain[c], partials + c * r.cols + kWhole);
  }
}

template <int kVectors, int kChunks>
std::int64_t sum_chunks(const Rows& r, double* partials) {
  r.y == nullptr ? sum_chunks_as<kVectors, kChunks, false>(r, partials)
                 : sum_chunks_as<kVectors, kChunks, true>(r, partials);
  return kChunks;
}

#if HWY_TARGET == HWY_SCALAR

constexpr std::int64_t kChunksInLanes = 0;
void sum_chunks_in_lanes(const Rows&, double*) {}

#else

// A single column: a lane is a chunk of its own, so that a vector's elements, which follow each other in a
// chunk, must change places with the chunks.

using Line = hn::CappedTag<float, 16>;
constexpr std::int64_t kChunksInLanes = static_cast<std::int64_t>(hn::MaxLanes(Line()));
constexpr std::int64_t kDepth = 16;  ///< elements of a chunk that are copied at a time: a line of the cache

/// Four elements of each of the chunks first, first + 4, first + 8, …, from a copy whose chunks lie kDepth
/// apart.
template <class Tag>
HWY_INLINE hn::Vec<Tag> quarters(Tag d, const float* copy, std::int64_t first) {
  if constexpr (hn::MaxLanes(Tag()) <= 4) {
    return hn::Load(d, copy + first * kDepth);
  } else {
    const hn::Half<Tag> half;
    constexpr auto kHalf = static_cast<std::int64_t>(hn::MaxLanes(hn::Half<Tag>()));
    return hn::Combine(d, quarters(half, copy, first + kHalf), quarters(half, copy, first));
  }
}

/// The elements of every chunk at four depths, ascending.
struct Depths {
  hn::Vec<Line> v0, v1, v2, v3;

  HWY_INLINE explicit Depths(const float* copy) {
    const Line d;
    const auto a = quarters(d, copy, 0), b = quarters(d, copy, 1), c = quarters(d, copy, 2),
               e = quarters(d, copy, 3);
    // In each block of four lanes: rows become columns.
    const auto ac_low = hn::InterleaveLower(d, a, c), be_low = hn::InterleaveLower(d, b, e);
    const auto ac_high = hn::InterleaveUpper(d, a, c), be_high = hn::InterleaveUpper(d, b, e);
    v0 = hn::InterleaveLower(d, ac_low, be_low);
    v1 = hn::InterleaveUpper(d, ac_low, be_low);
    v2 = hn::InterleaveLower(d, ac_high, be_high);
    v3 = hn::InterleaveUpper(d, ac_high, be_high);
  }
};

/// Order: each chunk's chain continues from +0 with its rows, ascending.
template <bool kProduct>
void sum_chunks_in_lanes_as(const Rows& r, double* partials) {
  const hn::Repartition<double, Line> wide;
  HWY_ALIGN float x[kChunksInLanes * kDepth];
  HWY_ALIGN float y[kChunksInLanes * kDepth];
  auto low = hn::Zero(wide), high = hn::Zero(wide);
  const auto copy = [](const float* from, std::int64_t row, float* to) HWY_ATTR {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(Line()));
    for (std::int64_t c = 0; c < kChunksInLanes; ++c)
      for (std::int64_t k = 0; k < kDepth; k += lanes)
        hn::Store(hn::LoadU(Line(), from + c * order::kRowsPerChunk + row + k), Line(), to + c * kDepth + k);
  };
  const hn::Half<Line> half;
  const auto lower = [&](hn::Vec<Line> v) HWY_ATTR { return hn::PromoteTo(wide, hn::LowerHalf(half, v)); };
  const auto upper = [&](hn::Vec<Line> v) HWY_ATTR { return hn::PromoteTo(wide, hn::UpperHalf(half, v)); };
  const auto add = [&](hn::Vec<Line> own, hn::Vec<Line> other) HWY_ATTR {
    if constexpr (kProduct) {
      low = vectors::fma(lower(own), lower(other), low);
      high = vectors::fma(upper(own), upper(other), high);
    } else {
      low = hn::Add(low, lower(own));
      high = hn::Add(high, upper(own));
    }
  };
  for (std::int64_t row = 0; row < order::kRowsPerChunk; row += kDepth) {
    copy(r.x, row, x);
    if constexpr (kProduct) copy(r.y, row, y);
    for (std::int64_t k = 0; k < kDepth; k += 4) {
      const Depths own(x + k);
      if constexpr (kProduct) {
        const Depths other(y + k);
        add(own.v0, other.v0), add(own.v1, other.v1), add(own.v2, other.v2), add(own.v3, other.v3);
      } else {
        add(own.v0, own.v0), add(own.v1, own.v1), add(own.v2, own.v2), add(own.v3, own.v3);
      }
    }
  }
  hn::StoreU(low, wide, partials);
  hn::StoreU(high, wide, partials + kChunksInLanes / 2);
}

void sum_chunks_in_lanes(const Rows& r, double* partials) {
  r.y == nullptr ? sum_chunks_in_lanes_as<false>(r, partials) : sum_chunks_in_lanes_as<true>(r, partials);
}

#endif  // HWY_TARGET == HWY_SCALAR

/// Sums the first chunks of those in `r`, whole ones from +0, to a partial each; the number of chunks that it
/// has taken: none where rows are too long.
std::int64_t sum_some_chunks(const Rows& r, double* partials) {
  const std::int64_t chunks = r.rows / order::kRowsPerChunk;
  const bool is_column = r.cols == 1 && r.x_stride == 1 && (r.y == nullptr || r.y_stride == 1);
  if (is_column && kChunksInLanes > 0 && chunks >= kChunksInLanes)
    return sum_chunks_in_lanes(r, partials), kChunksInLanes;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(D()));
  if (r.cols >= 2 * lanes || r.cols == lanes || chunks < 2) return 0;
  if (r.cols > lanes) return chunks >= 4 ? sum_chunks<2, 4>(r, partials) : sum_chunks<2, 2>(r, partials);
  if (chunks >= 8) return sum_chunks<1, 8>(r, partials);
  return chunks >= 4 ? sum_chunks<1, 4>(r, partials) : sum_chunks<1, 2>(r, partials);
}

void continue_chains(const Rows& r, double* partial) {
  r.y == nullptr ? continue_chains_as<false>(r, partial) : continue_chains_as<true>(r, partial);
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::row_sum_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::row_sum_internal {

HWY_EXPORT(continue_chains);
HWY_EXPORT(sum_some_chunks);

namespace {

constexpr std::int64_t kFloatsPerLine = 16, kDoublesPerLine = 8;
constexpr std::int64_t kTermsPerThread = 1 << 15;  // worth a thread's start
constexpr std::int64_t kPartialsOfWideRows = 1 << 16;
constexpr std::int64_t kChunksPerThread = 64;  // whose partials wait for the fold at a time

Rows rows_of(const Problem& p, const order::FoldSegment& segment, std::int64_t begin, std::int64_t end) {
  const Rows all{p.x + begin,    p.x_row_stride, p.y == nullptr ? p.y : p.y + begin,
                 p.y_row_stride, p.span.rows,    end - begin};
  Rows some = all.after(segment.offset);
  some.rows = segment.rows;
  return some;
}

/// The columns begin … end - 1 of one segment, from +0 or from what is open.
void sum_segment(const Problem& p, const order::FoldSegment& segment, std::int64_t begin, std::int64_t end,
                 double* partial) {
  if (segment.opens)
    std::fill(partial, partial + (end - begin), 0.0);
  else
    std::copy(p.open + begin, p.open + end, partial);
  LOCKSTEP_SIMD_CALL(continue_chains)(rows_of(p, segment, begin, end), partial);
}

void finish_segment(const Problem& p, const order::FoldSegment& segment, std::int64_t begin, std::int64_t end,
                    const double* partial) {
  for (std::int64_t j = begin; j < end; ++j) {
    if (segment.closes)
      p.total[j] = p.total[j] + partial[j - begin];
    else
      p.open[j] = partial[j - begin];
  }
}

/// Threads take columns.
void sum_by_columns(const Problem& p, std::int64_t columns_per_thread) {
  parallel::for_each_range(p.cols, columns_per_thread, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> partial(static_cast<std::size_t>(end - begin));
    for (std::int64_t index = 0; index < order::fold_segments(p.span); ++index) {
      const order::FoldSegment segment = order::fold_segment(p.span, index);
      sum_segment(p, segment, begin, end, partial.data());
      finish_segment(p, segment, begin, end, partial.data());
    }
  });
}

/// The segments begin … end - 1, each to a partial of its own.
void sum_segments(const Problem& p, std::int64_t begin, std::int64_t end, double* partials) {
  for (std::int64_t index = begin; index < end;) {
    const order::FoldSegment segment = order::fold_segment(p.span, index);
    std::int64_t taken = 0;
    if (segment.opens) {
      Rows rows = rows_of(p, segment, 0, p.cols);
      const order::FoldSegment last = order::fold_segment(p.span, end - 1);
      rows.rows = last.offset + last.rows - segment.offset;
      taken = LOCKSTEP_SIMD_CALL(sum_some_chunks)(rows, partials);
    }
    if (taken == 0) {
      sum_segment(p, segment, 0, p.cols, partials);
      taken = 1;
    }
    index += taken;
    partials += taken * p.cols;
  }
}

/// Threads take chunks, whose partials are then folded in their order.
void sum_by_chunks(const Problem& p, std::int64_t threads) {
  const std::int64_t segments = order::fold_segments(p.span);
  const std::int64_t each = std::min(kChunksPerThread, (segments + threads - 1) / threads);
  // Threads write theirs all the time: no line of the cache may hold partials of two.
  const std::int64_t of_a_thread = each * p.cols + kDoublesPerLine;
  std::vector<double> partials(static_cast<std::size_t>(threads * of_a_thread));
  for (std::int64_t first = 0; first < segments; first += threads * each) {
    const auto segments_of = [&](std::int64_t thread, auto work) {
      const std::int64_t begin = std::min(segments, first + thread * each);
      work(begin, std::min(segments, begin + each), partials.data() + thread * of_a_thread);
    };
    parallel::for_each_range(threads, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t thread = begin; thread < end; ++thread)
        segments_of(thread, [&](std::int64_t from, std::int64_t to, double* own) {
          if (from < to) sum_segments(p, from, to, own);
        });
    });
    const FloatMode mode;
    for (std::int64_t thread = 0; thread < threads; ++thread)
      segments_of(thread, [&](std::int64_t from, std::int64_t to, const double* own) {
        for (; from < to; ++from, own += p.cols)
          finish_segment(p, order::fold_segment(p.span, from), 0, p.cols, own);
      });
  }
}

/// A last span without rows adds the open partial to the total.
void close_without_rows(const Problem& p) {
  const FloatMode mode;
  finish_segment(p, order::fold_segment(p.span, 0), 0, p.cols, p.open);
}

}  // namespace

void sum_cpu(const Problem& p) {
  if (p.cols == 0 || order::fold_segments(p.span) == 0) return;
  if (p.span.rows == 0) return close_without_rows(p);
  const std::int64_t useful = std::max<std::int64_t>(1, p.cols * p.span.rows / kTermsPerThread);
  const std::int64_t threads = std::min<std::int64_t>(parallel::thread_count(), useful);
  const std::int64_t lines = (p.cols + kFloatsPerLine - 1) / kFloatsPerLine;
  const std::int64_t segments = order::fold_segments(p.span);
  // Whole rows follow each other in memory, which parts of them do not.
  const bool even = segments % threads == 0 && segments * p.cols <= kPartialsOfWideRows;
  if (!even && (lines >= 4 * threads || segments < 2 * threads))
    return sum_by_columns(p, (lines + threads - 1) / threads * kFloatsPerLine);
  sum_by_chunks(p, threads);
}

}  // namespace lockstep::row_sum_internal

#endif  // HWY_ONCE
