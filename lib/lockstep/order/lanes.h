#pragma once
// The lane contract (contracts, section 5) as code: how a row of values becomes one value, in one fixed
// order. C++17, for host and device.

#include <cstdint>

#include "lockstep/base/host_device.h"

namespace lockstep::order {

/// Rows of one chunk of a fold (contracts, section 4).
constexpr std::int64_t kRowsPerChunk = 1024;

/// Longest row that is reduced with kFewLanes lanes.
constexpr std::int64_t kShortRow = 8192;
constexpr int kFewLanes = 128;
constexpr int kManyLanes = 1024;

/// Elements of a block: a longer row is reduced block by block, so that no lane's chain has more than 64
/// terms, and the blocks' results, as a row of their own, once more.
constexpr std::int64_t kElementsPerBlock = 65536;

/// Number of blocks of a row of `n` elements.
LOCKSTEP_HOST_DEVICE constexpr std::int64_t lane_blocks(std::int64_t n) {
  return (n + kElementsPerBlock - 1) / kElementsPerBlock;
}

/// The number of lanes for a row, or a block, of `n` elements; depends on n alone.
LOCKSTEP_HOST_DEVICE constexpr int lane_count(std::int64_t n) {
  return n <= kShortRow ? kFewLanes : kManyLanes;
}

/// The tree over the first `filled` of `lanes` lanes (a power of two), the others holding `combine`'s
/// identity: lane[i] takes lane[i + s] for s = lanes / 2 … 1. The result is left in lane[0], which the caller
/// set even where filled is 0.
template <class T, class Combine>
LOCKSTEP_HOST_DEVICE inline void lane_tree(T* lane, int lanes, int filled, Combine combine) {
  for (int s = lanes / 2; s > 0; s /= 2) {
    const int paired = filled - s < s ? filled - s : s;  // the others meet only the identity
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): the filled lanes are set
    for (int i = 0; i < paired; ++i) lane[i] = combine(lane[i], lane[i + s]);
    filled = filled < s ? filled : s;
  }
}

/// Reduces term(0) … term(n - 1) of one block: element j joins lane j mod W as combine(lane, term), ascending
/// in j, from `identity`; then the tree, which lanes without elements enter at its end: to a sum they make a
/// difference where every chain ended with -0, as one of fma may.
template <class T, class Term, class Combine>
LOCKSTEP_HOST_DEVICE inline T lane_reduce_block(std::int64_t n, T identity, Term term, Combine combine) {
  T lane[kManyLanes];
  const int lanes = lane_count(n);
  const int filled = n < lanes ? static_cast<int>(n) : lanes;
  lane[0] = identity;
  for (int i = 0; i < filled; ++i) lane[i] = combine(identity, term(static_cast<std::int64_t>(i)));
  for (std::int64_t base = lanes; base < n; base += lanes) {
    const int width = n - base < lanes ? static_cast<int>(n - base) : lanes;
    for (int i = 0; i < width; ++i) lane[i] = combine(lane[i], term(base + i));
  }
  lane_tree(lane, lanes, filled, combine);
  return filled < lanes ? combine(lane[0], identity) : lane[0];
}

/// Reduces term(0) … term(n - 1): a block alone; of more than one the results, like a block of their own.
/// combine(identity, x) must give x (an add from +0 turns -0 into +0, once, which the tree then keeps).
template <class T, class Term, class Combine>
LOCKSTEP_HOST_DEVICE inline T lane_reduce(std::int64_t n, T identity, Term term, Combine combine) {
  if (n <= kElementsPerBlock) return lane_reduce_block(n, identity, term, combine);
  const auto block = [&](std::int64_t b) {
    const std::int64_t begin = b * kElementsPerBlock, rest = n - begin;
    return lane_reduce_block(
        rest < kElementsPerBlock ? rest : kElementsPerBlock, identity,
        [&](std::int64_t j) { return term(begin + j); }, combine);
  };
  return lane_reduce_block(lane_blocks(n), identity, block, combine);
}

/// lane_reduce with an ordinary rounded add from +0. T is float or double.
template <class T, class Term>
LOCKSTEP_HOST_DEVICE inline T lane_sum(std::int64_t n, Term term) {
  return lane_reduce(n, T(0), term, [](T a, T b) { return a + b; });
}

}  // namespace lockstep::order
