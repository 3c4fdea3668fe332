#include "lockstep/state/durable_file.h"

#include <algorithm>
#include <csignal>
#include <fstream>
#include <string>
#include <sys/resource.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep/base/temporary_folder_test.h"
#include "lockstep/checksum/crc32c.h"
#include "lockstep/state/archive.h"

namespace lockstep::state {
namespace {

namespace fs = std::filesystem;

class Folder : public testing::Test {
 protected:
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(root_)) found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    return found;
  }

  TemporaryFolder folder_;
  const fs::path root_ = folder_.path();
};

using DurableFile = Folder;
using Checkpoints = Folder;

template <class Function>
void expect_error(ErrorCode code, std::initializer_list<std::string> words, Function function) {
  try {
    function();
    FAIL() << "no error; expected " << *words.begin();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
  }
}

void put(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

/// Files of this process may not grow beyond `bytes`: a full disk, as far as write() can tell.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes) {
    before_signal_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, before_signal_);
  }

 private:
  rlimit before_{};
  void (*before_signal_)(int);
};

TEST_F(DurableFile, WritesAndReplaces) {
  const fs::path file = root_ / "state";
  write_file_durably(file, "first");
  EXPECT_EQ(read_file(file, 100), "first");
  const std::string bytes("\0second\xff", 8);
  write_file_durably(file, bytes);
  EXPECT_EQ(read_file(file, 100), bytes);
  write_file_durably(file, "");
  EXPECT_EQ(read_file(file, 100), "");
  EXPECT_EQ(names(), std::vector<std::string>{"state"}) << "no temporary is left";
}

TEST_F(DurableFile, KeepsTheOldFileWhenTheDiskIsFull) {
  const fs::path file = root_ / "state";
  write_file_durably(file, "old");
  {
    const SizeLimit limit(4096);
    expect_error(ErrorCode::io, {file.string(), "cannot write 100000 bytes", "File too large", "untouched"},
                 [&] { write_file_durably(file, std::string(100000, 'x')); });
  }
  EXPECT_EQ(read_file(file, 100), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"state"}) << "the half-written temporary is removed";
}

TEST_F(DurableFile, NamesWhatStandsInTheWay) {
  expect_error(ErrorCode::not_found, {"missing/state", "No such file or directory", "Is the folder there"},
               [&] { write_file_durably(root_ / "missing" / "state", "x"); });
  put(root_ / "file", "x");
  expect_error(ErrorCode::io, {"file/state", "Not a directory"},
               [&] { write_file_durably(root_ / "file" / "state", "x"); });
  fs::create_directories(root_ / "folder" / "inside");
  expect_error(ErrorCode::io, {"cannot rename", "Is a directory"},
               [&] { write_file_durably(root_ / "folder", "x"); });
  expect_error(ErrorCode::io, {"File name too long"},
               [&] { write_file_durably(root_ / std::string(255, 'n'), "x"); });
  expect_error(ErrorCode::invalid_argument, {"the name of a file"},
               [&] { write_file_durably(root_ / "", "x"); });
  EXPECT_EQ(names(), (std::vector<std::string>{"file", "folder"}));
}

TEST_F(DurableFile, ReadsWithinALimit) {
  put(root_ / "file", "0123456789");
  EXPECT_EQ(read_file(root_ / "file", 10), "0123456789");
  expect_error(ErrorCode::corruption, {"size: expected at most 9 bytes"},
               [&] { read_file(root_ / "file", 9); });
  expect_error(ErrorCode::not_found, {"none", "No such file"}, [&] { read_file(root_ / "none", 9); });
  expect_error(ErrorCode::io, {"Is a directory"}, [&] { read_file(root_, 9); });
}

Checkpoint checkpoint_of(std::int64_t step) {
  return {step, {{"loader", "state " + std::to_string(step)}, {"model", std::string("\0\1\2", 3)}, {"", ""}}};
}

