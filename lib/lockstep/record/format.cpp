#include <algorithm>
#include <bit>
#include <cstring>

#include "lockstep/base/error.h"
#include "lockstep/checksum/crc32c.h"
#include "lockstep/record/format_internal.h"

namespace lockstep::record {
namespace {

static_assert(std::endian::native == std::endian::little,
              "recordings are little-endian, and so are the machines we support");

template <class T>
void store(char* at, T value) {
  std::memcpy(at, &value, sizeof value);
}

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

std::array<char, 24> identity_bytes(const Identity& identity) {
  std::array<char, 24> bytes{};
  std::memcpy(bytes.data(), identity.run_id.data(), 16);
  store(bytes.data() + 16, identity.segment);
  store(bytes.data() + 20, identity.rank);
  return bytes;
}

}  // namespace

std::uint32_t Identity::salt() const {
  const auto bytes = identity_bytes(*this);
  return checksum::crc32c(bytes.data(), bytes.size());
}

std::string Identity::run_id_hex() const {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (std::byte byte : run_id) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

std::optional<Identity> try_identity_of(const RunInfo& info) {
  if (info.run_id.size() != 32 || info.segment < 0 || info.rank < 0) return std::nullopt;
  Identity identity{{}, static_cast<std::uint32_t>(info.segment), static_cast<std::uint32_t>(info.rank)};
  for (std::size_t i = 0; i < 16; ++i) {
    const int high = hex_value(info.run_id[2 * i]), low = hex_value(info.run_id[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    identity.run_id[i] = static_cast<std::byte>(high * 16 + low);
  }
  return identity;
}

Identity identity_of(const RunInfo& info) {
  if (const auto identity = try_identity_of(info)) return *identity;
  fail(ErrorCode::invalid_argument,
       {"recorder", "run information", "a run_id of 32 lower-case hex digits, segment and rank not negative",
        "'" + info.run_id + "', " + std::to_string(info.segment) + ", " + std::to_string(info.rank),
        "Leave run_id empty for a new run; hand on info().run_id to a resumed one"});
}

std::string encode_header(const Identity& identity) {
  std::string bytes(kHeaderBytes, '\0');
  const auto whose = identity_bytes(identity);
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  store(bytes.data() + 8, kFormatVersion);
  store(bytes.data() + 12, kByteOrderMark);
  std::memcpy(bytes.data() + 16, whose.data(), whose.size());
  store(bytes.data() + 44, checksum::crc32c(bytes.data(), 44));
  return bytes;
}

bool has_magic(Bytes bytes) {
  return bytes.size() >= kMagic.size() && std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

Header parse_header(Bytes bytes) {
  Header header;
  header.version = load<std::uint32_t>(bytes.data() + 8);
  header.byte_order = load<std::uint32_t>(bytes.data() + 12);
  std::memcpy(header.identity.run_id.data(), bytes.data() + 16, 16);
  header.identity.segment = load<std::uint32_t>(bytes.data() + 32);
  header.identity.rank = load<std::uint32_t>(bytes.data() + 36);
  header.intact = load<std::uint32_t>(bytes.data() + 44) == checksum::crc32c(bytes.data(), 44);
  return header;
}

std::uint32_t seal_frame(std::string& out, std::size_t begin, std::uint32_t salt, FrameType type,
                         std::uint64_t sequence) {
  char* head = out.data() + begin;
  const char* payload = head + kFrameHeaderBytes;
  const std::size_t payload_bytes = out.size() - begin - kFrameHeaderBytes;
  std::memcpy(head, kSync.data(), kSync.size());
  store(head + 4, static_cast<std::uint16_t>(type));
  store(head + 6, std::uint16_t{0});
  store(head + 8, sequence);
  store(head + 16, static_cast<std::uint64_t>(payload_bytes));
  const std::uint32_t header_crc = checksum::crc32c(head, kFrameHeaderCoveredBytes, salt);
  const std::uint32_t frame_crc = checksum::crc32c(payload, payload_bytes, header_crc);
  store(head + 24, header_crc);
  store(head + 28, frame_crc);
  return frame_crc;
}

std::optional<FrameHeader> parse_frame_header(Bytes bytes, std::uint32_t salt) {
  if (std::memcmp(bytes.data(), kSync.data(), kSync.size()) != 0) return std::nullopt;
  FrameHeader header;
  header.type = load<std::uint16_t>(bytes.data() + 4);
  header.flags = load<std::uint16_t>(bytes.data() + 6);
  header.sequence = load<std::uint64_t>(bytes.data() + 8);
  header.payload_bytes = load<std::uint64_t>(bytes.data() + 16);
  header.header_crc = load<std::uint32_t>(bytes.data() + 24);
  header.frame_crc = load<std::uint32_t>(bytes.data() + 28);
  if (header.header_crc != checksum::crc32c(bytes.data(), kFrameHeaderCoveredBytes, salt))
    return std::nullopt;
  return header;
}

void CrcDigest::add(std::uint64_t sequence, std::uint32_t frame_crc) {
  if (count_ == pending_.size() || sequence != first_ + count_) flush();
  if (count_ == 0) first_ = sequence;
  pending_[count_++] = frame_crc;
}

fingerprint::DigestSum CrcDigest::sum() {
  flush();
  return sum_;
}

void CrcDigest::flush() {
  if (count_ == 0) return;
  const ConstView crcs{pending_.data(), DType::uint32, {static_cast<std::int64_t>(count_)}, Device::cpu};
  sum_.merge(fingerprint::digest_samples(crcs, static_cast<std::int64_t>(first_)));
  count_ = 0;
}

}  // namespace lockstep::record
