#pragma once
// Native order: each id is a pure function of (seed, epoch, position). Any epoch may be opened at any time
// and read at any position at once; nothing is stored per epoch. The rules are specified in README.md and in
// the order room's.

#include <cstdint>
#include <optional>
#include <vector>

#include "lockstep_loader/sampler/sampler.h"

namespace lockstep::loader {

/// Record ids 0, 1, … records-1. Throws Error(invalid_argument) for a negative count.
SamplerPtr native_sequential(std::int64_t records);

struct NativeRandomOptions {
  std::int64_t records = 0;
  std::uint64_t seed = 0;
  bool replacement = false;
  /// Positions in an epoch; as many as there are records when not given. Without replacement an epoch longer
  /// than the dataset goes through one permutation after the other, a shorter one takes the first positions
  /// of one.
  std::optional<std::int64_t> samples;
};

/// Throws Error(invalid_argument) for negative counts, or samples wanted from no records.
SamplerPtr native_random(const NativeRandomOptions& options);

struct NativeWeightedOptions {
  std::vector<double> weights;  ///< one a record; finite, none negative, not all zero
  std::uint64_t seed = 0;
  std::optional<std::int64_t> samples;  ///< as many as there are weights when not given
};

/// Draws with replacement, each record with a probability proportional to its weight. Weights become integers
/// (README), so a draw compares integers only. A record of weight 0 never comes. Throws
/// Error(invalid_argument) naming the weight that cannot be used.
SamplerPtr native_weighted(const NativeWeightedOptions& options);

struct NativeSubsetOptions {
  std::vector<std::int64_t> indices;  ///< record ids, any number of times each
  std::uint64_t seed = 0;
  bool shuffle = true;
};

/// Throws Error(invalid_argument) for a negative index.
SamplerPtr native_subset(const NativeSubsetOptions& options);

}  // namespace lockstep::loader
