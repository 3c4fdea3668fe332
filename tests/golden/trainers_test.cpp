// Runs each case of trainers.jsonl in every instruction set of this machine and compares losses, gradients
// and parameters of its first steps with the bits that every processor must give.

#include <filesystem>
#include <fstream>
#include <map>
#include <ostream>
#include <string>
#include <variant>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "../resume_trainers/process.h"
#include "lockstep/base/device.h"
#include "lockstep/checksum/sha256.h"
#include "lockstep/record/reader.h"
#include "lockstep/simd/targets.h"

namespace lockstep::test {
namespace {

using Arguments = std::vector<std::string>;

constexpr std::size_t kShown = 16;  // digits of a SHA-256 that a case keeps

struct Step {
  std::string loss, gradients, parameters;

  bool operator==(const Step&) const = default;
};

void PrintTo(const Step& step, std::ostream* stream) {
  *stream << "loss " << step.loss << ", gradients " << step.gradients << ", parameters " << step.parameters;
}

struct Case {
  std::string program;
  Arguments arguments;
  std::vector<Step> steps;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  std::ifstream file(TRAINER_CASES);
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line);
    Case one{json.at("program"), json.at("arguments"), {}};
    for (const auto& step : json.at("steps"))
      one.steps.push_back({step.at("loss"), step.at("gradients"), step.at("parameters")});
    all.push_back(std::move(one));
  }
  return all;
}

std::string with_data(std::string argument) {
  const std::string mark = "{data}";
  if (argument.starts_with(mark)) argument.replace(0, mark.size(), LOCKSTEP_DATA_DIR);
  return argument;
}

Arguments command_line(const Case& one, const std::string& folder) {
  Arguments all = {
      "--max-steps", std::to_string(one.steps.size()), "--record-tensors-every", "1", "--quiet", "--record",
      folder};
  for (const std::string& argument : one.arguments) all.push_back(with_data(argument));
  return all;
}

std::string shortened(const std::string& lines) {
  checksum::Sha256 sum;
  sum.update(lines.data(), lines.size());
  return sum.hex().substr(0, kShown);
}

/// What a recording holds, step by step.
class Summary {
 public:
  void add(const record::Record& record) {
    if (const auto* loss = std::get_if<record::LossRecord>(&record); loss != nullptr && loss->name == "loss")
      losses_[loss->step] = fmt::format("0x{:08x}", loss->bits);
    if (const auto* tensor = std::get_if<record::TensorRecord>(&record))
      lines_[{tensor->step, tensor->phase}] +=
          fmt::format("{} {}\n", tensor->tensor.name, tensor->tensor.digest.hex());
  }
  std::vector<Step> steps() {
    std::vector<Step> all;
    for (const auto& [step, loss] : losses_)
      all.push_back({loss, shortened(lines_[{step, record::Phase::gradient}]),
                     shortened(lines_[{step, record::Phase::parameter}])});
    return all;
  }

 private:
  std::map<std::int64_t, std::string> losses_;
  std::map<std::pair<std::int64_t, record::Phase>, std::string> lines_;
};

std::vector<Step> steps_of(const std::filesystem::path& folder) {
  Summary summary;
  record::Reader reader(record::open_run(folder).files.at(0));
  while (const auto record = reader.next()) summary.add(*record);
  return summary.steps();
}

void expect_steps(const Case& one, const Arguments& more, const Arguments& environment) {
  const TemporaryFolder folder;
  Arguments arguments = command_line(one, folder.path().string());
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Finished finished = run(one.program, arguments, environment);
  ASSERT_EQ(finished.code, 0) << finished.err;
  const std::vector<Step> steps = steps_of(folder.path());
  ASSERT_EQ(steps.size(), one.steps.size());
  for (std::size_t step = 0; step < steps.size(); ++step)
    ASSERT_EQ(steps[step], one.steps[step])
        << one.program << " " << fmt::format("{}", fmt::join(one.arguments, " ")) << ", step " << step << ", "
        << fmt::format("{}", fmt::join(environment, " "));
}

TEST(TrainersGolden, FirstStepsInEveryInstructionSet) {
  ASSERT_FALSE(cases().empty());
  for (const Case& one : cases())
    for (const std::string& set : simd::instruction_sets()) expect_steps(one, {}, {"LOCKSTEP_ISA=" + set});
}

TEST(TrainersGolden, FirstStepsInPiecesOnThreads) {
  for (const Case& one : cases())
    expect_steps(one, {"--micro-batch", "3", "--threads", "2", "--workers", "2"}, {});
}

TEST(TrainersGoldenGpu, FirstSteps) {
  if (cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
  for (const Case& one : cases()) {
    expect_steps(one, {"--device", "cuda"}, {});
    expect_steps(one, {"--device", "cuda", "--micro-batch", "3", "--workers", "2"}, {});
  }
}

// The twin that must fail: LibTorch's own kernels have other bits.
TEST(TrainersGoldenTwin, OtherKernelsGoRed) {
  const Case one = cases().at(3);
  const TemporaryFolder folder;
  Arguments arguments = command_line(one, folder.path().string());
  arguments.emplace_back("--no-invariant");
  ASSERT_EQ(run(one.program, arguments).code, 0);
  EXPECT_NE(steps_of(folder.path()), one.steps);
}

}  // namespace
}  // namespace lockstep::test
