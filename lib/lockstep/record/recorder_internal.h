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

struct Recorder::Impl {
  Impl(const std::filesystem::path& directory, RunInfo given, const RecorderOptions& given_options,
       const SinkMaker& make_sink);

  void begin_step(std::int64_t step, std::int64_t epoch, std::int64_t batch_index);
  void batch_part(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                  const std::vector<FieldPart>& fields);
  void loss(const std::string& name, DType dtype, std::uint64_t bits, std::string text);
  void tensor(Phase phase, const std::string& name, const ConstView& view);
  void event(const std::string& kind, const std::string& text);
  void end_step();
  void close(const char* reason);
  bool wants_tensors() const;
  void require_step(const char* call) const;
  void require_open(const char* call) const;

  RecorderOptions options;
  RunInfo info;
  std::filesystem::path file;
  std::optional<FrameLog> log;
  BatchRecord batch;  ///< names stay from step to step
  bool step_open = false;
  bool forced = false;
  bool closed = false;

 private:
  template <class Payload>
  void put(FrameType type, const Payload& payload);
  void close_batch();

  struct Held {
    FrameType type;
    std::size_t begin;
  };

  BatchBuilder builder_;
  bool batch_open_ = false;
  std::string held_bytes_;  ///< payloads that wait for the batch record, so that it comes first
  std::vector<Held> held_;
  std::int64_t last_step_ = -1;
  std::int64_t unsynced_steps_ = 0;
};

}  // namespace lockstep::record
