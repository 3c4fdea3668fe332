#pragma once
// The reader over any source of bytes: what Reader hides, and what tests and the fuzzer use.

#include "lockstep/record/frame_scanner_internal.h"
#include "lockstep/record/reader.h"

namespace lockstep::record {

struct Reader::Impl {
  Impl(std::unique_ptr<ByteSource> source, std::string name);

  std::optional<Record> next();
  Check check() const;

  std::optional<RunInfo> info;
  bool gap_before = false;

 private:
  std::optional<Record> advance();
  std::optional<Record> take(const RawFrame& frame);
  void accept(const RawFrame& frame, const Record& record);
  void damaged_from(std::uint64_t offset);
  void finish();
  Verdict verdict() const;
  std::string text() const;

  FrameScanner scanner_;
  std::string name_;
  std::optional<Record> ahead_;  ///< the first record, read by the constructor for info
  bool ahead_gap_ = false;
  std::uint64_t position_ = kHeaderBytes;  ///< where the next frame should begin
  std::uint64_t sequence_ = 0;             ///< that it should have
  std::optional<std::uint64_t> bad_from_;  ///< the range that is being skipped
  bool good_after_bad_ = false;
  bool finished_ = false;
  std::optional<EndRecord> end_;
  CrcDigest digest_;
  Check check_;
};

/// For tests and the fuzzer.
Reader reader_over_memory(std::string bytes);
Check check_memory(std::string bytes);

}  // namespace lockstep::record
