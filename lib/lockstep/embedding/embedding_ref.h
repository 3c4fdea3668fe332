#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. Any
// floating-point type.

#include <cstdint>
#include <map>
#include <vector>

#include "lockstep/order/fold.h"

namespace lockstep {

/// `open` holds the partials of the table rows that the chunk of a cut has hit: continued, and left.
template <class T>
void embedding_backward_ref(const T* dy, const std::int64_t* index, const order::FoldSpan& span,
                            std::int64_t dim, std::int64_t padding, T* total,
                            std::map<std::int64_t, std::vector<T>>& open) {
  for (std::int64_t i = 0; i < order::fold_segments(span); ++i) {
    const order::FoldSegment segment = order::fold_segment(span, i);
    if (segment.opens) open.clear();
    for (std::int64_t r = segment.offset; r < segment.offset + segment.rows; ++r) {
      if (index[r] == padding) continue;
      std::vector<T>& partial = open.try_emplace(index[r], static_cast<std::size_t>(dim), T(0)).first->second;
      for (std::int64_t j = 0; j < dim; ++j)
        partial[static_cast<std::size_t>(j)] = partial[static_cast<std::size_t>(j)] + dy[r * dim + j];
    }
    if (!segment.closes) continue;
    for (const auto& [row, partial] : open)
      for (std::int64_t j = 0; j < dim; ++j)
        total[row * dim + j] = total[row * dim + j] + partial[static_cast<std::size_t>(j)];
    open.clear();
  }
}

/// The whole global batch, uncut.
template <class T>
void embedding_backward_ref(const T* dy, const std::int64_t* index, std::int64_t rows, std::int64_t dim,
                            std::int64_t padding, T* total) {
  std::map<std::int64_t, std::vector<T>> open;
  embedding_backward_ref(dy, index, order::FoldSpan{0, rows, true}, dim, padding, total, open);
}

}  // namespace lockstep
