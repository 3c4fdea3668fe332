#pragma once
// The loader: dataset, sampler and batch plan put together, with worker threads that fetch ahead and a
// sequencer that delivers in order. What a batch holds is a pure function of (dataset, sampler, batch size,
// epoch, index, rank, world); the number of workers and the prefetch depth change nothing but speed.
// Thread-safety: one consumer thread a Loader.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "lockstep_loader/batch/batch.h"
#include "lockstep_loader/batch/buffer_pool.h"
#include "lockstep_loader/batch/delivered_digest.h"
#include "lockstep_loader/dataset/dataset.h"
#include "lockstep_loader/sampler/sampler.h"
#include "lockstep_loader/state/loader_state.h"

namespace lockstep::loader {

/// torch's DistributedSampler keeps torch's own rule: it is one rank's part already, so it takes world_size 1
/// here and the batch size of one rank. Its positions, and so its digests, are the rank's own and do not
/// merge over ranks.
struct LoaderOptions {
  std::int64_t batch_size = 1;  ///< samples of the global batch, all ranks together
  LastBatch last = LastBatch::keep;
  BadSample bad_sample = BadSample::fail;
  int rank = 0;        ///< this loader's part of each global batch: consecutive rows, rank by rank
  int world_size = 1;  ///< must divide batch_size
  int workers = 0;     ///< threads; 0 fetches in next()
  int prefetch_factor = 2;
  bool persistent_workers = false;  ///< decides only torch order's base seeds, threads always persist
  std::uint64_t seed = 0;           ///< key of the per-record generators
  bool in_order = true;             ///< false is refused: arrival order depends on timing
  bool verify_restored =
      false;               ///< after restore(), begin() reads again what was delivered and checks its digest
  Allocate allocate = {};  ///< of batches' memory, from any thread; by default the heap
};

class Loader {
 public:
  /// Throws Error(invalid_argument) for options that cannot work (batch size 0, more ranks than samples in a
  /// batch, …).
  Loader(DatasetPtr dataset, SamplerPtr sampler, LoaderOptions options);
  ~Loader();
  Loader(Loader&&) noexcept;
  Loader& operator=(Loader&&) noexcept;

  std::int64_t batches_per_epoch() const;
  const LoaderOptions& options() const;

  /// Opens an epoch. Legal at any time: an epoch that is open is broken off first. After restore(), the first
  /// begin() must name the restored epoch and goes on after the last delivered batch. Native order takes any
  /// epoch from 0 below 2^32; torch order takes them in sequence. Throws Error(invalid_argument) for an epoch
  /// that cannot be opened.
  void begin(std::int64_t epoch);

  /// The next batch, or nothing when the epoch has ended. What a worker threw is thrown here at that batch's
  /// place; the epoch then goes on with the batch after it, and a state() saved in between takes up with the
  /// one that failed.
  std::optional<Batch> next();

  /// The batch that next() will return, without delivering it: no state or digest moves. Null where next()
  /// will return nothing or throw. Waits for a batch that is still being fetched. Valid until the next call
  /// of next(), begin() or restore(), unless its memory is held by its `storage`.
  const Batch* peek();

  /// What was delivered so far, never what was prefetched: a few hundred bytes (plus 5,056 a generator in
  /// torch order). After the end of epoch e it stands at batch 0 of epoch e + 1.
  LoaderState state() const;
  /// Throws Error(invalid_argument) naming what changed when dataset, sampler, seed, batch size, last-batch
  /// or bad-sample policy differ from the state's; workers, prefetch depth and world size may differ. O(1) in
  /// native order. An epoch that is open is dropped. Digests go on where rank and world size are the same or
  /// the state is of the whole (merge_ranks; rank 0 carries it), and start anew otherwise.
  void restore(const LoaderState& state);

  /// Digest of what the epoch that was opened last has delivered to this rank; kept after its end.
  const DeliveredDigest& delivered() const;

  /// Counts since construction, by policy, for the report at the end of a run.
  std::int64_t skipped() const;
  std::int64_t substituted() const;

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace lockstep::loader
