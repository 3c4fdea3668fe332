#pragma once
// Writes one recording: one append-only file for one rank of one run.
// Thread-safety: one thread at a time. The torch room wraps it for tensors and modules.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lockstep/base/view.h"
#include "lockstep/record/call_order.h"
#include "lockstep/record/model.h"

namespace lockstep::record {

/// When the disk refuses: stop throws Error(io) at the call that met it; go_on closes the file as far as it
/// came, keeps everything on disk readable, drops the rest and tells by `failure()`.
enum class OnDiskError : std::uint8_t { stop = 0, go_on = 1 };

struct RecorderOptions {
  std::int64_t full_batches = 5;  ///< the first N steps of the run: statistics, ids and small fields in full
  std::int64_t values_limit_bytes = 4096;  ///< a field of a full batch keeps its values up to this size
  std::int64_t tensors_every = 100;        ///< gradients and parameters every N steps; 0: never; 1: always
  bool tensor_values = false;              ///< with every recorded tensor, its elements
  bool tensor_statistics = true;           ///< with every recorded tensor, its statistics (norm included)
  /// Hands steps to the system in one write when the last one is this long ago, so that short steps do not
  /// pay a system call each; a process that is killed loses the steps since. 0: every step. An exception does
  /// not lose any, and sync() and close() write at once.
  std::int64_t write_every_ms = 100;
  /// fsync every N steps, stretched so that syncing takes at most 0.1 % of the time; 0: only in sync() and
  /// close().
  std::int64_t sync_every = 100;
  OnDiskError on_disk_error = OnDiskError::stop;
};

class Recorder {
 public:
  /// Creates `directory` if needed and in it the file
  /// `<started, UTC, yyyymmddThhmmss>-<first 8 of run id>-r<rank>-s<segment>.lsr`. Empty run_id, started_ns,
  /// segment_started_ns, program and command_line are filled in, environment() is added to `info.environment`
  /// (entries that are there stay), and `info.policy` becomes `options`. When the file of segment 1 or later
  /// exists, the next free segment is taken: info() tells. Throws Error(io) when the folder is not writable,
  /// Error(invalid_argument) for a run_id that is not 32 lower-case hex digits and for a segment 0 that
  /// exists. When this returns, the file and its run frame are on the disk.
  Recorder(const std::filesystem::path& directory, RunInfo info, RecorderOptions options = {});
  ~Recorder();  ///< closes with reason "interrupted" if close() was not called; never throws
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  const std::filesystem::path& file() const;
  const RunInfo& info() const;

  /// Opens a step. Steps ascend. Throws Error(invalid_argument) otherwise, or when a step is open.
  void begin_step(std::int64_t step, std::int64_t epoch, std::int64_t batch_index);
  /// One micro-batch of the step's global batch, in ascending, gapless order of `first_sample`. The recorded
  /// digests and statistics do not depend on how the global batch is cut. The views are read before the call
  /// returns; their first axis is the sample, one an id. Name, order, dtype and sample shape of fields must
  /// not change inside a step. Comes before the step's first gradient, optimizer state or parameter. Throws
  /// Error(invalid_argument, unsupported); then nothing was merged.
  void batch_part(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                  const std::vector<FieldPart>& fields);
  /// Dataset name and variant of a field, for the report: from the open step on, until it is named anew.
  void name_field(const std::string& field, const std::string& dataset_and_variant);
  void loss(const std::string& name, float value);
  void loss(const std::string& name, double value);
  /// True when gradients and parameters of the open step are to be recorded: step % tensors_every == 0, or
  /// force_tensors(). Ask before copying from a device.
  bool wants_tensors() const;
  /// From now to the end of this step wants_tensors() is true: a checkpoint is about to be written.
  void force_tensors();
  /// Records a CPU tensor under a name, whatever wants_tensors() says; gradients, optimizer state and
  /// parameters in registration order. Phases: named, gradient, optimizer, parameter.
  void tensor(Phase phase, const std::string& name, const ConstView& tensor);
  /// The same, of what summary() or a GPU found of the tensor.
  void tensor(Phase phase, TensorSummary summary);
  /// What `options` keep of a CPU tensor.
  static TensorSummary summary(const std::string& name, const ConstView& tensor,
                               const RecorderOptions& options);
  /// Between steps too: it then belongs to the step before.
  void event(const std::string& kind, const std::string& text);
  /// Ends the step: its frames go to the system within write_every_ms of steps, to the disk every sync_every.
  void end_step();
  /// fsync now: call it before a checkpoint is written, so that a resume never knows more than the recording.
  void sync();
  /// Ends the file: end record, fsync. Further calls are errors.
  void close();
  /// The message of the disk error after which recording stopped with OnDiskError::go_on; empty while all is
  /// well.
  const std::string& failure() const;

  struct Impl;
  explicit Recorder(std::unique_ptr<Impl> impl);  ///< over another sink than a file: tests

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace lockstep::record
