// A run that is killed and goes on must leave what an uninterrupted run leaves: the same recording and the
// same parameters, at any number of workers.

#include <chrono>
#include <filesystem>
#include <fstream>
#include <regex>
#include <signal.h>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device.h"
#include "lockstep/record/compare.h"
#include "lockstep/record/reader.h"
#include "lockstep/state/durable_file.h"
#include "process.h"

namespace lockstep::test {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

/// A trainer with a setting of 250 steps an epoch, so that a kill soon after the start is in the middle of
/// one.
struct Trainer {
  std::string program;
  std::int64_t steps;  // enough to be killed long before the end
  Arguments arguments;
};

constexpr std::int64_t kStepsPerEpoch = 250;
constexpr std::int64_t kFirstCheckpoint = 23;
constexpr int kAttempts = 5;  // at a run that may end before the signal reaches it

std::vector<Trainer> trainers() {
  const std::string images = std::string(LOCKSTEP_DATA_DIR) + "/fashion-mnist";
  return {
      {"linear_regression", 3000, {"--batch-size", "4", "--epochs", "24"}},
      {"fashion_mnist", 1000, {"--batch-size", "8", "--hidden", "16", "--epochs", "24", "--data", images}},
      {"ranking", 2000, {"--batch-size", "8", "--epochs", "24"}},
      {"gpt2",
       600,
       {"--layers", "1", "--width", "16", "--heads", "2", "--context", "16", "--batch-size", "4", "--dropout",
        "0.1", "--warmup-steps", "10", "--eval-windows", "8"}}};
}

void PrintTo(const Trainer& trainer, std::ostream* stream) { *stream << trainer.program; }

/// The trainer's arguments for a run that is recorded and checkpointed below `folder`.
Arguments recorded(const Trainer& trainer, const fs::path& folder, const Arguments& more = {}) {
  Arguments all = trainer.arguments;
  for (const std::string& argument :
       {std::string("--max-steps"), std::to_string(trainer.steps), std::string("--checkpoint-every"),
        std::to_string(kFirstCheckpoint), std::string("--record-tensors-every"), std::string("100"),
        std::string("--record"), (folder / "record").string(), std::string("--checkpoint"),
        (folder / "checkpoint").string()})
    all.push_back(argument);
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::string parameters_of(const std::string& out) {
  std::smatch found;
  return std::regex_search(out, found, std::regex("parameters ([0-9a-f]{32}) after")) ? found[1].str()
                                                                                      : std::string();
}

std::int64_t resumed_step(const std::string& err) {
  std::smatch found;
  return std::regex_search(err, found, std::regex("resumed at step ([0-9]+)")) ? std::stoll(found[1].str())
                                                                               : -1;
}

std::int64_t newest_checkpoint(const fs::path& folder) {
  const auto found = fs::is_directory(folder) ? state::find_checkpoint(folder) : state::CheckpointSearch{};
  return found.checkpoint ? found.checkpoint->step : -1;
}

/// Starts the trainer in an empty `folder` and sends `signal` when its first checkpoint lies on the disk.
Finished stopped(const Trainer& trainer, const fs::path& folder, const Arguments& more, int signal) {
  Finished finished;
  for (int attempt = 0; attempt < kAttempts && finished.code != 128 + signal; ++attempt) {
    fs::remove_all(folder / "record");
    fs::remove_all(folder / "checkpoint");
    Process process(trainer.program, recorded(trainer, folder, more));
    while (process.running() && newest_checkpoint(folder / "checkpoint") < kFirstCheckpoint)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    process.send(signal);
    finished = process.wait();
  }
  return finished;
}

record::Comparison compare(const fs::path& a, const fs::path& b, std::vector<record::Phase> phases = {}) {
  record::CompareOptions options;
  options.phases = std::move(phases);
  return record::compare_runs(record::open_run(a / "record"), record::open_run(b / "record"), options);
}

std::string explain(const record::Comparison& comparison) { return record::to_text(comparison, false); }

class Resume : public testing::TestWithParam<Trainer> {
 protected:
  const fs::path& whole() {
    if (parameters_.empty()) {
      const Finished finished =
          run(GetParam().program, recorded(GetParam(), whole_.path(), {"--workers", "0"}));
      EXPECT_EQ(finished.code, 0) << finished.err;
      parameters_ = parameters_of(finished.out);
      EXPECT_FALSE(parameters_.empty()) << finished.out;
    }
    return whole_.path();
  }
  const std::string& parameters() {
    whole();
    return parameters_;
  }

  /// Killed and resumed on `device`; uninterrupted on the CPU.
  void expect_as_uninterrupted(const std::string& device) {
    const TemporaryFolder folder;
    const Finished killed =
        stopped(GetParam(), folder.path(), {"--device", device, "--workers", "4"}, SIGKILL);
    ASSERT_EQ(killed.code, 128 + SIGKILL) << "it ended before it could be killed: " << killed.err;

    const Finished resumed =
        run(GetParam().program,
            recorded(GetParam(), folder.path(), {"--device", device, "--workers", "1", "--resume"}));
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_GE(resumed_step(resumed.err), kFirstCheckpoint);
    EXPECT_NE(resumed_step(resumed.err) % kStepsPerEpoch, 0);
    EXPECT_EQ(parameters_of(resumed.out), parameters());
    const record::Comparison comparison = compare(whole(), folder.path());
    EXPECT_EQ(comparison.outcome, record::Outcome::same) << explain(comparison);
    EXPECT_EQ(comparison.steps_compared, GetParam().steps);
  }

 private:
  TemporaryFolder whole_;
  std::string parameters_;
};

INSTANTIATE_TEST_SUITE_P(Trainers, Resume, testing::ValuesIn(trainers()),
                         [](const auto& instance) { return instance.param.program; });

TEST_P(Resume, KilledInTheMiddleOfAnEpochEqualsUninterrupted) { expect_as_uninterrupted("cpu"); }

/// With batches that were copied to the device ahead of the step that was killed.
class ResumeGpu : public Resume {};
INSTANTIATE_TEST_SUITE_P(Trainers, ResumeGpu, testing::ValuesIn(trainers()),
                         [](const auto& instance) { return instance.param.program; });

TEST_P(ResumeGpu, KilledInTheMiddleOfAnEpochEqualsUninterruptedOnTheCpu) {
  if (cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
  expect_as_uninterrupted("cuda");
}

TEST_P(Resume, InterruptedLeavesAWholeRecordingAndACheckpoint) {
  const TemporaryFolder folder;
  const Finished ended = stopped(GetParam(), folder.path(), {"--workers", "2"}, SIGINT);
  ASSERT_EQ(ended.code, 128 + SIGINT) << ended.err;
  EXPECT_NE(ended.err.find("--resume"), std::string::npos);
  const auto file = record::open_run(folder / "record").files.at(0);
  EXPECT_EQ(record::check(file).verdict, record::Verdict::complete);
  EXPECT_EQ(newest_checkpoint(folder / "checkpoint"), record::check(file).last_step + 1);

  const Finished resumed =
      run(GetParam().program, recorded(GetParam(), folder.path(), {"--workers", "0", "--resume"}));
  EXPECT_EQ(parameters_of(resumed.out), parameters()) << resumed.err;
  const record::Comparison comparison =
      compare(whole(), folder.path(), {record::Phase::batch, record::Phase::loss});
  EXPECT_EQ(comparison.outcome, record::Outcome::same) << explain(comparison);
}

TEST_P(Resume, AnotherSeedIsDifferent) {
  const TemporaryFolder folder;
  const Finished finished = run(GetParam().program, recorded(GetParam(), folder.path(), {"--seed", "1"}));
  ASSERT_EQ(finished.code, 0) << finished.err;
  EXPECT_NE(parameters_of(finished.out), parameters());
  EXPECT_NE(compare(whole(), folder.path()).outcome, record::Outcome::same);
}

TEST_P(Resume, MicroBatchesSeeTheSameData) {
  const TemporaryFolder folder;
  const Finished finished =
      run(GetParam().program, recorded(GetParam(), folder.path(), {"--micro-batch", "3"}));
  ASSERT_EQ(finished.code, 0) << finished.err;
  const record::Comparison comparison = compare(whole(), folder.path(), {record::Phase::batch});
  EXPECT_EQ(comparison.outcome, record::Outcome::same) << explain(comparison);
}

class Damage : public testing::Test {
 protected:
  void SetUp() override {
    const Finished first = run("linear_regression", {"--max-steps", "30", "--checkpoint-every", "10",
                                                     "--checkpoint", checkpoints()});
    ASSERT_EQ(first.code, 0) << first.err;
  }
  std::string checkpoints() const { return (folder_ / "checkpoint").string(); }
  Finished resume(const Arguments& more = {}) const {
    Arguments all = {"--max-steps", "60", "--checkpoint", checkpoints(), "--resume"};
    all.insert(all.end(), more.begin(), more.end());
    return run("linear_regression", all);
  }
  std::string expected() const { return parameters_of(run("linear_regression", {"--max-steps", "60"}).out); }

 private:
  TemporaryFolder folder_;
};

TEST_F(Damage, FallsBackToTheCheckpointBeforeAndSaysSo) {
  const auto newest = state::find_checkpoint(checkpoints()).file;
  fs::resize_file(newest, fs::file_size(newest) - 1);
  const Finished resumed = resume();
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("damaged"), std::string::npos) << resumed.err;
  EXPECT_EQ(resumed_step(resumed.err), 20);
  EXPECT_EQ(parameters_of(resumed.out), expected());
}

TEST_F(Damage, RefusesWhenEveryCheckpointIsDamaged) {
  for (const auto& entry : fs::directory_iterator(checkpoints())) fs::resize_file(entry.path(), 10);
  for (const char* mode : {"--resume", "--resume=auto"}) {
    const Finished resumed = resume({mode});
    EXPECT_EQ(resumed.code, 2) << mode;
    EXPECT_NE(resumed.err.find("damaged ones only"), std::string::npos) << resumed.err;
  }
}

TEST_F(Damage, RefusesChangedDataAndSettingsByName) {
  const Finished other_data = resume({"--data-seed", "1"});
  EXPECT_EQ(other_data.code, 2);
  EXPECT_NE(other_data.err.find("dataset"), std::string::npos) << other_data.err;
  const Finished other_rate = resume({"--learning-rate", "0.5"});
  EXPECT_EQ(other_rate.code, 2);
  EXPECT_NE(other_rate.err.find("learning_rate: expected 0.03, got 0.5"), std::string::npos)
      << other_rate.err;
  const Finished other_program = run("ranking", {"--checkpoint", checkpoints(), "--resume"});
  EXPECT_EQ(other_program.code, 2);
  EXPECT_NE(other_program.err.find("linear_regression"), std::string::npos) << other_program.err;
}

TEST_F(Damage, MoreEpochsAreNoChange) { EXPECT_EQ(resume({"--epochs", "9"}).code, 0); }

}  // namespace
}  // namespace lockstep::test
