// The command as a person calls it: exit codes, formats, words.

#include <array>
#include <cstdio>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "lockstep/base/shell_test.h"

namespace {

using Json = nlohmann::json;

using Result = lockstep::ShellResult;

Result run(const std::string& arguments) {
  return lockstep::shell(INVARIANCE_TABLE " " + arguments + " 2>&1");
}

bool has(const Result& result, const std::string& words) {
  return result.out.find(words) != std::string::npos;
}

/// Every experiment, at reduced sizes, on one device.
void expect_promises(const std::string& device) {
  const Result result = run("--reduced --repeats 1 --json - --device " + device);
  if (has(result, "expected a CUDA device, got none")) GTEST_SKIP() << result.out;
  ASSERT_EQ(result.exit_code, 0) << result.out;
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json["schema"], "lockstep.invariance_table/1");
  EXPECT_EQ(json["broken"], 0);
  std::string experiments;
  std::size_t eager_differs = 0, deterministic_differs = 0;
  for (const Json& row : json["rows"]) {
    const std::string experiment = row["experiment"];
    if (experiments.empty() || experiments.back() != experiment[0]) experiments += experiment;
    if (!row["promised"]) continue;
    eager_differs += row["eager"].value("differing", 0) > 0;
    if (row.contains("deterministic"))
      deterministic_differs += row["deterministic"].value("differing", 0) > 0;
    const bool refused = row["ours"].contains("refused");
    const bool low = row["precision"] == "bf16" || row["precision"] == "fp16";
    EXPECT_EQ(refused, low) << row.dump(1);
    EXPECT_EQ(row["ours"].value("differing", 0), 0) << row.dump(1);
  }
  EXPECT_EQ(experiments, "abcdefg");
  EXPECT_GT(eager_differs, 5u) << "the comparison must be able to see a difference";
  if (device == "cpu") return;
  EXPECT_GT(deterministic_differs, 5u) << "LibTorch's deterministic algorithms depend on the batch too";
  EXPECT_NE(json["environment"]["device"], json["environment"]["cpu.model"]);
  EXPECT_NE(json["environment"].value("cuda.driver", ""), "");
}

TEST(InvarianceTable, TheModeKeepsWhatItPromisesInEveryExperiment) { expect_promises("cpu"); }
TEST(InvarianceTableGpu, TheModeKeepsWhatItPromisesInEveryExperiment) { expect_promises("cuda"); }

/// All of it as it is meant to be looked at.
TEST(InvarianceTableGpu, InFullSizesSlow) {
  const Result result = run("--device cuda --quiet");
  if (has(result, "expected a CUDA device, got none")) GTEST_SKIP() << result.out;
  EXPECT_EQ(result.exit_code, 0) << result.out;
}

TEST(InvarianceTable, CsvHasOneLineARowWithTheEnvironment) {
  const Result result = run("--only c --reduced --repeats 1 --csv -");
  ASSERT_EQ(result.exit_code, 0) << result.out;
  std::istringstream lines(result.out);
  std::string header, line;
  std::getline(lines, header);
  EXPECT_EQ(header.rfind("experiment,subject,shape,compared,precision,tensor_cores,", 0), 0u) << header;
  EXPECT_NE(header.find(",device,torch,cuda,cudnn,driver,"), std::string::npos);
  std::size_t rows = 0;
  for (; std::getline(lines, line); ++rows) EXPECT_EQ(line.rfind("c,", 0), 0u) << line;
  EXPECT_EQ(rows, 27u) << "3 precisions of 9 batch sizes";
  EXPECT_TRUE(has(result, "float32 (or, for tests, float64 on the CPU) in the invariant mode"))
      << "why 16 bits are refused";
}

TEST(InvarianceTable, TextNamesBothSides) {
  const Result result = run("--only g --reduced --repeats 1");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(has(result, "addition is not associative")) << result.out;
  EXPECT_TRUE(has(result, "comparisons equal bit for bit")) << result.out;
  EXPECT_EQ(run("--only g --reduced --repeats 1 --quiet").out, "");
}

TEST(InvarianceTable, PageHasPlots) {
  const Result result = run("--only a --repeats 1 --html -");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(has(result, "<svg class=\"plot\""));
  EXPECT_FALSE(has(result, "http")) << "opens without a network";
}

TEST(InvarianceTable, ErrorsAreClear) {
  const auto refused = [](const std::string& arguments, const std::string& words) {
    const Result result = run(arguments);
    EXPECT_EQ(result.exit_code, 2) << result.out;
    EXPECT_TRUE(has(result, words)) << result.out;
  };
  refused("--only h", "letters a to g");
  refused("--device tpu", "expected cpu, cuda or cuda:N, got tpu");
  refused("--device cuda:999", "cuda_device: device");  // with or without one
  refused("--repeats 0", "1 or more");
  refused("--csv - --json -", "one of --csv");
  refused("--only g --reduced --quiet --csv no/such/folder/x.csv", "no/such/folder");
  refused("--frobnicate", "invariance_table --help");
  EXPECT_EQ(run("--help").exit_code, 0);
  EXPECT_TRUE(has(run("--version"), "numeric flags"));
}

}  // namespace
