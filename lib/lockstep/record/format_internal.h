#pragma once
// The grammar of docs/formats/recording.md: where each number of the header and of a frame lies. Persisted:
// do not change.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lockstep/record/model.h"
#include "lockstep/state/archive.h"

namespace lockstep::record {

constexpr std::array<unsigned char, 8> kMagic{0x89, 'L', 'S', 'R', '\r', '\n', 0x1a, '\n'};
constexpr std::array<unsigned char, 4> kSync{0xf5, 'L', 'S', 0xfe};
constexpr std::uint32_t kFormatVersion = 1;
constexpr std::uint32_t kByteOrderMark = 0x01020304;
constexpr std::size_t kHeaderBytes = 48;
constexpr std::size_t kFrameHeaderBytes = 32;
constexpr std::size_t kFrameHeaderCoveredBytes = 24;  ///< those that both checksums of a frame cover

using Bytes = std::span<const std::byte>;

/// Whose file it is. Every checksum of a frame begins with these 24 bytes, so that a frame of another run,
/// segment or rank never verifies.
struct Identity {
  std::array<std::byte, 16> run_id{};
  std::uint32_t segment = 0;
  std::uint32_t rank = 0;

  bool operator==(const Identity&) const = default;
  std::uint32_t salt() const;  ///< CRC-32C of the 24 bytes
  std::string run_id_hex() const;
};

/// Throws Error(invalid_argument) when run_id is not 32 lower-case hex digits, or segment or rank are
/// negative.
Identity identity_of(const RunInfo& info);
/// The same without the exception.
std::optional<Identity> try_identity_of(const RunInfo& info);

struct Header {
  std::uint32_t version = kFormatVersion;
  std::uint32_t byte_order = kByteOrderMark;
  Identity identity;
  bool intact = false;  ///< its checksum holds
};

std::string encode_header(const Identity& identity);
/// `bytes` are the first kHeaderBytes of a file whose magic is right.
Header parse_header(Bytes bytes);
bool has_magic(Bytes bytes);

struct FrameHeader {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::uint64_t sequence = 0;
  std::uint64_t payload_bytes = 0;
  std::uint32_t header_crc = 0;  ///< of identity and the first 24 bytes
  std::uint32_t frame_crc = 0;   ///< of identity, the first 24 bytes and the payload
};

/// Completes the frame that begins at `out[begin]` with kFrameHeaderBytes of room, its payload up to the end
/// of `out`. Returns its frame_crc.
std::uint32_t seal_frame(std::string& out, std::size_t begin, std::uint32_t salt, FrameType type,
                         std::uint64_t sequence);

/// Appends a whole frame and returns its frame_crc.
template <class Payload>
std::uint32_t append_frame(std::string& out, std::uint32_t salt, FrameType type, std::uint64_t sequence,
                           const Payload& payload) {
  const std::size_t begin = out.size();
  out.append(kFrameHeaderBytes, '\0');
  state::SaveArchive(out) & payload;
  return seal_frame(out, begin, salt, type, sequence);
}

/// Nothing when sync word or header checksum are wrong. `bytes` has kFrameHeaderBytes.
std::optional<FrameHeader> parse_frame_header(Bytes bytes, std::uint32_t salt);

/// Digest over frame checksums by sequence number, as the end record keeps it. Not thread-safe.
class CrcDigest {
 public:
  void add(std::uint64_t sequence, std::uint32_t frame_crc);
  fingerprint::DigestSum sum();

 private:
  void flush();

  std::array<std::uint32_t, 1024> pending_{};
  std::size_t count_ = 0;
  std::uint64_t first_ = 0;
  fingerprint::DigestSum sum_;
};

}  // namespace lockstep::record
