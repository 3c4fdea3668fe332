// Recordings: the bytes as they are, then once more with every checksum made right, so that mutations reach
// what lies behind the checksums. What is read must hold together, and be shown without harm.

#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "fuzz.h"
#include "lockstep/checksum/crc32c.h"
#include "lockstep/record/format_internal.h"
#include "lockstep/record/inspect.h"
#include "lockstep/record/reader_internal.h"

namespace {

using namespace lockstep;
using namespace lockstep::record;

void expect(bool condition) {
  if (!condition) std::abort();
}

void read_and_show(const std::string& bytes) {
  const Check seen = check_memory(bytes);
  const Inspection inspection = inspect(reader_over_memory(bytes), seen.last_step);
  std::int64_t frames = 0;
  for (const auto& [type, count] : inspection.frames) frames += count;
  expect(frames == seen.good_frames && inspection.check.text == seen.text);
  expect((seen.verdict == Verdict::complete) == (seen.first_bad_offset < 0));
  expect((seen.verdict == Verdict::complete) <= (seen.lost_ranges == 0 && inspection.info.has_value()));
  expect((seen.verdict == Verdict::not_a_recording) <= (seen.good_frames == 0));
  expect(!to_text(inspection, true).empty() && !to_json(inspection).empty());
  if (seen.verdict != Verdict::complete) return;
  const Check cut = check_memory(bytes.substr(0, bytes.size() - 1));
  expect(cut.verdict == Verdict::torn_tail && cut.good_frames == seen.good_frames - 1);
}

/// Header, and every frame that begins with a sync word and ends inside the file, with the checksums that
/// they should have.
std::string with_right_checksums(std::string bytes) {
  if (bytes.size() < kHeaderBytes) return bytes;
  const std::uint32_t header_crc = checksum::crc32c(bytes.data(), 44);
  std::memcpy(bytes.data() + 44, &header_crc, sizeof header_crc);
  const std::uint32_t salt = parse_header(std::as_bytes(std::span(bytes))).identity.salt();
  const std::string_view sync(reinterpret_cast<const char*>(kSync.data()), kSync.size());
  for (std::size_t at = bytes.find(sync); at != std::string::npos; at = bytes.find(sync, at + 1)) {
    if (bytes.size() - at < kFrameHeaderBytes) break;
    std::uint64_t payload_bytes = 0;
    std::memcpy(&payload_bytes, bytes.data() + at + 16, sizeof payload_bytes);
    const std::uint32_t head = checksum::crc32c(bytes.data() + at, kFrameHeaderCoveredBytes, salt);
    std::memcpy(bytes.data() + at + 24, &head, sizeof head);
    if (payload_bytes > bytes.size() - at - kFrameHeaderBytes) continue;
    const std::uint32_t frame = checksum::crc32c(bytes.data() + at + kFrameHeaderBytes, payload_bytes, head);
    std::memcpy(bytes.data() + at + 28, &frame, sizeof frame);
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  fuzz::expect_no_bug([&] { read_and_show(bytes); });
  fuzz::expect_no_bug([&] { read_and_show(with_right_checksums(bytes)); });
  return 0;
}
