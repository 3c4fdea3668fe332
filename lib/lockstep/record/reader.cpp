#include "lockstep/record/reader.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "lockstep/record/reader_internal.h"
#include "lockstep/record/record_codec_internal.h"

namespace lockstep::record {

std::string_view verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::complete:
      return "complete";
    case Verdict::torn_tail:
      return "torn tail";
    case Verdict::damaged_middle:
      return "damaged middle";
    case Verdict::not_a_recording:
      return "not a recording";
  }
  return "not a recording";
}

Reader::Impl::Impl(std::unique_ptr<ByteSource> source, std::string name)
    : scanner_(std::move(source), name), name_(std::move(name)) {
  if (!scanner_.has_magic()) {
    check_.first_bad_offset = 0;
    finished_ = true;
    return;
  }
  if (!scanner_.header_intact()) damaged_from(kMagic.size());
  ahead_ = advance();
  ahead_gap_ = std::exchange(gap_before, false);
  if (ahead_ && std::holds_alternative<RunInfo>(*ahead_)) info = std::get<RunInfo>(*ahead_);
}

std::optional<Record> Reader::Impl::next() {
  if (ahead_) {
    gap_before = ahead_gap_;
    return std::exchange(ahead_, std::nullopt);
  }
  return advance();
}

std::optional<Record> Reader::Impl::advance() {
  gap_before = false;
  while (!finished_ && position_ < scanner_.size()) {
    const auto frame = scanner_.frame_at(position_);
    if (auto record = frame ? take(*frame) : std::nullopt) return record;
    damaged_from(position_);
    position_ = scanner_.find_sync(position_ + 1);
  }
  if (!finished_) finish();
  return std::nullopt;
}

// A frame counts when it can be decoded, says who it is, and does not go back in the sequence.
std::optional<Record> Reader::Impl::take(const RawFrame& frame) {
  constexpr auto kLargestSequence = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const std::uint64_t sequence = frame.header.sequence;
  const bool is_run = static_cast<FrameType>(frame.header.type) == FrameType::run;
  if (sequence < sequence_ || sequence >= kLargestSequence || is_run != (sequence == 0)) return std::nullopt;
  auto record = decode(frame);
  if (!record) return std::nullopt;
  if (is_run && try_identity_of(std::get<RunInfo>(*record)) != scanner_.identity()) return std::nullopt;
  accept(frame, *record);
  return record;
}

void Reader::Impl::accept(const RawFrame& frame, const Record& record) {
  gap_before = frame.header.sequence != sequence_;
  if (gap_before) damaged_from(position_);
  if (bad_from_) good_after_bad_ = true;
  bad_from_.reset();
  position_ = frame.end();
  sequence_ = frame.header.sequence + 1;
  ++check_.good_frames;
  if (const auto step = step_of(record)) check_.last_step = std::max(check_.last_step, *step);
  if (!std::holds_alternative<EndRecord>(record)) {
    digest_.add(frame.header.sequence, frame.header.frame_crc);
    return;
  }
  end_ = std::get<EndRecord>(record);
  finish();
}

void Reader::Impl::damaged_from(std::uint64_t offset) {
  if (bad_from_) return;
  bad_from_ = offset;
  ++check_.lost_ranges;
  if (check_.first_bad_offset < 0) check_.first_bad_offset = static_cast<std::int64_t>(offset);
}

// Nothing after the end record belongs to the recording.
void Reader::Impl::finish() {
  finished_ = true;
  if (!end_) {
    damaged_from(scanner_.size());
    return;
  }
  const bool whole = check_.lost_ranges == 0;
  if (whole && (end_->frames + 1 != check_.good_frames || end_->digest != digest_.sum())) {
    damaged_from(position_);
    good_after_bad_ = true;
  }
  if (position_ < scanner_.size()) damaged_from(position_);
}

Verdict Reader::Impl::verdict() const {
  if (!scanner_.has_magic()) return Verdict::not_a_recording;
  if (good_after_bad_) return Verdict::damaged_middle;
  return finished_ && check_.lost_ranges == 0 ? Verdict::complete : Verdict::torn_tail;
}

std::string Reader::Impl::text() const {
  const std::string usable =
      check_.last_step < 0 ? fmt::format("{} frames, no step", check_.good_frames)
                           : fmt::format("{} frames, steps up to {}", check_.good_frames, check_.last_step);
  const std::int64_t bad = check_.first_bad_offset;
  const std::uint64_t tail_bytes = bad < 0 ? 0 : scanner_.size() - static_cast<std::uint64_t>(bad);
  switch (verdict()) {
    case Verdict::complete:
      return fmt::format("complete: {}; the run {} it", usable,
                         end_->reason == "closed" ? "closed" : "was interrupted and ended");
    case Verdict::torn_tail:
      if (end_) {
        return fmt::format(
            "torn tail: {} bytes that do not belong to it follow the end record at byte {}. All of the "
            "recording is usable ({}); cut the file there",
            tail_bytes, bad, usable);
      }
      return fmt::format(
          "torn tail: no end record, and {} bytes from byte {} on are no whole frame. Everything before is "
          "usable ({}). "
          "Wait if the run is still going; if it was killed, resume it from its last checkpoint",
          tail_bytes, bad, usable);
    case Verdict::damaged_middle:
      return fmt::format(
          "damaged middle: {} damaged or missing ranges, the first at byte {}. The rest is usable ({}). "
          "Restore the file from a copy, or check the disk",
          check_.lost_ranges, bad, usable);
    case Verdict::not_a_recording:
      return "not a recording: the first 8 bytes are not those of a lockstep recording. Name a file that "
             "ends in .lsr";
  }
  return {};
}

Check Reader::Impl::check() const {
  Check check = check_;
  check.verdict = verdict();
  check.text = text();
  return check;
}

Reader::Reader(const std::filesystem::path& file)
    : impl_(std::make_unique<Impl>(open_file_source(file), file.string())) {}
Reader::Reader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Reader::~Reader() = default;
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;

const std::optional<RunInfo>& Reader::info() const { return impl_->info; }
std::optional<Record> Reader::next() { return impl_->next(); }
bool Reader::gap_before() const { return impl_->gap_before; }
Check Reader::check() const { return impl_->check(); }

namespace {

Check read_through(Reader reader) {
  while (reader.next()) {
  }
  return reader.check();
}

}  // namespace

Check check(const std::filesystem::path& file) { return read_through(Reader(file)); }

Reader reader_over_memory(std::string bytes) {
  return Reader(std::make_unique<Reader::Impl>(make_memory_source(std::move(bytes)), "memory"));
}

Check check_memory(std::string bytes) { return read_through(reader_over_memory(std::move(bytes))); }

}  // namespace lockstep::record
