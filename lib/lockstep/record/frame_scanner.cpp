#include <algorithm>
#include <cstring>

#include "lockstep/base/error.h"
#include "lockstep/checksum/crc32c.h"
#include "lockstep/record/frame_scanner_internal.h"
#include "lockstep/state/archive.h"

namespace lockstep::record {
namespace {

/// What recover_identity() may read before anything is verified.
constexpr std::uint64_t kLargestRunFrameBytes = 4 << 20;

/// How many times the file's size may be spent on frames whose header holds and whose payload does not.
/// Damage meets one of them now and then; only a forged file, frame in frame in frame, would make the time
/// quadratic.
constexpr std::uint64_t kFutileReads = 8;

}  // namespace

FrameScanner::FrameScanner(std::unique_ptr<ByteSource> source, const std::string& name)
    : window_(std::move(source)) {
  const Bytes head = window_.view(0, kHeaderBytes);
  has_magic_ = record::has_magic(head);
  if (!has_magic_ || head.size() < kHeaderBytes) return;
  header_ = parse_header(head);
  if (!header_.intact) {
    recover_identity();
  } else if (header_.version != kFormatVersion || header_.byte_order != kByteOrderMark) {
    fail(ErrorCode::unsupported,
         {name, "format version of the recording", std::to_string(kFormatVersion) + ", little-endian",
          std::to_string(header_.version) +
              (header_.byte_order == kByteOrderMark ? "" : ", another byte order"),
          "Read it with the lockstep version that wrote it, or a newer one"});
  }
  salt_ = header_.identity.salt();
}

// The header's checksum is wrong. The run frame repeats the identity; it is believed when the frame verifies
// under it. Otherwise the header's own bytes are tried: the damage may lie outside the identity.
void FrameScanner::recover_identity() {
  constexpr std::uint64_t kLength = kHeaderBytes + 16;
  const Bytes length = window_.view(kLength, sizeof(std::uint64_t));
  std::uint64_t bytes = 0;
  if (length.size() < sizeof bytes) return;
  std::memcpy(&bytes, length.data(), sizeof bytes);
  if (bytes > kLargestRunFrameBytes) return;
  try {
    const Bytes payload = window_.view(kHeaderBytes + kFrameHeaderBytes, bytes);
    const auto identity = try_identity_of(state::from_bytes<RunInfo>(payload));
    if (!identity) return;
    salt_ = identity->salt();
    if (frame_at(kHeaderBytes)) header_.identity = *identity;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corruption) throw;
  }
}

std::optional<FrameHeader> FrameScanner::header_at(std::uint64_t offset) {
  const Bytes bytes = window_.view(offset, kFrameHeaderBytes);
  if (bytes.size() < kFrameHeaderBytes) return std::nullopt;
  return parse_frame_header(bytes, salt_);
}

std::optional<RawFrame> FrameScanner::frame_at(std::uint64_t offset) {
  const auto header = header_at(offset);
  if (!header) return std::nullopt;
  const std::uint64_t begin = offset + kFrameHeaderBytes;
  if (header->payload_bytes > size() - begin || futile_bytes_ > kFutileReads * size()) return std::nullopt;
  const std::size_t bytes = header->payload_bytes;
  // A payload larger than the window is verified in pieces before memory is taken for it.
  const bool large = bytes + kFrameHeaderBytes > Window::kWindowBytes;
  if (!large || crc_of(begin, bytes, header->header_crc) == header->frame_crc) {
    const Bytes frame = window_.view(offset, kFrameHeaderBytes + bytes);
    const Bytes payload = frame.subspan(std::min(frame.size(), kFrameHeaderBytes));
    if (payload.size() == bytes &&
        checksum::crc32c(payload.data(), bytes, header->header_crc) == header->frame_crc) {
      return RawFrame{offset, *header, payload};
    }
  }
  futile_bytes_ += bytes;
  return std::nullopt;
}

std::uint32_t FrameScanner::crc_of(std::uint64_t offset, std::uint64_t bytes, std::uint32_t seed) {
  while (bytes > 0) {
    const Bytes piece = window_.view(offset, std::min<std::uint64_t>(bytes, Window::kWindowBytes));
    if (piece.empty()) break;
    seed = checksum::crc32c(piece.data(), piece.size(), seed);
    offset += piece.size();
    bytes -= piece.size();
  }
  return seed;
}

std::uint64_t FrameScanner::find_sync(std::uint64_t offset) {
  constexpr std::size_t kPieceBytes = 64 * 1024;
  while (offset + kSync.size() <= size()) {
    const Bytes piece = window_.view(offset, kPieceBytes);
    if (piece.size() < kSync.size()) break;
    const void* found = ::memmem(piece.data(), piece.size(), kSync.data(), kSync.size());
    if (found != nullptr)
      return offset + static_cast<std::uint64_t>(static_cast<const std::byte*>(found) - piece.data());
    offset += piece.size() - (kSync.size() - 1);
  }
  return size();
}

}  // namespace lockstep::record