TEST_F(Checkpoints, ComeBack) {
  write_checkpoint(root_ / "deep" / "er", checkpoint_of(7));
  const CheckpointSearch search = find_checkpoint(root_ / "deep" / "er");
  ASSERT_TRUE(search.checkpoint.has_value());
  EXPECT_EQ(search.checkpoint->step, 7);
  EXPECT_EQ(search.checkpoint->parts, checkpoint_of(7).parts);
  EXPECT_EQ(search.file.filename(), "checkpoint-000000000007.lsc");
  EXPECT_TRUE(search.damaged.empty());
  EXPECT_EQ(search.checkpoint->part("loader"), "state 7");
  expect_error(ErrorCode::not_found, {"checkpoint of step 7", "optimizer", "loader, model"},
               [&] { search.checkpoint->part("optimizer"); });
}

TEST_F(Checkpoints, AreNotThereBeforeTheFirst) {
  for (const fs::path& folder : {root_, root_ / "missing"}) {
    const CheckpointSearch search = find_checkpoint(folder);
    EXPECT_FALSE(search.checkpoint.has_value());
    EXPECT_TRUE(search.damaged.empty());
  }
  put(root_ / "file", "x");
  expect_error(ErrorCode::io, {"cannot list"}, [&] { find_checkpoint(root_ / "file"); });
}

TEST_F(Checkpoints, KeepTheTwoNewest) {
  put(root_ / "checkpoint-1.lsc", "not ours: another name");
  put(root_ / "notes.txt", "not ours");
  for (const std::int64_t step : {5, 50, 500, 5000}) write_checkpoint(root_, checkpoint_of(step));
  EXPECT_EQ(names(), (std::vector<std::string>{"checkpoint-000000000500.lsc", "checkpoint-000000005000.lsc",
                                               "checkpoint-1.lsc", "notes.txt"}));
  write_checkpoint(root_, checkpoint_of(6000), 1);
  EXPECT_EQ(names().front(), "checkpoint-000000006000.lsc");
}

// A run that fell back behind a damaged file, or was started again from the beginning, must not lose what it
// just wrote.
TEST_F(Checkpoints, BehindANewerOneAreKeptAndItIsNotRemoved) {
  write_checkpoint(root_, checkpoint_of(100));
  write_checkpoint(root_, checkpoint_of(200));
  for (const std::int64_t step : {10, 20, 30}) write_checkpoint(root_, checkpoint_of(step));
  EXPECT_EQ(names(),
            (std::vector<std::string>{"checkpoint-000000000020.lsc", "checkpoint-000000000030.lsc",
                                      "checkpoint-000000000100.lsc", "checkpoint-000000000200.lsc"}));
}

TEST_F(Checkpoints, ShowEveryChangedByteAndFallBack) {
  write_checkpoint(root_, checkpoint_of(1));
  write_checkpoint(root_, checkpoint_of(2));
  const fs::path newest = root_ / "checkpoint-000000000002.lsc";
  const std::string bytes = read_file(newest, 1 << 20);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const int flip : {1, 0x80, 0xff}) {
      std::string changed = bytes;
      changed[i] = static_cast<char>(changed[i] ^ flip);
      put(newest, changed);
      const CheckpointSearch search = find_checkpoint(root_);
      ASSERT_TRUE(search.checkpoint.has_value()) << i;
      EXPECT_EQ(search.checkpoint->step, 1) << i;
      ASSERT_EQ(search.damaged.size(), 1u) << i;
      EXPECT_NE(search.damaged[0].find("checkpoint-000000000002.lsc"), std::string::npos)
          << search.damaged[0];
    }
  }
}

TEST_F(Checkpoints, ShowEveryTruncationAndAppendedBytes) {
  write_checkpoint(root_, checkpoint_of(2));
  const fs::path file = root_ / "checkpoint-000000000002.lsc";
  const std::string bytes = read_file(file, 1 << 20);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    put(file, bytes.substr(0, size));
    expect_error(ErrorCode::corruption, {file.string(), "truncated", "Resume from the checkpoint before it"},
                 [&] { read_checkpoint(file); });
  }
  put(file, bytes + "x");
  expect_error(ErrorCode::corruption, {"size"}, [&] { read_checkpoint(file); });
  put(file, bytes);
  EXPECT_EQ(read_checkpoint(file).step, 2);
}

