// The command as a person calls it: exit codes, words, pipes; native order; what the golden cases of
// tests/golden, which are PyTorch's, cannot hold.

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "lockstep/base/shell_test.h"
#include "lockstep/checksum/sha256.h"

namespace {

using Ids = std::vector<std::int64_t>;
using Json = nlohmann::json;

using Result = lockstep::ShellResult;
using lockstep::shell;

Result run(const std::string& arguments) { return shell(LIST_SAMPLES " " + arguments); }

std::vector<Json> objects(const std::string& arguments) {
  const Result result = run(arguments);
  EXPECT_EQ(result.exit_code, 0) << arguments;
  std::vector<Json> all;
  std::istringstream lines(result.out);
  for (std::string line; std::getline(lines, line);) all.push_back(Json::parse(line));
  return all;
}

Ids ids(const std::string& arguments) {
  Ids all;
  for (const Json& object : objects(arguments)) {
    const Ids batch = object.at("ids").get<Ids>();
    all.insert(all.end(), batch.begin(), batch.end());
  }
  return all;
}

/// stderr of a call that ends with exit code 2 and an empty stdout.
std::string trouble(const std::string& arguments) {
  EXPECT_EQ(run(arguments + " 2>/dev/null").out, "") << arguments;
  const Result result = run(arguments + " 2>&1 >/dev/null");
  EXPECT_EQ(result.exit_code, 2) << arguments;
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 1) << result.out;
  return result.out;
}

void expect_trouble(const std::string& arguments, const std::string& words) {
  const std::string text = trouble(arguments);
  EXPECT_NE(text.find(words), std::string::npos) << arguments << "\n" << text;
}

std::string sha256(const Ids& list) {
  lockstep::checksum::Sha256 hash;
  hash.update(list.data(), list.size() * sizeof(std::int64_t));
  return hash.hex();
}

