#pragma once
// Weights as integers, so that drawing by weight compares integers only and has the same result on every
// machine.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lockstep::loader {

/// Integer weights and their running sum. With n weights, the largest below 2^e (e minimal), a weight w
/// counts floor(w * 2^(62 - ceil(log2 n) - e)), and at least 1 when it is not 0; so the total stays below
/// 2^62. Immutable, thread-safe.
class WeightTable {
 public:
  /// Throws Error(invalid_argument) naming the first weight that is negative or not finite, or when all are
  /// zero or there is none.
  explicit WeightTable(std::span<const double> weights);

  std::int64_t size() const { return static_cast<std::int64_t>(sums_.size()); }
  std::uint64_t total() const { return sums_.back(); }

  /// The record whose part of [0, total()) holds `draw`: the first with a running sum above it. O(log n).
  std::int64_t find(std::uint64_t draw) const;

  std::span<const std::uint64_t> sums() const { return sums_; }

 private:
  std::vector<std::uint64_t> sums_;
};

/// Throws Error(invalid_argument) unless every weight is finite and not negative and at least one is
/// positive: what both orders ask of weights.
void check_weights(std::span<const double> weights);

}  // namespace lockstep::loader
