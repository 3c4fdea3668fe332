#pragma once
// For the tests of folds: how a batch is cut.

#include <cstdint>
#include <vector>

namespace lockstep {

/// Where pieces of `size` of `count` rows or samples end: size, 2 * size, …, count.
inline std::vector<std::int64_t> ends_of_pieces(std::int64_t count, std::int64_t size) {
  std::vector<std::int64_t> ends;
  for (std::int64_t end = size; end < count; end += size) ends.push_back(end);
  ends.push_back(count);
  return ends;
}

}  // namespace lockstep
