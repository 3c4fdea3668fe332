// Disks that refuse: with a sink that fills up at every possible byte, and with a real limit of the system in
// a child.

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <gtest/gtest.h>

#include "lockstep/record/record_test.h"

namespace lockstep::record::testing {
namespace {

constexpr std::int64_t kSteps = 6;

void record_step(Recorder& recorder, std::int64_t step) {
  const std::vector<std::uint8_t> pixels{1, 2, 3, static_cast<std::uint8_t>(step)};
  recorder.begin_step(step, 0, step);
  recorder.batch_part(0, {step, 7}, {{"data", {pixels.data(), DType::uint8, {2, 2}}}});
  recorder.loss("loss", 0.5f);
  if (recorder.wants_tensors()) recorder.tensor(Phase::gradient, "w", {pixels.data(), DType::uint8, {4}});
  recorder.end_step();
}

RecorderOptions options_with(OnDiskError policy) {
  RecorderOptions options;
  options.on_disk_error = policy;
  options.tensors_every = 2;
  options.write_every_ms = 0;  // a step at a time, so that it is known which one meets the full disk
  return options;
}

void record_all(Recorder& recorder) {
  for (std::int64_t step = 0; step < kSteps; ++step) record_step(recorder, step);
  recorder.event("checkpoint", "later");
  recorder.close();
}

/// Bytes of the undisturbed recording.
std::string undisturbed() {
  Disk disk;
  Recorder recorder = recorder_on(disk, options_with(OnDiskError::go_on));
  record_all(recorder);
  return disk.only_file();
}

/// Every frame but a note on what was lost must be one of the undisturbed recording, in order, and nothing
/// may be damaged.
void expect_readable_beginning(const std::string& bytes, const std::vector<Record>& whole,
                               std::uint64_t room) {
  const Check result = check_memory(bytes);
  ASSERT_EQ(result.verdict, Verdict::torn_tail) << room << ": " << result.text;
  ASSERT_EQ(result.first_bad_offset, static_cast<std::int64_t>(bytes.size()))
      << room << ": a part of a frame was left";
  std::vector<Record> records = records_of(bytes);
  if (const auto* event = std::get_if<EventRecord>(&records.back());
      event != nullptr && event->kind == "frames_lost") {
    ASSERT_NE(event->text.find("No space left on device"), std::string::npos) << event->text;
    records.pop_back();
  }
  ASSERT_LE(records.size(), whole.size());
  for (std::size_t i = 1; i < records.size(); ++i)
    ASSERT_EQ(bytes_of(records[i]), bytes_of(whole[i])) << room;
}

TEST(RecorderDisk, FullAtEveryByteTrainingGoesOn) {
  const std::string whole = undisturbed();
  const std::vector<Record> records = records_of(whole);
  const std::size_t first = kHeaderBytes + kFrameHeaderBytes + bytes_of(records[0]).size();
  std::size_t most = 0;
  for (std::uint64_t room = first; room < whole.size(); ++room) {
    Disk disk;
    disk.room_bytes = room;
    {
      Recorder recorder = recorder_on(disk, options_with(OnDiskError::go_on));
      record_all(recorder);
      ASSERT_NE(recorder.failure().find("No space left on device"), std::string::npos) << recorder.failure();
      ASSERT_FALSE(recorder.wants_tensors());
    }
    expect_readable_beginning(disk.only_file(), records, room);
    if (HasFatalFailure()) return;
    most = std::max(most, records_of(disk.only_file()).size());
  }
  EXPECT_GE(most, records.size() - 1);
}

TEST(RecorderDisk, FullStopsTheRunWithAMessage) {
  const std::string whole = undisturbed();
  Disk disk;
  disk.room_bytes = whole.size() - 400;
  Recorder recorder = recorder_on(disk, options_with(OnDiskError::stop));
  const Error error = error_of([&] {
    for (std::int64_t step = 0; step < kSteps; ++step) record_step(recorder, step);
  });
  EXPECT_EQ(error.code(), ErrorCode::io);
  const std::string text = error.what();
  for (const char* words : {".lsr", "cannot be written", "in step ", "No space left on device",
                            "resume from the last checkpoint"}) {
    EXPECT_NE(text.find(words), std::string::npos) << words << " in: " << text;
  }
  EXPECT_EQ(recorder.failure(), text);
  EXPECT_ERROR(recorder.event("any", "call"), ErrorCode::io, "No space left on device");
}

TEST(RecorderDisk, AfterAStopEveryCallSaysItAgain) {
  Disk disk;
  Recorder recorder = recorder_on(disk, options_with(OnDiskError::stop));
  record_step(recorder, 0);
  disk.room_bytes = disk.only_file().size();
  EXPECT_ERROR(record_step(recorder, 1), ErrorCode::io, "No space left on device");
  disk.room_bytes = 1 << 20;
  EXPECT_ERROR(record_step(recorder, 2), ErrorCode::io, "No space left on device");
  EXPECT_ERROR(recorder.sync(), ErrorCode::io, "No space left on device");
  expect_readable_beginning(disk.only_file(), records_of(undisturbed()), 0);
}

TEST(RecorderDisk, APartThatCannotBeCutOffIsStillATornTail) {
  Disk disk;
  disk.truncate_error = EIO;
  Recorder recorder = recorder_on(disk, options_with(OnDiskError::go_on));
  record_step(recorder, 0);
  const auto frames = check_memory(disk.only_file()).good_frames;
  disk.room_bytes = disk.only_file().size() + 20;
  record_step(recorder, 1);
  EXPECT_EQ(check_memory(disk.only_file()).verdict, Verdict::torn_tail);
  EXPECT_EQ(check_memory(disk.only_file()).good_frames, frames);
}

TEST(RecorderDisk, FailedSyncIsAFailure) {
  for (const OnDiskError policy : {OnDiskError::go_on, OnDiskError::stop}) {
    Disk disk;
    Recorder recorder = recorder_on(disk, options_with(policy));
    record_step(recorder, 0);
    disk.sync_error = EIO;
    if (policy == OnDiskError::stop) {
      EXPECT_ERROR(recorder.sync(), ErrorCode::io, "cannot be synced to the disk");
    } else {
      recorder.sync();
      EXPECT_NE(recorder.failure().find("cannot be synced"), std::string::npos);
      record_step(recorder, 1);
      recorder.close();
    }
    EXPECT_EQ(all_of<LossRecord>(disk.only_file()).size(), 1u);
  }
}

TEST(RecorderDisk, FolderThatCannotBeMade) {
  const TemporaryFolder folder;
  write_file(folder.path() / "file", "no folder");
  EXPECT_ERROR(Recorder(folder.path() / "file" / "runs", small_info()), ErrorCode::io,
               "Name a folder that you may write to");
  EXPECT_ERROR(Recorder("/proc/lockstep", small_info()), ErrorCode::io, "/proc/lockstep");
}

TEST(RecorderDisk, FolderWithoutPermission) {
  const TemporaryFolder folder;
  std::filesystem::permissions(folder.path(), static_cast<std::filesystem::perms>(0555));
  constexpr uid_t kNobody = 65534;
  const bool is_root = ::geteuid() == 0;  // who may write everywhere
  if (is_root) {
    ASSERT_EQ(::seteuid(kNobody), 0);
  }
  EXPECT_ERROR(Recorder(folder.path(), small_info()), ErrorCode::io, "Check that the folder is writable");
  if (is_root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
}

constexpr int kChildThrew = 3, kChildWentOn = 4;

/// Records with the system's limit on file sizes, as on a full disk: EFBIG in place of ENOSPC.
[[noreturn]] void record_with_limit(const std::filesystem::path& folder, OnDiskError policy,
                                    rlim_t limit_bytes) {
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{limit_bytes, limit_bytes};
  ::setrlimit(RLIMIT_FSIZE, &limit);
  try {
    Recorder recorder(folder, small_info(), options_with(policy));
    for (std::int64_t step = 0; step < 400; ++step) record_step(recorder, step);
    recorder.close();
    ::_exit(recorder.failure().empty() ? 0 : kChildWentOn);
  } catch (const Error& error) {
    ::_exit(error.code() == ErrorCode::io ? kChildThrew : 1);
  }
}

TEST(RecorderDisk, RealLimitOfTheSystem) {
  for (const OnDiskError policy : {OnDiskError::stop, OnDiskError::go_on}) {
    const TemporaryFolder folder;
    const pid_t child = ::fork();
    if (child == 0) record_with_limit(folder.path(), policy, 20'000);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), policy == OnDiskError::stop ? kChildThrew : kChildWentOn);
    const auto runs = find_runs(folder.path());
    ASSERT_EQ(runs.size(), 1u);
    const std::string bytes = content_of(runs.front().files.front());
    EXPECT_LE(bytes.size(), 20'000u);
    EXPECT_GT(bytes.size(), 15'000u);
    EXPECT_EQ(check_memory(bytes).first_bad_offset, static_cast<std::int64_t>(bytes.size()));
    EXPECT_GT(check_memory(bytes).last_step, 10);
  }
}

}  // namespace
}  // namespace lockstep::record::testing
