#pragma once
// The lane contract in its most obvious form, for the references of the rooms. float or double.

#include <cstddef>
#include <vector>

namespace lockstep::order {

/// lane[j mod W] = step(lane[j mod W], j) for j = 0 … n - 1, from +0; then the tree.
template <class T, class Step>
T lane_chains_ref(std::size_t n, Step step) {
  const std::size_t lanes = n <= 8192 ? 128 : 1024;
  std::vector<T> lane(lanes, T(0));
  for (std::size_t j = 0; j < n; ++j) lane[j % lanes] = step(lane[j % lanes], j);
  for (std::size_t s = lanes / 2; s >= 1; s /= 2) {
    for (std::size_t i = 0; i < s; ++i) lane[i] = lane[i] + lane[i + s];
  }
  return lane[0];
}

}  // namespace lockstep::order
