#pragma once
// The training loop that all trainers share: batches in order, micro-batches, recording, checkpoints, resume,
// signals.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "common/options.h"
#include "common/setup.h"

namespace lockstep::trainers {

class Task;

struct TrainingResult {
  std::int64_t steps = 0;           ///< of the whole run, resumed parts included
  int signal = 0;                   ///< the signal that ended it early; 0: it ran to its end
  std::optional<double> last_loss;  ///< mean over the last epoch that was begun
  std::optional<double> last_accuracy;
  std::int64_t skipped = 0, substituted = 0;  ///< bad samples, in this process
  std::filesystem::path recording;            ///< empty when nothing was recorded
  std::string recording_failure;              ///< why recording stopped, with --on-disk-error go-on
};

/// A run that is taken step by step. Prints one line an epoch on stdout (unless json or quiet), progress and
/// notices on stderr. `task`, `setup` and `options` must outlive it.
class Training {
 public:
  /// Resumes where that was asked for, and opens the recording.
  Training(Task& task, const TrainingSetup& setup, const TrainingOptions& options);
  ~Training();
  Training(const Training&) = delete;
  Training& operator=(const Training&) = delete;

  /// One optimizer step. False when the run has ended: the last epoch, max_steps or a signal.
  bool step();
  /// Steps of the whole run so far, resumed parts included.
  std::int64_t steps() const;
  /// Closes the recording.
  TrainingResult finish();

  struct Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

/// All of it: every step, then finish().
TrainingResult train(Task& task, const TrainingSetup& setup, const TrainingOptions& options);

}  // namespace lockstep::trainers