TEST(ListSamples, NativeOrderIsAPermutationAnEpoch) {
  const std::vector<Json> batches = objects("--count 10 --seed 42 --batch-size 4 --epochs 3");
  ASSERT_EQ(batches.size(), 9u);
  EXPECT_EQ(batches[0], Json::parse(R"({"epoch":0,"batch":0,"ids":[6,9,8,2]})"));
  EXPECT_EQ(batches[8].at("epoch"), 2);
  EXPECT_EQ(batches[8].at("batch"), 2);
  Ids first = ids("--count 10 --seed 42");
  EXPECT_NE(first, ids("--count 10 --seed 43"));
  std::sort(first.begin(), first.end());
  EXPECT_EQ(first, (Ids{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(ListSamples, WorkersDoNotMoveNativeOrder) {
  const std::string options = "--count 1000 --batch-size 32 --epochs 2 --stop-after 3,-";
  EXPECT_EQ(run(options).out, run(options + " --workers 4 --prefetch-factor 5 --persistent-workers").out);
}

TEST(ListSamples, StartIsTheTailOfTheWhole) {
  for (const std::string order :
       {"--seed 3", "--order torch --seed 3", "--order torch --seed 3 --stop-after 4,0,7"}) {
    const std::string options = "--count 100 --batch-size 8 " + order;
    const Ids whole = ids(options + " --epochs 5");
    for (const std::size_t start : {1u, 8u, 13u, 32u, 99u, 100u, 101u, 150u, 230u}) {
      const std::string from = fmt::format(" --start {}", start);
      const Ids tail = ids(options + from + " --epochs 1");
      ASSERT_FALSE(tail.empty());
      EXPECT_TRUE(std::equal(tail.begin(), tail.end(), whole.begin() + static_cast<std::ptrdiff_t>(start)))
          << order << from;
    }
  }
}

TEST(ListSamples, AFarStartCostsNothing) {
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<Json> batch = objects("--count 60000 --batch-size 64 --start 1000000000 --limit 1");
  const std::vector<Json> one = objects("--count 3000000000 --batch-size 64 --start 1000000000 --limit 1");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  ASSERT_EQ(batch.size(), 1u);
  EXPECT_EQ(batch[0].at("epoch"), 16666);
  EXPECT_EQ(batch[0].at("batch"), 625);
  EXPECT_EQ(one[0].at("epoch"), 0);
  EXPECT_EQ(one[0].at("batch"), 15625000);
}

TEST(ListSamples, RanksTogetherHoldTheBatch) {
  const std::string options = "--count 50 --batch-size 12 --seed 1";
  const std::vector<Json> whole = objects(options);
  for (std::size_t batch = 0; batch < whole.size(); ++batch) {
    Ids joined;
    for (int rank = 0; rank < 3; ++rank) {
      const Ids part =
          objects(options + fmt::format(" --world-size 3 --rank {}", rank))[batch].at("ids").get<Ids>();
      joined.insert(joined.end(), part.begin(), part.end());
    }
    EXPECT_EQ(joined, whole[batch].at("ids").get<Ids>());
  }
}

TEST(ListSamples, DigestIsOverTheIds) {
  for (const std::string options :
       {"--count 1000 --batch-size 7", "--count 50 --stop-after 3 --batch-size 4",
        "--count 0 --sampler sequential", "--order torch --count 9999 --permutation --seed 1",
        "--count 100 --split 100"}) {
    const Ids list = ids(options);
    const std::vector<Json> digests = objects(options + " --digest");
    ASSERT_EQ(digests.size(), 1u) << options;
    EXPECT_EQ(digests[0].at("count"), list.size());
    EXPECT_EQ(digests[0].at("sha256"), sha256(list)) << options;
  }
}

TEST(ListSamples, WrapFillsTheLastBatch) {
  const Ids list = ids("--count 10 --sampler sequential --batch-size 4 --wrap-last");
  EXPECT_EQ(list, (Ids{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1}));
}

TEST(ListSamples, NativeSamplersAndSplits) {
  EXPECT_EQ(ids("--sampler weighted --weights 0,1,0 --replacement --num-samples 4"), (Ids{1, 1, 1, 1}));
  EXPECT_EQ(ids("--count 1 --replacement --num-samples 3"), (Ids{0, 0, 0}));
  Ids subset = ids("--sampler subset --indices 9,4,7");
  std::sort(subset.begin(), subset.end());
  EXPECT_EQ(subset, (Ids{4, 7, 9}));
  const std::vector<Json> parts = objects("--count 11 --split 0.5,0.25,0.25");
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].at("ids").size(), 6u);
  EXPECT_EQ(parts[2].at("part"), 2);
  EXPECT_EQ(ids("--count 10 --permutation --seed 42"), ids("--count 10 --seed 42"));
}

TEST(ListSamples, ListsComeFromFilesToo) {
  const auto folder = std::filesystem::path(testing::TempDir()) / fmt::format("list_samples_{}", ::getpid());
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "list").string();
  for (const std::string content : {"3,1,2", "3\n1\n2\n", "3, 1\r\n2,\n\n"}) {
    std::ofstream(path) << content;
    EXPECT_EQ(ids("--sampler subset --seed 5 --indices @" + path),
              ids("--sampler subset --seed 5 --indices 3,1,2"));
  }
  std::ofstream(path) << "1,x\n";
  expect_trouble("--sampler subset --indices @" + path, "--indices: expected a whole number, got \"x\"");
  expect_trouble("--sampler subset --indices @" + path + ".none", "No such file");
  std::filesystem::remove_all(folder);
}

TEST(ListSamples, TheSamplersGeneratorIsTold) {
  const std::string options = "--order torch --sampler subset --indices 3,1,4,1,5,9,2,6 --seed 1";
  EXPECT_NE(run(options + " 2>&1 >/dev/null").out.find("generator=g in both places"), std::string::npos);
  EXPECT_EQ(run(options + " --quiet 2>&1 >/dev/null").out, "");
  EXPECT_EQ(ids(options + " --quiet"), ids(options + " --sampler-generator loader"));
  EXPECT_NE(ids(options + " --global-seed 2"), ids(options + " --global-seed 3")) << "a sampler made by hand";
  EXPECT_EQ(ids("--order torch --count 9 --seed 1 --global-seed 2"), ids("--order torch --count 9 --seed 1"));
}

TEST(ListSamples, RefusesWithTheNextStep) {
  expect_trouble("", "Pass --count N");
  expect_trouble("--count x", "--count: expected a whole number, got \"x\"");
  expect_trouble("--count -1", "--count: expected 0 or more, got -1");
  expect_trouble("--count 10 --batch-size 0", "--batch-size: expected 1 or more, got 0");
  expect_trouble("--count 10 --world-size 2 --batch-size 3", "a divisor of the global batch size 3, got 2");
  expect_trouble("--count 10 --world-size 4 --batch-size 2", "Use fewer ranks or a larger batch");
  expect_trouble("--count 10 --batch-size 4 --world-size 2 --rank 2", "rank: expected 0 to 1, got 2");
  expect_trouble("--count 10 --order tocrh", "--order: expected one of torch, native, got \"tocrh\"");
  expect_trouble("--count 10 --seed 18446744073709551616", "a seed from -2^63 to 2^64-1");
  expect_trouble("--count 10 --bogus", "bogus");
  expect_trouble("--count 10 surplus", "surplus");
  expect_trouble("--count 10 --no-in-order", "Which worker is first is decided by the machine's load");
  expect_trouble("--count 10 --order torch", "pass --seed S for a generator handed to the loader");
  expect_trouble("--count 10 --order torch --sampler sequential --draws", "--global-seed");
  expect_trouble("--count 10 --draws", "Add --order torch");
  expect_trouble("--count 10 --distributed", "Add --order torch");
  expect_trouble("--count 10 --order torch --seed 1 --epoch 2", "list them from the first with --epochs");
  expect_trouble("--count 10 --order torch --seed 1 --persistent-workers", "--workers 1 or more");
  expect_trouble("--count 10 --order torch --seed 1 --workers 1 --prefetch-factor 0", "--prefetch-factor");
  expect_trouble("--count 10 --order torch --seed 1 --wrap-last", "PyTorch keeps or drops");
  expect_trouble("--count 0 --order torch --seed 1", "An empty dataset can be read in sequence only");
  expect_trouble("--sampler weighted --weights 1,2", "which records are used up");
  expect_trouble("--sampler weighted --weights 1,-2 --replacement", "weight 1");
  expect_trouble("--sampler weighted", "--weights");
  expect_trouble("--count 2 --sampler subset --indices 1,2", "ids below --count 2, got 2");
  expect_trouble("--count 10 --weights 1,2", "--sampler weighted");
  expect_trouble("--count 10 --sampler sequential --num-samples 4", "--num-samples");
  expect_trouble("--count 10 --split 0.33,0.56,0.11", "a sum above 1");
  expect_trouble("--count 10 --split 3,4", "sum of the lengths");
  expect_trouble("--count 10 --stop-after 1,2 --epochs 1", "Raise --epochs");
  expect_trouble("--count 10 --stop-after 1,x", "--stop-after");
  expect_trouble("--count 10 --batch-size 20 --drop-last --start 5", "no epoch holds a sample");
}

TEST(ListSamples, HelpAndVersion) {
  const Result help = run("--help");
  EXPECT_EQ(help.exit_code, 0);
  for (const char* word : {"Example:", "--stop-after", "--worker-seeds", "Exit status"}) {
    EXPECT_NE(help.out.find(word), std::string::npos) << word;
  }
  const Result version = run("--version");
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_NE(version.out.find("list_samples (lockstep)"), std::string::npos);
  EXPECT_NE(version.out.find("commit"), std::string::npos);
}

TEST(ListSamples, AReaderMayLeave) {
  const auto file =
      std::filesystem::path(testing::TempDir()) / fmt::format("list_samples_left_{}", ::getpid());
  const Result first = shell(
      fmt::format("{{ {0} --count 1000000000 --batch-size 64; echo exit $? >>{1}; }} 2>>{1} | head -n 1",
                  LIST_SAMPLES, file.string()));
  EXPECT_EQ(Json::parse(first.out).at("batch"), 0);
  std::ifstream left(file);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(left), {}), "exit 0\n");
  std::filesystem::remove(file);
}

TEST(ListSamples, AFullDiskIsTrouble) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const Result result = run("--count 1000 2>&1 >/dev/full");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.out.find("No space left on device"), std::string::npos) << result.out;
}

TEST(ListSamples, CtrlCEndsWith130) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (!freopen("/dev/null", "w", stdout)) _exit(1);
    execl(LIST_SAMPLES, "list_samples", "--count", "1000000000000", nullptr);
    _exit(1);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  kill(child, SIGINT);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
}

}  // namespace
