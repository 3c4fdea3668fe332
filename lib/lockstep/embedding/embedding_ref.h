#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. Any
// floating-point type; the whole global batch, uncut.

#include <cstdint>
#include <map>
#include <vector>

#include "lockstep/order/lanes.h"

namespace lockstep {

template <class T>
void embedding_backward_ref(const T* dy, const std::int64_t* index, std::int64_t rows, std::int64_t dim,
                            std::int64_t padding, T* total) {
  for (std::int64_t chunk = 0; chunk < rows; chunk += order::kRowsPerChunk) {
    std::map<std::int64_t, std::vector<T>> partials;
    for (std::int64_t r = chunk; r < rows && r < chunk + order::kRowsPerChunk; ++r) {
      if (index[r] == padding) continue;
      std::vector<T>& partial =
          partials.try_emplace(index[r], static_cast<std::size_t>(dim), T(0)).first->second;
      for (std::int64_t j = 0; j < dim; ++j)
        partial[static_cast<std::size_t>(j)] = partial[static_cast<std::size_t>(j)] + dy[r * dim + j];
    }
    for (const auto& [row, partial] : partials)
      for (std::int64_t j = 0; j < dim; ++j)
        total[row * dim + j] = total[row * dim + j] + partial[static_cast<std::size_t>(j)];
  }
}

}  // namespace lockstep
