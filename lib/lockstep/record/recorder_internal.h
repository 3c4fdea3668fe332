#pragma once
// What Recorder hides. Tests hand it a sink of their own, one that fills up.

#include <functional>

#include "lockstep/record/batch_builder_internal.h"
#include "lockstep/record/frame_log_internal.h"
#include "lockstep/record/recorder.h"

namespace lockstep::record {

/// Makes the sink of a file that holds `first_bytes`; nothing when `name` is taken.
using SinkMaker = std::function<std::unique_ptr<FileSink>(
    const std::filesystem::path& directory, const std::string& name, std::string_view first_bytes)>;

struct LossValue {
  std::string name;
  DType dtype;
  std::uint64_t bits;
};

struct Recorder::Impl {
  Impl(const std::filesystem::path& directory, RunInfo given, const RecorderOptions& given_options,
       const SinkMaker& make_sink);

  void begin_step(std::int64_t step, std::int64_t epoch, std::int64_t batch_index);
  void batch_part(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                  const std::vector<FieldPart>& fields);
  void loss(const std::string& name, DType dtype, std::uint64_t bits);
  /// `make` gives the TensorSummary, and is called after all checks.
  template <class Make>
  void tensor(Phase phase, Make make);
  void event(const std::string& kind, const std::string& text);
  void end_step();
  void sync();
  void close(const char* reason);
  bool wants_tensors() const;
  /// Hands the steps that wait to the log. Comes before whatever else the log is asked for.
  void settle();

  RecorderOptions options;
  RunInfo info;
  std::filesystem::path file;
  std::optional<FrameLog> log;
  BatchRecord batch;  ///< names stay from step to step
  CallOrder order;

 private:
  struct Held {
    FrameType type;
    std::size_t begin;
  };
  /// A step of which nothing is known but totals and losses.
  struct Step {
    std::int64_t step, epoch, index;
    BatchBuilder::Totals totals;
    std::vector<LossValue> losses;
  };

  static constexpr std::size_t kMostWaiting = 64;

  template <class Payload>
  void put(FrameType type, const Payload& payload);
  template <class Payload>
  void hold(FrameType type, const Payload& payload);
  void close_batch();
  void wait();

  BatchBuilder builder_;
  bool batch_open_ = false;
  std::string held_bytes_;  ///< payloads that wait for the batch record, so that it comes first
  std::vector<Held> held_;
  std::vector<LossValue> losses_;  ///< of the open batch, after what is held
  /// Closed steps that no frame was made of yet: in a training step that code is cold, for many at once it is
  /// not.
  std::vector<Step> waiting_;
  std::size_t waiting_count_ = 0;  ///< elements behind it keep their memory for later steps
  BatchRecord waiting_record_;     ///< as above
  std::int64_t unsynced_steps_ = 0;
};

}  // namespace lockstep::record
