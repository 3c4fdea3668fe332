#pragma once
// Frames on their way to the disk: numbered, sealed, collected, written in whole pieces, and what happens
// when the disk refuses.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "lockstep/base/error.h"
#include "lockstep/record/file_sink_internal.h"
#include "lockstep/record/format_internal.h"
#include "lockstep/record/recorder.h"

namespace lockstep::record {

class FrameLog {
 public:
  static constexpr std::size_t kWriteAtBytes = 64 * 1024;

  /// `beginning` is what create() put into the file: header and run frame.
  FrameLog(std::unique_ptr<FileSink> sink, std::filesystem::path file, const Identity& identity,
           OnDiskError policy, const std::string& beginning);

  /// Adds one frame; what exceeds kWriteAtBytes is written out. After a failure: nothing (go_on) or its Error
  /// again (stop).
  template <class Payload>
  void append(FrameType type, const Payload& payload) {
    if (!usable()) return;
    const std::size_t begin = open_frame();
    state::SaveArchive(buffer_) & payload;
    close_frame(begin, type);
  }
  void append_payload(FrameType type, std::string_view payload);
  void write_out();
  /// Whether write_out() was last asked for so long ago; then the time counts from now.
  bool write_is_due(std::int64_t every_ms);
  /// write_out() and fsync.
  void sync();
  /// Whether the last sync() is long enough ago that syncing takes at most 0.1 % of the time.
  bool sync_is_cheap() const;
  /// Ends the file: end record, sync, and the file is closed.
  void end(std::int64_t last_step, const std::string& reason);

  void set_step(std::int64_t step) { step_ = step; }
  /// False after a failure with OnDiskError::go_on; after one with stop it throws that Error again.
  bool usable() const;
  bool failed() const { return error_.has_value(); }
  const std::string& failure() const { return failure_; }

 private:
  std::size_t open_frame();
  void close_frame(std::size_t begin, FrameType type);
  void stop_recording(int error, const char* what, std::size_t written);
  std::size_t whole_frames(std::size_t bytes);
  void leave_a_note();

  std::unique_ptr<FileSink> sink_;
  std::filesystem::path file_;
  OnDiskError policy_;
  std::uint32_t salt_;
  std::string buffer_;
  std::uint64_t offset_;               ///< of the buffer in the file
  std::uint64_t sequence_ = 1;         ///< of the next frame; 0 is the run frame
  std::uint64_t buffer_sequence_ = 1;  ///< of the buffer's first frame
  CrcDigest digest_;
  std::int64_t step_ = -1;
  std::int64_t written_at_ns_ = 0, synced_at_ns_ = 0, sync_took_ns_ = 0;
  std::optional<Error> error_;
  std::string failure_;
};

}  // namespace lockstep::record
