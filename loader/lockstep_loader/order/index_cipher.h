#pragma once
// Native order: a keyed permutation of [0, n) that is computed, not stored. Any position of any epoch costs
// the same few nanoseconds and no memory, so a run resumes at sample 10^9 as fast as at sample 0. Specified
// with golden vectors in README.md ("Index cipher"), so that it can be written again in any language.

#include <array>
#include <cstdint>
#include <span>

#include "lockstep_loader/order/streams.h"

namespace lockstep::loader {

/// A permutation of [0, size), chosen by (seed, epoch, repeat). Immutable, thread-safe, a value type of a few
/// words.
class IndexCipher {
 public:
  static constexpr int kRounds = 8;
  static constexpr std::int64_t kMaxSize = std::int64_t{1} << 62;

  /// `repeat` tells apart the permutations of one epoch, where an epoch is longer than one; `stream` those of
  /// different purposes under the same seed. Throws Error(invalid_argument) for a size outside [0, 2^62] or
  /// an epoch outside [0, 2^32).
  IndexCipher(std::int64_t size, std::uint64_t seed, std::int64_t epoch, std::uint32_t repeat = 0,
              std::uint32_t stream = kPermutationStream);

  std::int64_t size() const { return size_; }

  /// The id at `position`. Both lie in [0, size()); unchecked.
  std::int64_t id(std::int64_t position) const;

  /// The inverse: where `id` comes. Unchecked as id().
  std::int64_t position(std::int64_t id) const;

  /// Ids of positions [first, first + out.size()). Unchecked as id(). Faster than id() in a loop.
  void ids(std::int64_t first, std::span<std::int64_t> out) const;

 private:
  struct Point {
    std::uint64_t left;
    std::uint64_t right;
  };

  Point forward(Point point) const;
  Point backward(Point point) const;
  std::int64_t walk(Point point) const;
  std::int64_t value(Point point) const {
    return static_cast<std::int64_t>(point.right * columns_ + point.left);
  }

  std::int64_t size_ = 0;
  std::uint64_t columns_ = 2;  // left < columns_, always even
  std::uint64_t rows_ = 1;     // right < rows_
  std::array<std::uint64_t, kRounds> keys_{};
};

}  // namespace lockstep::loader
