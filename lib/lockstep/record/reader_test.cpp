// The four verdicts, against an oracle that knows only where the frames lie.

#include <random>

#include <gtest/gtest.h>

#include "lockstep/record/record_test.h"

namespace lockstep::record::testing {
namespace {

struct Expected {
  Verdict verdict = Verdict::complete;
  std::vector<std::string> records;
  std::vector<bool> gaps;
  bool has_info = true;
};

Expected nothing_expected() { return {Verdict::not_a_recording, {}, {}, false}; }

/// What must be readable when the frames in `lost` are not.
Expected expected_without(const Built& built, const std::vector<bool>& lost) {
  Expected expected;
  expected.has_info = !lost[0];
  bool gap = false, damaged = false;
  for (std::size_t i = 0; i < built.begins.size(); ++i) {
    gap = gap || lost[i];
    if (lost[i]) continue;
    damaged = damaged || gap;
    expected.records.push_back(bytes_of(built.records[i]));
    expected.gaps.push_back(std::exchange(gap, false));
  }
  const bool end_is_there = std::holds_alternative<EndRecord>(built.records.back()) && !lost.back();
  expected.verdict = damaged        ? Verdict::damaged_middle
                     : end_is_there ? Verdict::complete
                                    : Verdict::torn_tail;
  return expected;
}

Expected expected_of_flip(const Built& built, std::size_t position) {
  if (position < kMagic.size()) return nothing_expected();
  std::vector<bool> lost(built.begins.size());
  for (std::size_t i = 0; i < lost.size(); ++i)
    lost[i] = position >= built.begins[i] && position < built.frame_end(i);
  Expected expected = expected_without(built, lost);
  if (position < kHeaderBytes) expected.verdict = Verdict::damaged_middle;
  return expected;
}

Expected expected_of_length(const Built& built, std::size_t bytes) {
  if (bytes < kMagic.size()) return nothing_expected();
  std::vector<bool> lost(built.begins.size());
  for (std::size_t i = 0; i < lost.size(); ++i) lost[i] = built.frame_end(i) > bytes;
  return expected_without(built, lost);
}

void expect_read(const ReadBack& read, const Expected& expected, const std::string& where) {
  ASSERT_EQ(verdict_name(read.check.verdict), verdict_name(expected.verdict))
      << where << ": " << read.check.text;
  ASSERT_EQ(read.records, expected.records) << where;
  ASSERT_EQ(read.gaps, expected.gaps) << where;
  ASSERT_EQ(read.info.has_value(), expected.has_info) << where;
  ASSERT_EQ(read.check.good_frames, static_cast<std::int64_t>(expected.records.size())) << where;
  ASSERT_EQ(read.check.first_bad_offset >= 0, expected.verdict != Verdict::complete) << where;
}

TEST(Reader, WholeRecordingIsCompleteAndSaysSo) {
  const Built built = small_builder().end();
  const ReadBack read = read_back(built.bytes);
  expect_read(read, expected_of_length(built, built.bytes.size()), "whole");
  EXPECT_EQ(read.check.last_step, 1);
  EXPECT_EQ(read.check.lost_ranges, 0);
  EXPECT_EQ(read.check.text, "complete: 8 frames, steps up to 1; the run closed it");
  EXPECT_EQ(read.info->program, "demo");
}

TEST(Reader, EveryBitOfEveryByteFlipped) {
  for (const Built& built : {small_builder().end(), small_builder().torn()}) {
    for (std::size_t position = 0; position < built.bytes.size(); ++position) {
      for (const unsigned pattern : {1u, 2u, 4u, 8u, 16u, 32u, 64u, 128u, 255u}) {
        std::string bytes = built.bytes;
        bytes[position] = static_cast<char>(bytes[position] ^ static_cast<char>(pattern));
        expect_read(read_back(bytes), expected_of_flip(built, position),
                    "byte " + std::to_string(position) + " ^ " + std::to_string(pattern));
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Reader, EveryTruncationLength) {
  for (const Built& built : {small_builder().end(), small_builder().torn()}) {
    for (std::size_t bytes = 0; bytes <= built.bytes.size(); ++bytes) {
      expect_read(read_back(built.bytes.substr(0, bytes)), expected_of_length(built, bytes),
                  std::to_string(bytes) + " bytes");
      if (HasFatalFailure()) return;
    }
  }
}

// The oracle must be able to say no: a reader that took every frame whose sync word is right would fail here.
TEST(Reader, OracleTellsFramesApart) {
  const Built built = small_builder().end();
  EXPECT_NE(expected_of_flip(built, built.begins[2] + 40).records,
            expected_of_flip(built, built.begins[3] + 40).records);
  EXPECT_NE(expected_of_length(built, built.bytes.size() - 1).verdict,
            expected_of_length(built, built.bytes.size()).verdict);
}

TEST(Reader, BurstsOfGarbageLoseOnlyTheFramesTheyTouch) {
  const Built built = small_builder().end();
  std::mt19937_64 random(5);
  for (int round = 0; round < 4000; ++round) {
    const std::size_t begin = kHeaderBytes + random() % (built.bytes.size() - kHeaderBytes);
    const std::size_t count = std::min<std::size_t>(1 + random() % 200, built.bytes.size() - begin);
    std::string bytes = built.bytes;
    for (std::size_t i = begin; i < begin + count; ++i)
      bytes[i] = static_cast<char>(bytes[i] ^ static_cast<char>(1 + random() % 255));
    std::vector<bool> lost(built.begins.size());
    for (std::size_t i = 0; i < lost.size(); ++i)
      lost[i] = begin < built.frame_end(i) && begin + count > built.begins[i];
    expect_read(read_back(bytes), expected_without(built, lost),
                std::to_string(count) + " at " + std::to_string(begin));
    if (HasFatalFailure()) return;
  }
}

TEST(Reader, BytesTakenOutOfTheMiddle) {
  const Built built = small_builder().end();
  std::string bytes = built.bytes;
  bytes.erase(built.begins[2] + 10, 50);
  std::vector<bool> lost(built.begins.size());
  for (std::size_t i = 0; i < lost.size(); ++i) {
    lost[i] = built.begins[i] < built.begins[2] + 60 && built.frame_end(i) > built.begins[2] + 10;
  }
  expect_read(read_back(bytes), expected_without(built, lost), "erased");
}

TEST(Reader, BytesPutBetweenFramesLoseNothing) {
  const Built built = small_builder().end();
  std::string bytes = built.bytes;
  bytes.insert(built.begins[3], "some bytes of another file");
  Expected expected = expected_of_length(built, built.bytes.size());
  expected.verdict = Verdict::damaged_middle;
  expect_read(read_back(bytes), expected, "inserted");
}

TEST(Reader, AWholeFrameMissingIsDamage) {
  Builder builder = small_builder();
  builder.skip(2).add(FrameType::loss, loss_of(3));
  const Built built = builder.end();
  const ReadBack read = read_back(built.bytes);
  EXPECT_EQ(read.check.verdict, Verdict::damaged_middle);
  EXPECT_EQ(read.check.good_frames, 9);
  EXPECT_EQ(read.check.first_bad_offset, static_cast<std::int64_t>(built.begins[7]));
  EXPECT_EQ(read.gaps, (std::vector<bool>{false, false, false, false, false, false, false, true, false}));
}

TEST(Reader, AFrameThatCameBeforeIsNotTakenTwice) {
  const Built built = small_builder().end();
  const std::string copy = built.bytes.substr(built.begins[1], built.begins[3] - built.begins[1]);
  std::string bytes = built.bytes;
  bytes.insert(built.begins[5], copy);
  Expected expected = expected_of_length(built, built.bytes.size());
  expected.verdict = Verdict::damaged_middle;
  expect_read(read_back(bytes), expected, "repeated");
}

TEST(Reader, TwoFilesOneAfterTheOther) {
  const Built built = small_builder().end();
  RunInfo other_info = small_info();
  other_info.run_id[0] = 'f';
  const std::string other = Builder(other_info).add(FrameType::loss, loss_of(0)).end().bytes;
  for (const std::string& second : {built.bytes, other}) {
    Expected expected = expected_of_length(built, built.bytes.size());
    expected.verdict = Verdict::torn_tail;
    const ReadBack read = read_back(built.bytes + second);
    expect_read(read, expected, "concatenated");
    EXPECT_NE(read.check.text.find("follow the end record"), std::string::npos) << read.check.text;
  }
  // Without its end record the first one goes on into the foreign one, of which no frame is taken.
  const Built torn = small_builder().torn();
  expect_read(read_back(torn.bytes + other), expected_of_length(torn, torn.bytes.size()),
              "torn, concatenated");
}

TEST(Reader, FramesOfAnotherRunSegmentOrRankAreNeverTaken) {
  const Built built = small_builder().torn();
  for (const int which : {0, 1, 2}) {
    RunInfo info = small_info();
    if (which == 0) info.run_id[31] = '0';
    if (which == 1) info.segment = 1;
    if (which == 2) info.rank = 1;
    std::string foreign;
    append_frame(foreign, identity_of(info).salt(), FrameType::loss, built.begins.size(), loss_of(2));
    expect_read(read_back(built.bytes + foreign), expected_of_length(built, built.bytes.size()),
                "foreign frame");
    std::string own;
    append_frame(own, identity_of(small_info()).salt(), FrameType::loss, built.begins.size(), loss_of(2));
    EXPECT_EQ(read_back(built.bytes + own).check.good_frames,
              static_cast<std::int64_t>(built.begins.size()) + 1);
  }
}

TEST(Reader, ZerosAfterAPowerCut) {
  const Built built = small_builder().torn();
  const ReadBack read = read_back(built.bytes + std::string(100'000, '\0'));
  expect_read(read, expected_of_length(built, built.bytes.size()), "zeros");
  EXPECT_EQ(read.check.first_bad_offset, static_cast<std::int64_t>(built.bytes.size()));
  EXPECT_NE(read.check.text.find("100000 bytes"), std::string::npos) << read.check.text;
}

TEST(Reader, OnlyMagicThenZeros) {
  const std::string magic(reinterpret_cast<const char*>(kMagic.data()), kMagic.size());
  for (const std::size_t zeros : {0, 1, 39, 40, 41, 5000}) {
    const ReadBack read = read_back(magic + std::string(zeros, '\0'));
    EXPECT_EQ(read.check.verdict, Verdict::torn_tail);
    EXPECT_EQ(read.check.good_frames, 0);
  }
}

TEST(Reader, OtherFilesAreNotRecordings) {
  for (const std::string& bytes :
       {std::string(), std::string("P5\n28 28\n255\n"), std::string(70'000, '\0')}) {
    const ReadBack read = read_back(bytes);
    expect_read(read, nothing_expected(), "other file");
    EXPECT_NE(read.check.text.find("not a recording"), std::string::npos);
  }
}

TEST(Reader, HeaderAndRunFrameDamagedAlike) {
  const Built built = small_builder().end();
  std::string bytes = built.bytes;
  bytes[44] = static_cast<char>(bytes[44] ^ 1);  // header checksum: the identity still holds
  bytes[built.begins[0] + 33] = static_cast<char>(bytes[built.begins[0] + 33] ^ 1);
  EXPECT_EQ(read_back(bytes).check.good_frames, 7);
  bytes[20] = static_cast<char>(bytes[20] ^ 1);  // the identity is gone in both places
  EXPECT_EQ(read_back(bytes).check.good_frames, 0);
  EXPECT_EQ(read_back(bytes).check.verdict, Verdict::torn_tail);
}

std::string with_version(std::uint32_t version, std::uint32_t byte_order) {
  std::string bytes = small_builder().end().bytes;
  std::memcpy(bytes.data() + 8, &version, 4);
  std::memcpy(bytes.data() + 12, &byte_order, 4);
  const std::uint32_t crc = checksum::crc32c(bytes.data(), 44);
  std::memcpy(bytes.data() + 44, &crc, 4);
  return bytes;
}

TEST(Reader, NewerVersionIsUnsupportedNotDamaged) {
  EXPECT_ERROR(read_back(with_version(2, kByteOrderMark)), ErrorCode::unsupported,
               "format version of the recording");
  EXPECT_ERROR(read_back(with_version(2, kByteOrderMark)), ErrorCode::unsupported, "or a newer one");
  EXPECT_ERROR(read_back(with_version(1, 0x04030201)), ErrorCode::unsupported, "another byte order");
  EXPECT_EQ(read_back(with_version(1, kByteOrderMark)).check.verdict, Verdict::complete);
}

/// A valid frame around a payload that is none.
template <class T>
Verdict verdict_with_payload(FrameType type, const T& payload) {
  Builder builder = small_builder();
  builder.add_as(type, 7, payload);
  const ReadBack read = read_back(builder.end().bytes);
  EXPECT_EQ(read.check.good_frames, 8);
  return read.check.verdict;
}

TEST(Reader, PayloadsThatCannotBeTrueAreDamage) {
  const auto damaged = Verdict::damaged_middle;
  EXPECT_EQ(verdict_with_payload(FrameType::batch, std::string("no batch")), damaged);
  EXPECT_EQ(verdict_with_payload(static_cast<FrameType>(7), std::string()), damaged);
  EXPECT_EQ(verdict_with_payload(FrameType::run, small_info()), damaged);
  LossRecord loss = loss_of(1);
  loss.dtype = static_cast<DType>(99);
  EXPECT_EQ(verdict_with_payload(FrameType::loss, loss), damaged);
  TensorRecord tensor{1, Phase::gradient, summary_of("w")};
  tensor.phase = static_cast<Phase>(9);
  EXPECT_EQ(verdict_with_payload(FrameType::tensor, tensor), damaged);
  tensor = {1, Phase::gradient, summary_of("w")};
  tensor.tensor.values = "abcde";
  EXPECT_EQ(verdict_with_payload(FrameType::tensor, tensor), damaged);
  tensor = {1, Phase::gradient, summary_of("w")};
  tensor.tensor.shape = {-2, -3};
  EXPECT_EQ(verdict_with_payload(FrameType::tensor, tensor), damaged);
  tensor.tensor.shape = {std::int64_t{1} << 40, std::int64_t{1} << 40};
  EXPECT_EQ(verdict_with_payload(FrameType::tensor, tensor), damaged);
}

TEST(Reader, EndRecordThatDoesNotAgreeIsDamage) {
  Builder builder = small_builder();
  builder.add(FrameType::end, EndRecord{7, {1, 2}, 1, "closed"});
  EXPECT_EQ(read_back(builder.torn().bytes).check.verdict, Verdict::damaged_middle);
}

TEST(Reader, AFileThatGrowsIsReadAsFarAsItWasWhenOpened) {
  const TemporaryFolder folder;
  const Built built = small_builder().end();
  const auto file = folder.path() / "growing.lsr";
  write_file(file, built.bytes.substr(0, built.begins[4]));
  Reader reader(file);
  write_file(file, built.bytes);
  int records = 0;
  while (reader.next()) ++records;
  EXPECT_EQ(records, 4);
  EXPECT_EQ(reader.check().verdict, Verdict::torn_tail);
  EXPECT_EQ(check(file).verdict, Verdict::complete);
}

TEST(Reader, AFileThatShrinksWhileItIsRead) {
  const TemporaryFolder folder;
  Builder builder;
  for (int step = 0; step < 20'000; ++step) builder.add(FrameType::loss, loss_of(step));
  const auto file = folder.path() / "shrinking.lsr";
  write_file(file, builder.end().bytes);
  Reader reader(file);
  std::filesystem::resize_file(file, 300'000);
  while (reader.next()) {
  }
  EXPECT_EQ(reader.check().verdict, Verdict::torn_tail);
}

TEST(Reader, WhatCannotBeOpened) {
  const TemporaryFolder folder;
  EXPECT_ERROR(Reader(folder.path() / "none.lsr"), ErrorCode::not_found, "none.lsr");
  EXPECT_ERROR(Reader(folder.path()), ErrorCode::io, "got a folder");
}

}  // namespace
}  // namespace lockstep::record::testing
