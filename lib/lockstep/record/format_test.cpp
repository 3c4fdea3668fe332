// The bytes on disk: the worked example of docs/formats/recording.md is exactly what this code writes and
// reads.

#include <cctype>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "lockstep/record/record_test.h"

namespace lockstep::record::testing {
namespace {

/// What the example in the document holds: a run frame, a loss, an end record.
std::string example() {
  RunInfo info;
  info.run_id = "00112233445566778899aabbccddeeff";
  info.started_ns = info.segment_started_ns = 1'700'000'000'000'000'000;
  info.program = "demo";
  info.command_line = {"demo"};
  return Builder(info)
      .add(FrameType::loss, LossRecord{0, "loss", DType::float32, 0x3f000000, "0.5"})
      .end(0)
      .bytes;
}

/// Lines "0030  f5 4c …" as the document prints them.
std::string hex_dump(const std::string& bytes) {
  std::string text;
  for (std::size_t line = 0; line < bytes.size(); line += 16) {
    text += fmt::format("{:04x} ", line);
    for (std::size_t i = line; i < std::min(bytes.size(), line + 16); ++i)
      text += fmt::format(" {:02x}", static_cast<unsigned char>(bytes[i]));
    text += "\n";
  }
  return text;
}

/// The first block of the document that is fenced as ```hex.
std::string documented() {
  const std::string document =
      content_of(std::filesystem::path(LOCKSTEP_SOURCE_DIR) / "docs/formats/recording.md");
  const std::string fence = "```hex\n";
  const auto begin = document.find(fence);
  if (begin == std::string::npos) return "no block fenced as hex";
  return document.substr(begin + fence.size(),
                         document.find("```", begin + fence.size()) - begin - fence.size());
}

TEST(Format, TheDocumentShowsWhatIsWritten) { EXPECT_EQ(documented(), hex_dump(example())); }

TEST(Format, TheExampleIsComplete) {
  const ReadBack read = read_back(example());
  EXPECT_EQ(read.check.verdict, Verdict::complete);
  EXPECT_EQ(read.check.good_frames, 3);
}

TEST(Format, PlacesInTheHeader) {
  RunInfo info = small_info();
  info.segment = 0x01020304;
  info.rank = 0x0a0b0c0d;
  const std::string bytes = encode_header(identity_of(info));
  ASSERT_EQ(bytes.size(), 48u);
  EXPECT_EQ(bytes.substr(0, 8), "\x89LSR\r\n\x1a\n");
  EXPECT_EQ(bytes.substr(8, 8), std::string("\x01\0\0\0\x04\x03\x02\x01", 8));
  EXPECT_EQ(bytes.substr(16, 3), std::string("\x00\x11\x22", 3));
  EXPECT_EQ(bytes.substr(32, 8), std::string("\x04\x03\x02\x01\x0d\x0c\x0b\x0a", 8));
  const Header header = parse_header(std::as_bytes(std::span(bytes)));
  EXPECT_TRUE(header.intact);
  EXPECT_EQ(header.identity, identity_of(info));
  EXPECT_EQ(header.identity.run_id_hex(), info.run_id);
}

TEST(Format, NumbersThatArePersisted) {
  EXPECT_EQ(static_cast<int>(FrameType::run), 1);
  EXPECT_EQ(static_cast<int>(FrameType::batch), 2);
  EXPECT_EQ(static_cast<int>(FrameType::loss), 3);
  EXPECT_EQ(static_cast<int>(FrameType::tensor), 4);
  EXPECT_EQ(static_cast<int>(FrameType::event), 5);
  EXPECT_EQ(static_cast<int>(FrameType::end), 6);
  const std::vector<std::string> names{"batch", "named", "loss", "gradient", "optimizer", "parameter"};
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto phase = static_cast<Phase>(i + 1);
    EXPECT_EQ(phase_name(phase), names[i]);
    EXPECT_EQ(parse_phase(names[i]), phase);
  }
  EXPECT_ERROR(parse_phase("losses"), ErrorCode::invalid_argument,
               "batch, named, loss, gradient, optimizer or parameter");
  EXPECT_ERROR(phase_name(static_cast<Phase>(0)), ErrorCode::corruption, "1 to 6");
}

TEST(Format, RunIdsAreThirtyTwoHexDigits) {
  RunInfo info = small_info();
  for (const std::string& id : {std::string(), std::string(31, 'a'), std::string(33, 'a'),
                                std::string(32, 'A'), std::string(32, 'g')}) {
    info.run_id = id;
    EXPECT_ERROR(identity_of(info), ErrorCode::invalid_argument, "32 lower-case hex digits");
  }
  info = small_info();
  info.segment = -1;
  EXPECT_FALSE(try_identity_of(info));
}

TEST(Format, DigestOfChecksumsDoesNotDependOnHowTheyAreAdded) {
  CrcDigest all, scattered;
  for (std::uint64_t i = 0; i < 5000; ++i) all.add(i, static_cast<std::uint32_t>(i * 2654435761u));
  for (std::uint64_t i = 0; i < 5000; i += 2) scattered.add(i, static_cast<std::uint32_t>(i * 2654435761u));
  EXPECT_NE(all.sum(), scattered.sum());
  for (std::uint64_t i = 1; i < 5000; i += 2) scattered.add(i, static_cast<std::uint32_t>(i * 2654435761u));
  EXPECT_EQ(all.sum(), scattered.sum());
}

}  // namespace
}  // namespace lockstep::record::testing
