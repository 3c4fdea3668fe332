#pragma once
// Finds the frames of one recording whose checksums hold, and finds its way back after damage.

#include <cstdint>
#include <memory>
#include <optional>

#include "lockstep/record/byte_source_internal.h"
#include "lockstep/record/format_internal.h"

namespace lockstep::record {

struct RawFrame {
  std::uint64_t offset = 0;
  FrameHeader header;
  Bytes payload;  ///< valid until the scanner's next call

  std::uint64_t end() const { return offset + kFrameHeaderBytes + payload.size(); }
};

class FrameScanner {
 public:
  /// Reads the file header. Throws Error(unsupported) for an intact header of another format version.
  FrameScanner(std::unique_ptr<ByteSource> source, const std::string& name);

  bool has_magic() const { return has_magic_; }
  bool header_intact() const { return header_.intact; }
  /// From the header or, where that is damaged, from the run frame that verifies itself.
  const Identity& identity() const { return header_.identity; }
  std::uint64_t size() const { return window_.size(); }

  /// The frame that begins at `offset`, when both of its checksums hold.
  std::optional<RawFrame> frame_at(std::uint64_t offset);
  /// Where the next sync word at or after `offset` begins; size() when there is none.
  std::uint64_t find_sync(std::uint64_t offset);

 private:
  std::optional<FrameHeader> header_at(std::uint64_t offset);
  std::uint32_t crc_of(std::uint64_t offset, std::uint64_t bytes, std::uint32_t seed);
  void recover_identity();

  Window window_;
  Header header_;
  std::uint32_t salt_ = 0;
  bool has_magic_ = false;
  std::uint64_t futile_bytes_ = 0;  ///< of payloads that were read for nothing
};

}  // namespace lockstep::record
