#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <signal.h>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "lockstep/base/temporary_folder_test.h"
#include "lockstep/state/durable_file.h"

extern char** environ;

namespace lockstep {
namespace {

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;

constexpr int kEpochs = 3;
constexpr std::int64_t kBatches = 42 * kEpochs;  // 2,000 records in batches of 48

/// Runs the worker; kills it after `life` when given. True when it came to its own end, with success.
bool run_worker(const fs::path& folder, const std::string& order, int workers, int pause_us,
                std::optional<std::chrono::microseconds> life, const std::string& seed = "11") {
  std::vector<std::string> words{RESUME_WORKER,
                                 folder,
                                 order,
                                 std::to_string(workers),
                                 std::to_string(kEpochs),
                                 "4",
                                 std::to_string(pause_us),
                                 seed};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  if (posix_spawn(&child, RESUME_WORKER, nullptr, nullptr, arguments.data(), environ) != 0) {
    ADD_FAILURE() << "cannot start " << RESUME_WORKER;
    return false;
  }
  if (life) {
    std::this_thread::sleep_for(*life);
    ::kill(child, SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "the worker failed";
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// The whole lines of a log; a kill may have torn the last.
Lines read_log(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  Lines lines;
  for (std::size_t start = 0, end; (end = text.find('\n', start)) != std::string::npos; start = end + 1) {
    lines.push_back(text.substr(start, end - start));
  }
  return lines;
}

/// The logs of all lives, in order; a life that was killed before its first batch left none or an empty one.
std::vector<Lines> read_lives(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Lines> lives;
  for (const fs::path& file : files) lives.push_back(read_log(file));
  return lives;
}

/// What is wrong with the deliveries of several lives against those of one whole run; empty when nothing is.
std::string problem_of(const std::vector<Lines>& lives, const Lines& expected) {
  std::size_t reached = 0;
  for (std::size_t life = 0; life < lives.size(); ++life) {
    if (lives[life].empty()) continue;
    std::size_t number = std::stoul(lives[life].front());
    if (number > reached)
      return fmt::format("life {} leaves out batches {} to {}", life, reached, number - 1);
    for (const std::string& line : lives[life]) {
      if (number == expected.size()) return fmt::format("life {} goes on after the end", life);
      if (line != expected[number])
        return fmt::format("life {}: '{}', expected '{}'", life, line, expected[number]);
      ++number;
    }
    reached = std::max(reached, number);
  }
  return reached == expected.size() ? "" : fmt::format("only {} of {} batches", reached, expected.size());
}

Lines uninterrupted(const std::string& order, const std::string& seed = "11") {
  const TemporaryFolder folder;
  EXPECT_TRUE(run_worker(folder.path(), order, 0, 0, {}, seed));
  return read_lives(folder.path()).at(0);
}

std::int64_t checkpointed(const fs::path& folder) {
  const auto found = state::find_checkpoint(folder / "checkpoints");
  return found.checkpoint ? found.checkpoint->step : 0;
}

void damage_newest_checkpoint(const fs::path& folder) {
  const fs::path file = state::find_checkpoint(folder / "checkpoints").file;
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(static_cast<std::streamoff>(fs::file_size(file) / 2));
  stream.put('\x5a'), stream.put('\xa5');
}

struct Lives {
  int killed = 0;
  int killed_while_delivering = 0;
  std::vector<Lines> logs;
};

/// Kills and starts again until the worker comes to its end. `between` acts on the folder after each kill.
template <class Between>
Lives live_and_die(const fs::path& folder, const std::string& order, unsigned seed, Between between) {
  constexpr int kWorkers[] = {0, 2, 1, 4, 3};
  std::mt19937 random(seed);
  Lives lives;
  for (int life = 0;; ++life) {
    const std::int64_t start = checkpointed(folder);
    // Longer lives as time goes by, so that a slow machine gets to the end, too.
    const std::chrono::microseconds span(random() % 60'000 + static_cast<unsigned>(life) * 4'000u);
    const bool ended = run_worker(folder, order, kWorkers[life % 5], 1'500, span);
    lives.logs = read_lives(folder);
    const bool delivered = !lives.logs.empty() && !lives.logs.back().empty();
    if (delivered && lives.logs.size() > static_cast<std::size_t>(lives.killed)) {
      EXPECT_LE(std::stol(lives.logs.back().front()), start);
    }
    if (ended) return lives;
    ++lives.killed;
    lives.killed_while_delivering += delivered ? 1 : 0;
    between(life);
  }
}

class Kill : public testing::TestWithParam<const char*> {};

TEST_P(Kill, AtRandomMomentsLosesAndRepeatsNothing) {
  const Lines expected = uninterrupted(GetParam());
  ASSERT_EQ(expected.size(), static_cast<std::size_t>(kBatches));
  for (const unsigned seed : {1u, 2u}) {
    const TemporaryFolder folder;
    const Lives lives = live_and_die(folder.path(), GetParam(), seed, [](int) {});
    EXPECT_EQ(problem_of(lives.logs, expected), "");
    EXPECT_GE(lives.killed_while_delivering, 2);
  }
}

TEST_P(Kill, WithADamagedCheckpointGoesBackToTheOneBefore) {
  const Lines expected = uninterrupted(GetParam());
  const TemporaryFolder folder;
  int damaged = 0;
  const Lives lives = live_and_die(folder.path(), GetParam(), 3, [&](int) {
    const auto found = state::find_checkpoint(folder.path() / "checkpoints");
    const std::int64_t step = found.checkpoint ? found.checkpoint->step : 0;
    // Killed before it wrote over the damaged one, the worker has one whole checkpoint left: not to be taken
    // from it.
    if (damaged >= 3 || step < 8 || !found.damaged.empty()) return;
    damage_newest_checkpoint(folder.path());
    ++damaged;
    EXPECT_EQ(checkpointed(folder.path()), step - 4);
  });
  EXPECT_EQ(problem_of(lives.logs, expected), "");
  EXPECT_GE(damaged, 1);
}

TEST_P(Kill, TheCheckGoesRed) {
  const Lines expected = uninterrupted(GetParam());
  const auto part = [&](std::size_t first, std::size_t last) {
    return Lines(expected.begin() + static_cast<std::ptrdiff_t>(first),
                 expected.begin() + static_cast<std::ptrdiff_t>(last));
  };
  EXPECT_EQ(problem_of({part(0, 50), part(48, 126)}, expected), "");
  EXPECT_NE(problem_of({part(0, 50), part(51, 126)}, expected), "");  // a state that counts what was fetched
  EXPECT_NE(problem_of({part(0, 50), part(48, 125)}, expected), "");
  Lines repeated = part(48, 126);
  repeated.insert(repeated.begin() + 2, repeated[1]);
  EXPECT_NE(problem_of({part(0, 50), repeated}, expected), "");
  EXPECT_NE(problem_of({uninterrupted(GetParam(), "12")}, expected), "");
}

INSTANTIATE_TEST_SUITE_P(Orders, Kill, testing::Values("native", "torch"));

}  // namespace
}  // namespace lockstep
