#include <chrono>
#include <cstring>
#include <system_error>

#include <fmt/format.h>

#include "lockstep/record/frame_log_internal.h"

namespace lockstep::record {
namespace {

std::int64_t monotonic_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

template <class T>
T load(const std::string& bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace

FrameLog::FrameLog(std::unique_ptr<FileSink> sink, std::filesystem::path file, const Identity& identity,
                   OnDiskError policy, const std::string& beginning)
    : sink_(std::move(sink)),
      file_(std::move(file)),
      policy_(policy),
      salt_(identity.salt()),
      offset_(beginning.size()) {
  digest_.add(0, load<std::uint32_t>(beginning, kHeaderBytes + 28));
  buffer_.reserve(kWriteAtBytes + 4096);
}

bool FrameLog::usable() const {
  if (error_ && policy_ == OnDiskError::stop) throw Error(*error_);
  return !error_;
}

std::size_t FrameLog::open_frame() {
  const std::size_t begin = buffer_.size();
  buffer_.append(kFrameHeaderBytes, '\0');
  return begin;
}

void FrameLog::close_frame(std::size_t begin, FrameType type) {
  digest_.add(sequence_, seal_frame(buffer_, begin, salt_, type, sequence_));
  ++sequence_;
  if (buffer_.size() >= kWriteAtBytes) write_out();
}

void FrameLog::append_payload(FrameType type, std::string_view payload) {
  if (!usable()) return;
  const std::size_t begin = open_frame();
  buffer_.append(payload);
  close_frame(begin, type);
}

void FrameLog::write_out() {
  if (!usable() || buffer_.empty()) return;
  std::size_t written = 0;
  if (const int error = sink_->write(offset_, buffer_, &written))
    return stop_recording(error, "cannot be written", written);
  offset_ += buffer_.size();
  buffer_sequence_ = sequence_;
  buffer_.clear();
}

bool FrameLog::write_is_due(std::int64_t every_ms) {
  constexpr std::int64_t kNsPerMs = 1'000'000;
  if (every_ms <= 0) return true;
  const std::int64_t now_ns = monotonic_ns();
  if (now_ns - written_at_ns_ < every_ms * kNsPerMs) return false;
  written_at_ns_ = now_ns;
  return true;
}

void FrameLog::sync() {
  write_out();
  if (!usable()) return;
  const std::int64_t begin = monotonic_ns();
  if (const int error = sink_->sync()) return stop_recording(error, "cannot be synced to the disk", 0);
  synced_at_ns_ = monotonic_ns();
  sync_took_ns_ = synced_at_ns_ - begin;
}

bool FrameLog::sync_is_cheap() const {
  constexpr std::int64_t kInverseShare = 1000;
  return failed() || monotonic_ns() - synced_at_ns_ >= kInverseShare * sync_took_ns_;
}

void FrameLog::end(std::int64_t last_step, const std::string& reason) {
  append(FrameType::end, EndRecord{static_cast<std::int64_t>(sequence_), digest_.sum(), last_step, reason});
  sync();
  sink_.reset();
}

// What is on the disk stays a row of whole frames: a part of a frame is cut off again.
void FrameLog::stop_recording(int error, const char* what, std::size_t written) {
  offset_ += whole_frames(written);
  sink_->truncate(offset_);
  error_.emplace(
      ErrorCode::io,
      ErrorParts{
          file_.string(),
          fmt::format("{} after {} bytes, in step {}", what, offset_, step_),
          {},
          std::generic_category().message(error),
          "What was recorded before stays readable. Free the disk, then resume from the last checkpoint"});
  failure_ = error_->what();
  leave_a_note();
  buffer_ = {};
  sink_.reset();
  usable();
}

/// Bytes of the buffer's frames that lie before `bytes` as a whole; numbering goes back to the frame after
/// them.
std::size_t FrameLog::whole_frames(std::size_t bytes) {
  std::size_t end = 0;
  sequence_ = buffer_sequence_;
  while (end + kFrameHeaderBytes <= bytes) {
    const std::uint64_t next = end + kFrameHeaderBytes + load<std::uint64_t>(buffer_, end + 16);
    if (next > bytes) break;
    end = next;
    ++sequence_;
  }
  return end;
}

// A few hundred bytes often still fit where a step did not; without an end record the verdict stays "torn
// tail".
void FrameLog::leave_a_note() {
  std::string note;
  append_frame(note, salt_, FrameType::event, sequence_, EventRecord{step_, "frames_lost", failure_});
  std::size_t written = 0;
  if (sink_->write(offset_, note, &written) != 0) sink_->truncate(offset_);
  sink_->sync();
}

}  // namespace lockstep::record