TEST_F(Checkpoints, OfAnotherStepThanTheirNameArePassedOver) {
  write_checkpoint(root_, checkpoint_of(1));
  fs::copy_file(root_ / "checkpoint-000000000001.lsc", root_ / "checkpoint-000000000009.lsc");
  const CheckpointSearch search = find_checkpoint(root_);
  EXPECT_EQ(search.checkpoint->step, 1);
  ASSERT_EQ(search.damaged.size(), 1u);
  EXPECT_NE(search.damaged[0].find("step: expected 9, got 1"), std::string::npos) << search.damaged[0];
}

TEST_F(Checkpoints, AllDamagedAreAllNamed) {
  write_checkpoint(root_, checkpoint_of(1));
  write_checkpoint(root_, checkpoint_of(2));
  for (const std::string& name : names()) put(root_ / name, "gone");
  const CheckpointSearch search = find_checkpoint(root_);
  EXPECT_FALSE(search.checkpoint.has_value());
  EXPECT_EQ(search.damaged.size(), 2u);
}

TEST_F(Checkpoints, OfAnotherVersionSayWhatToDo) {
  write_checkpoint(root_, checkpoint_of(3));
  const fs::path file = root_ / "checkpoint-000000000003.lsc";
  std::string bytes = read_file(file, 1 << 20);
  bytes[8] = 2;  // the version, with a CRC to match
  bytes.resize(bytes.size() - 4);
  bytes += to_bytes(checksum::crc32c(bytes.data(), bytes.size()));
  put(file, bytes);
  expect_error(ErrorCode::unsupported,
               {"checkpoint version: expected 1, got 2", "Use the version of lockstep"},
               [&] { read_checkpoint(file); });
}

// A right CRC around a wrong content: made on purpose, never by damage.
TEST_F(Checkpoints, WithForgedContentAreRefused) {
  write_checkpoint(root_, checkpoint_of(3));
  const fs::path file = root_ / "checkpoint-000000000003.lsc";
  std::string bytes = read_file(file, 1 << 20);
  bytes[28 + 7] = 0x7f;  // the count of parts
  bytes.resize(bytes.size() - 4);
  bytes += to_bytes(checksum::crc32c(bytes.data(), bytes.size()));
  put(file, bytes);
  expect_error(ErrorCode::corruption, {"content", "impossible count"}, [&] { read_checkpoint(file); });
}

TEST_F(Checkpoints, OnAFullDiskLeaveTheOldOnes) {
  write_checkpoint(root_, checkpoint_of(1));
  write_checkpoint(root_, checkpoint_of(2));
  {
    const SizeLimit limit(4096);
    expect_error(ErrorCode::io, {"cannot write"}, [&] {
      write_checkpoint(root_, {3, {{"model", std::string(100000, 'x')}}});
    });
  }
  EXPECT_EQ(names(),
            (std::vector<std::string>{"checkpoint-000000000001.lsc", "checkpoint-000000000002.lsc"}));
  EXPECT_EQ(find_checkpoint(root_).checkpoint->step, 2);
}

TEST_F(Checkpoints, OfAKilledWriteAreSweptAway) {
  put(root_ / ".checkpoint-000000000001.lsc.tmp-123-0", "half");
  put(root_ / ".other.tmp-123-0", "not ours");
  EXPECT_FALSE(find_checkpoint(root_).checkpoint.has_value());
  write_checkpoint(root_, checkpoint_of(2));
  EXPECT_EQ(names(), (std::vector<std::string>{".other.tmp-123-0", "checkpoint-000000000002.lsc"}));
}

TEST_F(Checkpoints, RefuseNonsense) {
  expect_error(ErrorCode::invalid_argument, {"step: expected 0"},
               [&] { write_checkpoint(root_, checkpoint_of(-1)); });
  expect_error(ErrorCode::invalid_argument, {"keep: expected 1 or more, got 0"},
               [&] { write_checkpoint(root_, checkpoint_of(1), 0); });
}

}  // namespace
}  // namespace lockstep::state
