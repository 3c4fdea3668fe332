#pragma once
// A trainer's checkpoint: model, optimizer, loader, generator and counters, so that a run goes on as if it
// had never stopped, at any number of workers.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "common/task.h"
#include "lockstep/state/durable_file.h"
#include "lockstep_loader/prefetch/loader.h"

namespace lockstep::trainers {

/// Sums over the samples of the open epoch, for its line at the end.
struct EpochTotals {
  double loss = 0;  ///< of mean loss times samples, added step by step
  std::int64_t samples = 0;
  std::int64_t correct = -1;  ///< -1: the task does not count

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& loss& samples& correct;
  }
};

/// Persisted in the part "trainer": append with a new version, never reorder.
struct TrainerState {
  std::uint32_t version = 1;
  std::string program;
  std::string run_id;  ///< empty when the run was not recorded
  std::int64_t started_ns = 0;
  std::int32_t segment = 0;
  std::int64_t next_step = 0;
  std::int64_t epoch = 0;
  EpochTotals totals;
  std::map<std::string, std::string> semantic;

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& version& program& run_id& started_ns& segment& next_step& epoch& totals& semantic;
  }
};

/// Parts: trainer, loader, model, optimizer (where there is one), generator.
state::Checkpoint make_checkpoint(const TrainerState& trainer, const loader::Loader& loader, Task& task);

/// A copy in `directory`/kept, never removed, with the part "gradients" (of the last step, in registration
/// order).
void keep_checkpoint(const std::filesystem::path& directory, state::Checkpoint checkpoint, Task& task);

/// Puts loader and task back to where `checkpoint` was taken. Throws Error(invalid_argument) naming what
/// changed: program, dataset, loader options, or a setting of `semantic` (the number of epochs may change).
TrainerState restore_checkpoint(const state::Checkpoint& checkpoint, const std::string& program,
                                const std::map<std::string, std::string>& semantic, loader::Loader& loader,
                                Task& task);

}  // namespace lockstep::trainers
