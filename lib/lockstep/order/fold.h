#pragma once
// The fold contract (contracts, section 4) as code: where a run of rows lies on the grid of chunks, and what
// that means for the partials. C++17, for host and device.

#include <cstdint>

#include "lockstep/base/host_device.h"
#include "lockstep/order/lanes.h"

namespace lockstep::order {

/// Consecutive rows of a place's global batch that one call adds to its fold. A last span may have no rows:
/// it closes the chunk that those before left open.
struct FoldSpan {
  std::int64_t first_row = 0;  ///< global index of the first
  std::int64_t rows = 0;
  bool last = true;  ///< no row follows: the chunk that is open at the end is folded too
};

/// The rows of a span that lie in one chunk.
struct FoldSegment {
  std::int64_t offset = 0;  ///< of its first row in the span
  std::int64_t rows = 0;
  bool opens = true;   ///< starts its chunk: the chain begins at +0, else it continues the open partial
  bool closes = true;  ///< ends its chunk: the partial is added to the total, else it stays open
};

/// Number of segments of a span.
LOCKSTEP_HOST_DEVICE constexpr std::int64_t fold_segments(const FoldSpan& span) {
  if (span.rows == 0) return span.last && span.first_row % kRowsPerChunk != 0 ? 1 : 0;
  return (span.first_row + span.rows - 1) / kRowsPerChunk - span.first_row / kRowsPerChunk + 1;
}

/// Whether a span leaves a partial open, or continues one: only then is memory for it needed.
LOCKSTEP_HOST_DEVICE constexpr bool needs_open_partial(const FoldSpan& span) {
  return fold_segments(span) > 0 && (span.first_row % kRowsPerChunk != 0 ||
                                     (!span.last && (span.first_row + span.rows) % kRowsPerChunk != 0));
}

/// Segment `index` of a span, 0 … fold_segments(span) - 1.
LOCKSTEP_HOST_DEVICE constexpr FoldSegment fold_segment(const FoldSpan& span, std::int64_t index) {
  const std::int64_t chunk = span.first_row / kRowsPerChunk + index;
  const std::int64_t end_of_span = span.first_row + span.rows;
  const std::int64_t begin = index == 0 ? span.first_row : chunk * kRowsPerChunk;
  const std::int64_t end_of_chunk = (chunk + 1) * kRowsPerChunk;
  const std::int64_t end = end_of_chunk < end_of_span ? end_of_chunk : end_of_span;
  return {begin - span.first_row, end - begin, begin == chunk * kRowsPerChunk,
          end == end_of_chunk || (span.last && end == end_of_span)};
}

/// Folds term(0) … term(rows - 1) of one element into its total, with `step(partial, row)` giving the partial
/// after that row of the span. `open` is not touched where needs_open_partial(span) is false.
template <class T, class Step>
LOCKSTEP_HOST_DEVICE inline void fold_rows(const FoldSpan& span, T& total, T* open, Step step) {
  for (std::int64_t index = 0; index < fold_segments(span); ++index) {
    const FoldSegment segment = fold_segment(span, index);
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): set where needs_open_partial(span)
    T partial = segment.opens ? T(0) : *open;
    for (std::int64_t row = segment.offset; row < segment.offset + segment.rows; ++row)
      partial = step(partial, row);
    if (segment.closes)
      total = total + partial;
    else
      *open = partial;  // NOLINT(clang-analyzer-core.NullDereference): as above
  }
}

}  // namespace lockstep::order
