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
  Arguments arguments;
};

constexpr std::int64_t kStepsPerEpoch = 250;
constexpr const char* kSteps = "400";

std::vector<Trainer> trainers() {
  const std::string images = std::string(LOCKSTEP_DATA_DIR) + "/fashion-mnist";
  return {{"linear_regression", {"--batch-size", "4", "--epochs", "2"}},
          {"fashion_mnist", {"--batch-size", "8", "--hidden", "16", "--epochs", "2", "--data", images}},
          {"ranking", {"--batch-size", "8", "--epochs", "2"}}};
}

void PrintTo(const Trainer& trainer, std::ostream* stream) { *stream << trainer.program; }

/// The trainer's arguments for a run that is recorded and checkpointed below `folder`.
Arguments recorded(const Trainer& trainer, const fs::path& folder, const Arguments& more = {}) {
  Arguments all = trainer.arguments;
  for (const std::string& argument :
       {std::string("--max-steps"), std::string(kSteps), std::string("--checkpoint-every"), std::string("7"),
        std::string("--record-tensors-every"), std::string("10"), std::string("--record"),
        (folder / "record").string(), std::string("--checkpoint"), (folder / "checkpoint").string()})
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

/// Waits until a checkpoint of at least `step` lies on the disk, then sends `signal`.
Finished stop_after(Process& process, const fs::path& checkpoints, std::int64_t step, int signal) {
  while (process.running() && newest_checkpoint(checkpoints) < step)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  process.send(signal);
  return process.wait();
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

 private:
  TemporaryFolder whole_;
  std::string parameters_;
};

INSTANTIATE_TEST_SUITE_P(Trainers, Resume, testing::ValuesIn(trainers()),
                         [](const auto& instance) { return instance.param.program; });

TEST_P(Resume, KilledInTheMiddleOfAnEpochEqualsUninterrupted) {
  const TemporaryFolder folder;
  Process process(GetParam().program, recorded(GetParam(), folder.path(), {"--workers", "4"}));
  const Finished killed = stop_after(process, folder / "checkpoint", 14, SIGKILL);
  ASSERT_EQ(killed.code, 128 + SIGKILL) << "it ended before it could be killed: " << killed.err;

  const Finished resumed =
      run(GetParam().program, recorded(GetParam(), folder.path(), {"--workers", "1", "--resume"}));
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_GE(resumed_step(resumed.err), 14);
  EXPECT_NE(resumed_step(resumed.err) % kStepsPerEpoch, 0);
  EXPECT_EQ(parameters_of(resumed.out), parameters());
  const record::Comparison comparison = compare(whole(), folder.path());
  EXPECT_EQ(comparison.outcome, record::Outcome::same) << explain(comparison);
  EXPECT_EQ(comparison.steps_compared, std::stoll(kSteps));
}

TEST_P(Resume, InterruptedLeavesAWholeRecordingAndACheckpoint) {
  const TemporaryFolder folder;
  Process process(GetParam().program, recorded(GetParam(), folder.path(), {"--workers", "2"}));
  const Finished stopped = stop_after(process, folder / "checkpoint", 7, SIGINT);
  ASSERT_EQ(stopped.code, 128 + SIGINT) << stopped.err;
  EXPECT_NE(stopped.err.find("--resume"), std::string::npos);
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
