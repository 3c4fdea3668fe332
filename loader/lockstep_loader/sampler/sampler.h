#pragma once
// A sampler turns the positions of an epoch into record ids. It knows nothing of workers, threads or batches'
// content.
//
// The native samplers are pure functions of (seed, epoch, position). The torch ones replay PyTorch's
// generators, so their epochs must be opened in sequence and they must be told how an epoch ended; `state`
// and `restore` carry the generators.

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace lockstep::loader {

/// The order of one epoch. Thread-safe.
class EpochOrder {
 public:
  virtual ~EpochOrder() = default;
  virtual std::int64_t size() const = 0;
  /// Record ids of positions [first, first + out.size()).
  virtual void ids(std::int64_t first, std::span<std::int64_t> out) const = 0;
};

using EpochOrderPtr = std::shared_ptr<const EpochOrder>;

/// How the loader fetches, which decides in torch order where the generator stands after an early break.
struct FetchPlan {
  std::int64_t batch_size = 1;
  bool drop_last = false;
  int workers = 0;
  int prefetch_factor = 2;  ///< per worker, as in PyTorch; without meaning at 0 workers
  bool persistent_workers = false;
};

class Sampler {
 public:
  virtual ~Sampler() = default;

  /// Positions in one epoch.
  virtual std::int64_t size() const = 0;

  /// Opens an epoch. A torch sampler draws its base seed here and must be called for the epochs in sequence;
  /// a native one takes any epoch at any time.
  virtual std::shared_ptr<const EpochOrder> begin_epoch(std::int64_t epoch, const FetchPlan& plan) = 0;

  /// Tells the sampler how the epoch ended: `batches_taken` by the consumer; `exhausted` when it also asked
  /// for the one after the last (a loop that ran to its end). A native sampler has nothing to do.
  virtual void end_epoch(std::int64_t /*batches_taken*/, bool /*exhausted*/) {}

  /// PyTorch's base seed of the epoch that is open, from which worker seeds follow; 0 in native order.
  virtual std::uint64_t base_seed() const { return 0; }

  /// True when a record may come more than once in an epoch (drawing with replacement): then occurrences are
  /// counted.
  virtual bool with_replacement() const { return false; }

  /// True when the positions are already one rank's part (torch's DistributedSampler): such a sampler goes
  /// with a loader of world size 1, whose batch size is the rank's.
  virtual bool is_one_rank() const { return false; }

  /// Bytes that restore this sampler as it was *before* the epoch that is open was begun (or as it is, when
  /// none is). Empty for a native sampler.
  virtual std::string state() const { return {}; }
  /// Throws Error(corruption or invalid_argument) for bytes of another sampler.
  virtual void restore(const std::string& bytes);

  /// What this sampler is, options and seed included, for the resume check and the recording: one line of
  /// text.
  virtual std::string describe() const = 0;
};

using SamplerPtr = std::shared_ptr<Sampler>;

}  // namespace lockstep::loader
