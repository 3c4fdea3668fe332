#include <gtest/gtest.h>

#include "lockstep/record/record_test.h"

namespace lockstep::record::testing {
namespace {

namespace fs = std::filesystem;

RunInfo run_info(char id, std::int64_t started_ns, std::int32_t rank = 0, std::int32_t segment = 0) {
  RunInfo info = small_info();
  info.run_id = std::string(32, id);
  info.started_ns = started_ns;
  info.segment_started_ns = started_ns + segment;
  info.rank = rank;
  info.segment = segment;
  return info;
}

void write_recording(const fs::path& file, const RunInfo& info) {
  write_file(file, Builder(info).end().bytes);
}

std::vector<std::string> names_of(const Run& run) {
  std::vector<std::string> names;
  for (const fs::path& file : run.files) names.push_back(file.filename());
  return names;
}

TEST(Runs, BySegmentAndRankOldestFirst) {
  const TemporaryFolder folder;
  write_recording(folder.path() / "a", run_info('b', 20, 1, 0));
  write_recording(folder.path() / "b", run_info('b', 20, 0, 1));
  write_recording(folder.path() / "c", run_info('b', 20, 0, 0));
  write_recording(folder.path() / "d", run_info('b', 20, 0, 10));
  write_recording(folder.path() / "e", run_info('c', 10));
  write_recording(folder.path() / "f", run_info('a', 20));
  const auto runs = find_runs(folder.path());
  ASSERT_EQ(runs.size(), 3u);
  EXPECT_EQ(runs[0].run_id, std::string(32, 'c')) << "by recorded start, whatever the file's time";
  EXPECT_EQ(runs[1].run_id, std::string(32, 'a')) << "ties by run id";
  EXPECT_EQ(names_of(runs[2]), (std::vector<std::string>{"c", "b", "d", "a"}));
  EXPECT_EQ(runs[2].started_ns, 20);
}

TEST(Runs, OtherFilesArePassedOverDamagedOnesAreNamed) {
  const TemporaryFolder folder;
  const std::string whole = Builder(run_info('a', 1)).end().bytes;
  write_file(folder.path() / "notes.txt", "hello");
  write_file(folder.path() / "empty", "");
  write_file(folder.path() / ".hidden.tmp", whole);
  fs::create_directory(folder.path() / "below");
  write_file(folder.path() / "below" / "deep.lsr", whole);
  write_file(folder.path() / "magic-lost.lsr", "x" + whole.substr(1));
  std::string run_frame_lost = whole;
  run_frame_lost[kHeaderBytes + 40] ^= 1;
  write_file(folder.path() / "run-frame-lost", run_frame_lost);
  std::string header_lost = whole;
  header_lost[20] ^= 1;
  write_file(folder.path() / "header-damaged.lsr", header_lost);
  std::vector<fs::path> unreadable;
  const auto runs = find_runs(folder.path(), &unreadable);
  ASSERT_EQ(runs.size(), 1u);
  EXPECT_EQ(names_of(runs[0]), std::vector<std::string>{"header-damaged.lsr"})
      << "the run frame repeats what the header lost";
  EXPECT_EQ(unreadable,
            (std::vector<fs::path>{folder.path() / "magic-lost.lsr", folder.path() / "run-frame-lost"}));
}

TEST(Runs, AFileBringsItsSiblings) {
  const TemporaryFolder folder;
  write_recording(folder.path() / "a-s0.lsr", run_info('a', 1));
  write_recording(folder.path() / "a-s1.lsr", run_info('a', 1, 0, 1));
  write_recording(folder.path() / "b.lsr", run_info('b', 2));
  EXPECT_EQ(names_of(open_run(folder.path() / "a-s1.lsr")),
            (std::vector<std::string>{"a-s0.lsr", "a-s1.lsr"}));
  EXPECT_EQ(names_of(open_run(folder.path() / "b.lsr")), std::vector<std::string>{"b.lsr"});
}

TEST(Runs, AFolderMustHoldOneRun) {
  const TemporaryFolder folder;
  EXPECT_ERROR(open_run(folder.path()), ErrorCode::not_found, "Record a run there first");
  write_recording(folder.path() / "a.lsr", run_info('a', 1));
  EXPECT_EQ(names_of(open_run(folder.path())), std::vector<std::string>{"a.lsr"});
  write_recording(folder.path() / "b.lsr", run_info('b', 2));
  EXPECT_ERROR(open_run(folder.path()), ErrorCode::invalid_argument,
               "expected one run, got 2 runs (a.lsr, b.lsr)");
}

TEST(Runs, ErrorsNameTheFile) {
  const TemporaryFolder folder;
  EXPECT_ERROR(open_run(folder.path() / "none"), ErrorCode::not_found, "none");
  EXPECT_ERROR(find_runs(folder.path() / "none"), ErrorCode::not_found, "Name a folder with recordings");
  write_file(folder.path() / "text.lsr", "hello, this is text");
  EXPECT_ERROR(open_run(folder.path() / "text.lsr"), ErrorCode::corruption, "not a recording");
}

TEST(Runs, OnlyTheRunFrameIsLost) {
  const TemporaryFolder folder;
  Built built = small_builder().end();
  built.bytes[built.begins[0] + 40] ^= 1;
  write_file(folder.path() / "a.lsr", built.bytes);
  const auto run = open_run(folder.path() / "a.lsr");
  EXPECT_EQ(names_of(run), std::vector<std::string>{"a.lsr"});
  EXPECT_EQ(run.run_id, "");
}

}  // namespace
}  // namespace lockstep::record::testing
