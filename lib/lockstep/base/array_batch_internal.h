#pragma once
// For .cu files: one launch for a list of arrays, which is the kernel's argument.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "lockstep/base/ceil_div_internal.h"

namespace lockstep::internal {

/// Arrays of one launch: array i has the blocks first_block[i] … first_block[i + 1] - 1.
template <class Array>
struct ArrayBatch {
  // A kernel takes 4,096 bytes of arguments, of which others than the list get 256.
  static constexpr int kMostArrays =
      std::min<int>(64, (4096 - 256) / static_cast<int>(sizeof(Array) + sizeof(unsigned)));

  Array arrays[kMostArrays];
  unsigned first_block[kMostArrays + 1];
  int count = 0;

  __device__ int array_of(unsigned block) const {
    int low = 0;
    for (int high = count; high - low > 1;) {
      const int middle = (low + high) / 2;
      (first_block[middle] <= block ? low : high) = middle;
    }
    return low;
  }
};

/// Calls launch(batch, blocks) for lists of arrays that together are all, in order; array a has blocks_of(a)
/// blocks.
template <class Array, class BlocksOf, class Launch>
void for_each_batch(const Array* arrays, std::size_t count, BlocksOf blocks_of, Launch launch) {
  constexpr std::size_t kMost = ArrayBatch<Array>::kMostArrays;
  for (std::size_t first = 0; first < count; first += kMost) {
    ArrayBatch<Array> batch;
    batch.count = static_cast<int>(std::min(kMost, count - first));
    batch.first_block[0] = 0;
    for (int i = 0; i < batch.count; ++i) {
      batch.arrays[i] = arrays[first + static_cast<std::size_t>(i)];
      batch.first_block[i + 1] = batch.first_block[i] + static_cast<unsigned>(blocks_of(batch.arrays[i]));
    }
    launch(batch, batch.first_block[batch.count]);
  }
}

}  // namespace lockstep::internal
