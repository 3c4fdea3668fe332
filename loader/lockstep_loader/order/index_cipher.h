#pragma once
// Native order: a keyed permutation of [0, n) that is computed, not stored. Any position of any epoch costs
// the same few nanoseconds and no memory, so a run resumes at sample 10^9 as fast as at sample 0. Specified
// with golden vectors in README.md ("Index cipher"), so that it can be written again in any language.

#include <array>
#include <cstdint>
#include <span>

#include "lockstep_loader/order/streams.h"

namespace lockstep::loader {

/// A permutation of [0, size), chosen by (seed, epoch, repeat, stream). Immutable, thread-safe, a value type
/// of some two hundred bytes.
class IndexCipher {
 public:
  static constexpr std::int64_t kMaxSize = std::int64_t{1} << 62;
  static constexpr std::int64_t kSmallSize = 4096;  ///< below it kSmallRounds, else kRounds
  static constexpr int kRounds = 8;
  static constexpr int kSmallRounds = 24;

  /// `repeat` tells apart the permutations of one epoch, where an epoch is longer than one; `stream` those of
  /// different purposes under the same seed. Throws Error(invalid_argument) for a size outside [0, 2^62] or
  /// an epoch outside [0, 2^32).
  IndexCipher(std::int64_t size, std::uint64_t seed, std::int64_t epoch, std::uint32_t repeat = 0,
              std::uint32_t stream = kPermutationStream);

  std::int64_t size() const { return static_cast<std::int64_t>(size_); }

  /// The id at `position`. Both lie in [0, size()); unchecked.
  std::int64_t id(std::int64_t position) const;

  /// The inverse: where `id` comes. Unchecked as id().
  std::int64_t position(std::int64_t id) const;

  /// Ids of positions [first, first + out.size()). Unchecked as id(). Several times faster than id() in a
  /// loop.
  void ids(std::int64_t first, std::span<std::int64_t> out) const;

 private:
  /// A cell of the grid: column < columns_, row < rows_, value row * columns_ + column.
  struct Cell {
    std::uint32_t column;
    std::uint32_t row;
  };
  struct RoundKey {
    std::uint32_t before;
    std::uint32_t between;
  };

  Cell cell(std::uint64_t value) const;
  std::uint64_t value(Cell cell) const { return std::uint64_t{cell.row} * columns_ + cell.column; }
  Cell forward(Cell cell) const;
  Cell backward(Cell cell) const;
  static std::uint32_t draw_below(std::uint32_t half, RoundKey key, std::uint32_t bound);
  void ids_body(std::int64_t first, std::span<std::int64_t> out) const;
  void ids_avx2(std::int64_t first, std::span<std::int64_t> out) const;

  std::uint64_t size_ = 0;
  std::uint32_t columns_ = 2;  // always even
  std::uint32_t rows_ = 1;
  std::uint32_t rounds_ = kRounds;
  std::array<RoundKey, kSmallRounds> keys_{};
};

}  // namespace lockstep::loader
