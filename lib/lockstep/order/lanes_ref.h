#pragma once
// The lane contract in its most obvious form, for the references of the rooms. float or double.

#include <cstddef>
#include <vector>

namespace lockstep::order {

/// lane[j mod W] = step(lane[j mod W], j) for j = begin … end - 1, from +0; then the tree.
template <class T, class Step>
T lane_block_ref(std::size_t begin, std::size_t end, Step step) {
  const std::size_t lanes = end - begin <= 8192 ? 128 : 1024;
  std::vector<T> lane(lanes, T(0));
  for (std::size_t j = begin; j < end; ++j) lane[(j - begin) % lanes] = step(lane[(j - begin) % lanes], j);
  for (std::size_t s = lanes / 2; s >= 1; s /= 2) {
    for (std::size_t i = 0; i < s; ++i) lane[i] = lane[i] + lane[i + s];
  }
  return lane[0];
}

/// The lanes of a row: in blocks of 65,536 elements where it is longer, and then over the blocks' sums.
template <class T, class Step>
T lane_chains_ref(std::size_t n, Step step) {
  if (n <= 65536) return lane_block_ref<T>(0, n, step);
  std::vector<T> sums;
  for (std::size_t begin = 0; begin < n; begin += 65536)
    sums.push_back(lane_block_ref<T>(begin, begin + 65536 < n ? begin + 65536 : n, step));
  return lane_block_ref<T>(0, sums.size(), [&](T lane, std::size_t b) { return lane + sums[b]; });
}

}  // namespace lockstep::order
