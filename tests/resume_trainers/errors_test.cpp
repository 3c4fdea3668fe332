// What a trainer says when it cannot do what it was asked, and which options win.

#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "process.h"

namespace lockstep::test {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

void expect_trouble(const Arguments& arguments, const std::string& words, const Arguments& environment = {}) {
  const Finished finished = run("linear_regression", arguments, environment);
  EXPECT_EQ(finished.code, 2);
  EXPECT_NE(finished.err.find(words), std::string::npos) << finished.err;
  EXPECT_EQ(finished.out, "");
}

std::string parameters_of(const Arguments& arguments, const Arguments& environment = {}) {
  const Finished finished = run("linear_regression", arguments, environment);
  EXPECT_EQ(finished.code, 0) << finished.err;
  std::smatch found;
  return std::regex_search(finished.out, found, std::regex("parameters ([0-9a-f]{32})")) ? found[1].str()
                                                                                         : std::string();
}

TEST(TrainerErrors, OptionsThatCannotWork) {
  expect_trouble({"--batch-size", "0"}, "--batch-size: expected a whole number, 1 or more, got 0");
  expect_trouble({"--batch-size", "ten"}, "got ten");
  expect_trouble({"--epochs", "-1"}, "--epochs");
  expect_trouble({"--learning-rate", "nan"}, "a finite number");
  expect_trouble({"--accum-steps", "0"}, "--accum-steps");
  expect_trouble({"--accum-steps", "2", "--micro-batch", "3"}, "one of the two");
  expect_trouble({"--order", "random"}, "native or torch");
  expect_trouble({"--device", "gpu"}, "cpu, cuda or cuda:N, got gpu");
  expect_trouble({"--device", "cuda:999"}, "cuda_device: device");  // with or without one
  expect_trouble({"--no-such-option"}, "--help");
  expect_trouble({"surplus"}, "surplus");
  expect_trouble({"--batch-size", "2000", "--last-batch", "drop"}, "--last-batch keep");
}

TEST(TrainerErrors, TheEnvironmentIsNamedWhenItIsWrong) {
  expect_trouble({}, "LOCKSTEP_WORKERS: expected a whole number", {"LOCKSTEP_WORKERS=many"});
}

TEST(TrainerErrors, ResumeNeedsACheckpoint) {
  const TemporaryFolder folder;
  expect_trouble({"--resume"}, "Pass --checkpoint DIR");
  expect_trouble({"--resume", "--checkpoint", folder.path().string()}, "Start anew without --resume");
  EXPECT_EQ(run("linear_regression", {"--resume=auto", "--checkpoint", (folder / "new").string()}).code, 0);
}

TEST(TrainerErrors, FoldersThatCannotBeWritten) {
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "not a folder";
  const std::string below = (folder / "file/below").string();
  expect_trouble({"--record", below}, below);
  const Finished checkpoint = run("linear_regression", {"--checkpoint", below, "--max-steps", "1"});
  EXPECT_EQ(checkpoint.code, 2);
  EXPECT_NE(checkpoint.err.find(below), std::string::npos) << checkpoint.err;
}

TEST(TrainerErrors, DataThatAreNotThere) {
  expect_trouble({"--dataset", "diabetes", "--data", "no/such/table.csv"}, "no/such/table.csv");
  const Finished images = run("fashion_mnist", {"--data", "no/such/folder"});
  EXPECT_EQ(images.code, 2);
  EXPECT_NE(images.err.find("no/such/folder"), std::string::npos) << images.err;
}

TEST(TrainerErrors, DataThatAreDamaged) {
  const TemporaryFolder folder;
  fs::copy(fs::path(LOCKSTEP_DATA_DIR) / "fashion-mnist", folder / "images");
  fs::resize_file(folder / "images/train-images-idx3-ubyte.gz", 1000);
  const Finished finished = run("fashion_mnist", {"--data", (folder / "images").string()});
  EXPECT_EQ(finished.code, 2);
  EXPECT_NE(finished.err.find("train-images-idx3-ubyte.gz"), std::string::npos) << finished.err;
}

TEST(TrainerErrors, HelpAndVersion) {
  for (const char* program : {"linear_regression", "fashion_mnist", "ranking", "gpt2"}) {
    const Finished help = run(program, {"--help"});
    EXPECT_EQ(help.code, 0);
    EXPECT_NE(help.out.find("Example:"), std::string::npos);
    EXPECT_NE(help.out.find("--accum-steps"), std::string::npos);
    EXPECT_NE(run(program, {"--version"}).out.find(program), std::string::npos);
  }
}

TEST(TrainerOptions, TheCommandLineWinsOverTheEnvironment) {
  const Arguments steps = {"--max-steps", "5"};
  const std::string by_default = parameters_of(steps);
  EXPECT_NE(parameters_of(steps, {"LOCKSTEP_SEED=3"}), by_default);
  EXPECT_EQ(parameters_of({"--max-steps", "5", "--seed", "0"}, {"LOCKSTEP_SEED=3"}), by_default);
  EXPECT_EQ(parameters_of({}, {"LOCKSTEP_MAX_STEPS=5"}), by_default);
}

TEST(TrainerOptions, TorchOrderIsAnotherOrderForTheSameParametersAtAnyNumberOfWorkers) {
  const std::string torch = parameters_of({"--order", "torch", "--workers", "0"});
  EXPECT_EQ(parameters_of({"--order", "torch", "--workers", "3"}), torch);
  EXPECT_NE(parameters_of({"--order", "native"}), torch);
}

TEST(LinearRegression, SumOverBatchIsTheSameUpdateAsTheMean) {
  const Arguments scratch = {"--model", "scratch", "--batch-size", "10"};
  Arguments sums = scratch;
  sums.insert(sums.end(), {"--loss-reduction", "sum-over-batch"});
  EXPECT_EQ(parameters_of(scratch), parameters_of(sums));
  EXPECT_NE(parameters_of(scratch), parameters_of({"--model", "module"}));
}

TEST(LinearRegression, FindsTheTruth) {
  for (const char* model : {"scratch", "module"}) {
    const Finished finished = run("linear_regression", {"--model", model});
    EXPECT_TRUE(
        std::regex_search(finished.out, std::regex("weight\\[0\\] +(1\\.99|2\\.00)\\d+ +truth +2\\.000000")))
        << finished.out;
    EXPECT_TRUE(std::regex_search(finished.out, std::regex("bias +(4\\.19|4\\.20)\\d+ +truth +4\\.200000")))
        << finished.out;
    EXPECT_TRUE(std::regex_search(finished.out, std::regex("largest difference 0\\.00\\d+"))) << finished.out;
  }
}

TEST(LinearRegression, VerboseShowsEveryPartOfAStep) {
  const Finished finished = run("linear_regression", {"--model", "scratch", "--max-steps", "2", "--verbose"});
  for (const char* part : {"step 0\n", "step 1\n", "y_hat", "loss", "d weight", "d bias", "weight", "bias"})
    EXPECT_NE(finished.out.find(part), std::string::npos) << part;
}

TEST(LinearRegression, JsonIsOneObject) {
  const Finished finished = run("linear_regression", {"--max-steps", "2", "--json"});
  EXPECT_EQ(finished.out.front(), '{');
  EXPECT_NE(finished.out.find("\"schema\": \"lockstep.trainer/1\""), std::string::npos);
  EXPECT_NE(finished.out.find("\"steps\": 2"), std::string::npos);
}

TEST(Ranking, VerifiesBatchesAndKeepsEveryKthEpoch) {
  const TemporaryFolder folder;
  const Finished finished =
      run("ranking", {"--epochs", "4", "--pairs", "100", "--verify-batches", "9", "--checkpoint",
                      folder.path().string(), "--checkpoint-every-epochs", "2"});
  EXPECT_EQ(finished.code, 0) << finished.err;
  EXPECT_NE(finished.out.find("9 batches are the same when they are read again"), std::string::npos)
      << finished.out;
  std::size_t kept = 0;
  for (const auto& entry : fs::directory_iterator(folder / "kept")) kept += entry.is_regular_file();
  EXPECT_EQ(kept, 2U);
}

}  // namespace
}  // namespace lockstep::test
