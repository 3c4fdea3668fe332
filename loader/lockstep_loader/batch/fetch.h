#pragma once
// Records into a batch: one copy, from the dataset straight into the batch's buffer, with the digest of what
// was delivered taken on the way and bad samples handled by the chosen policy.

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "lockstep_loader/batch/batch.h"
#include "lockstep_loader/batch/buffer_pool.h"
#include "lockstep_loader/batch/delivered_digest.h"
#include "lockstep_loader/batch/epoch_positions.h"
#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::loader {

/// Which rows to fetch: consecutive positions of an epoch, and where they stand in their global batch.
struct FetchRequest {
  std::int64_t epoch = 0;  ///< below 2^32
  std::int64_t index = 0;  ///< of the batch in the epoch
  std::int64_t global_samples = 0;
  std::int64_t first_sample = 0;    ///< of this rank, in the global batch
  std::int64_t first_position = 0;  ///< of this rank, in the epoch
  std::int64_t rows = 0;            ///< of this rank
};

struct Fetched {
  Batch batch;
  DeliveredDigest digest;
};

/// Thread-safe: fetch may run in any number of threads at once.
class BatchFetcher {
 public:
  /// How many records `substitute` tries after a bad one before it gives up.
  static constexpr std::int64_t kMaxSubstitutes = 1000;

  BatchFetcher(DatasetPtr dataset, std::uint64_t seed, BadSample bad_sample, std::size_t kept_buffers,
               Allocate allocate = {});

  /// Throws what the dataset throws; with BadSample::fail wrapped so that batch, position and record are
  /// named, code kept. A set `cancelled` ends the call before the next record, with an Error(internal) that
  /// nobody is meant to see.
  Fetched fetch(const FetchRequest& request, const EpochPositions& positions,
                const std::atomic<bool>& cancelled) const;

 private:
  class Filler;

  DatasetPtr dataset_;
  std::uint64_t seed_;
  BadSample bad_sample_;
  std::vector<std::size_t> field_bytes_;
  std::int64_t records_ahead_;  // distance of Dataset::prefetch
  std::int64_t rows_a_digest_;  // rows that are digested while they are still in the cache
  mutable BufferPool pool_;
};

}  // namespace lockstep::loader
