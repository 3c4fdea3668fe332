#pragma once
// Arithmetic of batches: the global batch is defined first, then cut for the ranks, so that the union over
// the ranks is the same at every world size.

#include <cstdint>
#include <span>

#include "lockstep_loader/batch/batch.h"
#include "lockstep_loader/sampler/sampler.h"

namespace lockstep::loader {

/// One rank's part of a global batch: positions first, first + 1, … (modulo the epoch's positions, see wrap).
struct BatchRange {
  std::int64_t first = 0;  ///< position in the epoch of this rank's first sample, below the epoch's positions
  std::int64_t count = 0;  ///< samples of this rank
  std::int64_t global_samples = 0;  ///< samples of the global batch, all ranks together
  std::int64_t first_sample = 0;    ///< this rank's first sample within the global batch
  bool operator==(const BatchRange&) const = default;
};

/// How the positions of an epoch are cut into batches. A value type; all of it is O(1) arithmetic.
///   keep: the last batch is as short as the epoch leaves it.
///   drop: a short last batch is left out.
///   wrap: a short last batch is filled from the epoch's beginning, as often around as it takes.
/// A global batch of g samples gives rank r of w its samples [floor(r·g/w), floor((r+1)·g/w)): equal parts of
/// a full batch, parts that differ by at most one of a short one.
struct BatchPlan {
  std::int64_t positions = 0;
  std::int64_t batch_size = 1;  ///< of the global batch
  LastBatch last = LastBatch::keep;
  int rank = 0;
  int world_size = 1;

  /// Throws Error(invalid_argument) for a batch size below 1, negative positions, a rank outside [0,
  /// world_size), or a world size that does not divide the batch size.
  void check() const;

  std::int64_t batches() const;
  /// Samples that one epoch delivers, all ranks together.
  std::int64_t samples() const;
  /// This rank's part of batch `batch`, 0 ≤ batch < batches().
  BatchRange range(std::int64_t batch) const;
  /// Record ids of a range: out.size() == range.count.
  void ids(const EpochOrder& order, const BatchRange& range, std::span<std::int64_t> out) const;
};

}  // namespace lockstep::loader
