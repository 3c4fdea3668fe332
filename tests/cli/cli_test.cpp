// compare_batches and check_consistency as a person calls them.

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "lockstep/base/temporary_folder_test.h"

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Output {
  int exit_code;
  std::string out, err;
};

std::string read(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// A folder of its own for each test.
class Cli : public testing::Test {
 protected:
  Output shell(const std::string& command) const {
    const fs::path out = folder_ / ".out", err = folder_ / ".err";
    const std::string line =
        fmt::format("cd {} && {{ {}; }} >{} 2>{}", folder_.string(), command, out.string(), err.string());
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), read(out), read(err)};
  }
  void train(const std::string& arguments) const {
    EXPECT_EQ(shell(kTrainer + " " + arguments).exit_code, 0);
  }
  Output compare(const std::string& arguments) const { return shell(kCompare + " " + arguments); }
  Output check(const std::string& arguments) const { return shell(kCheck + " " + arguments); }

  const std::string kTrainer = FAKE_TRAINER, kCompare = COMPARE_BATCHES, kCheck = CHECK_CONSISTENCY;
  const lockstep::TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
};

/// Whether `words` stand in `text`, wherever its lines are broken.
::testing::AssertionResult has(const std::string& text, const std::string& words) {
  static const std::regex kSpace("\\s+");
  if (std::regex_replace(text, kSpace, " ").find(words) != std::string::npos)
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "no '" << words << "' in:\n" << text;
}

TEST_F(Cli, CompareSaysSame) {
  train("record=a");
  train("record=b workers=4 micro-batch=5");
  const Output result = compare("a b");
  EXPECT_EQ(result.exit_code, 0) << result.out;
  EXPECT_EQ(result.out.rfind("SAME  40 steps compared, every record the same bit for bit\n", 0), 0u)
      << result.out;
  EXPECT_TRUE(has(result.out, "workers"));
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(compare("a b --quiet").out, "");
}

struct Wrong {
  const char* kind;
  const char* name;
  const char* words;
};

/// For the names that the test runner prints.
void PrintTo(const Wrong& wrong, std::ostream* stream) { *stream << wrong.kind; }

class CliClass : public Cli, public testing::WithParamInterface<Wrong> {};

TEST_P(CliClass, IsNamed) {
  train("record=a");
  train(fmt::format("record=b at=17 wrong={}", GetParam().kind));
  const Output result = compare("a b --json -");
  EXPECT_EQ(result.exit_code, 1);
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json["class"], GetParam().name);
  EXPECT_EQ(json["outcome"], "different");
  const std::string kind = GetParam().kind;
  EXPECT_EQ(json["first"]["step"], kind == "init" ? 0 : 17);
  const Output text = compare("a b");
  EXPECT_TRUE(has(text.out, GetParam().words));
  EXPECT_EQ(text.out.rfind("DIFFERENT  first at step", 0), 0u) << text.out;
}

INSTANTIATE_TEST_SUITE_P(
    All, CliClass,
    testing::Values(Wrong{"order", "same_samples_other_order", "the same samples in another order"},
                    Wrong{"samples", "other_samples", "holds other samples"},
                    Wrong{"augment", "same_samples_other_content", "other bytes in 'data'"},
                    Wrong{"forward", "same_data_other_value", "the operation that makes it is the suspect"},
                    Wrong{"gradient", "same_data_other_value", "backward pass is the suspect"},
                    Wrong{"optimizer", "same_data_other_value", "optimizer state 'weight.momentum' differs"},
                    Wrong{"parameter", "same_data_other_value", "optimizer's update is the suspect"},
                    Wrong{"loss", "only_loss", "Only the value reported as 'loss' differs"},
                    Wrong{"metric", "only_loss", "Only the value reported as 'accuracy' differs"},
                    Wrong{"init", "state_before", "begin from other states"}),
    [](const auto& test) { return std::string(test.param.kind); });

TEST_F(Cli, TheFirstDivergenceHasElementValuesAndDistance) {
  train("record=a");
  train("record=b wrong=augment at=2");
  const Json first = Json::parse(compare("a b --json -").out)["first"];
  EXPECT_EQ(first["phase"], "batch");
  EXPECT_EQ(first["tensor"], "data");
  EXPECT_EQ(first["index"], "[1, 1]");
  EXPECT_EQ(first["element"], 5);
  EXPECT_EQ(first["dtype"], "float32");
  EXPECT_EQ(first["ulps"], "1");
  const auto bits = [&](const char* side) {
    return std::stoul(first[side]["bits"].get<std::string>(), nullptr, 16);
  };
  EXPECT_EQ(bits("a") + 1, bits("b"));
}

TEST_F(Cli, AnotherSeedIsRefusedAndShownByForce) {
  train("record=a");
  train("record=b seed=2");
  const Output refused = compare("a b");
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_TRUE(has(refused.out, "seed (1 against 2)"));
  EXPECT_TRUE(has(refused.out, "--force"));
  const Output forced = compare("a b --force");
  EXPECT_EQ(forced.exit_code, 1);
  EXPECT_TRUE(has(forced.out, "Another seed draws another order"));
}

TEST_F(Cli, MissingEvidenceIsTrouble) {
  train("record=a");
  for (const char* kind : {"torn", "damaged"}) {
    train(fmt::format("record={} wrong={}", kind, kind));
    const Output result = compare(fmt::format("a {}", kind));
    EXPECT_EQ(result.exit_code, 2) << result.out;
    EXPECT_EQ(result.out.rfind("TROUBLE", 0), 0u);
  }
  EXPECT_EQ(shell(kTrainer + " record=killed wrong=crash at=20").exit_code, 137);
  const Output killed = compare("a killed");
  EXPECT_EQ(killed.exit_code, 2);
  EXPECT_TRUE(has(killed.out, "without its end record; step 19"));
}

TEST_F(Cli, LengthsDiffer) {
  train("record=a");
  train("record=b steps=30");
  const Output result = compare("a b");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(has(result.out, "B ends with step 29, A goes on to step 39"));
}

TEST_F(Cli, AResumedRunIsTheSameUnlessItsOverlapDisagrees) {
  const std::string id(32, 'c');
  train("record=a");
  EXPECT_EQ(shell(fmt::format("{} record=b wrong=crash at=25 run-id={}", kTrainer, id)).exit_code, 137);
  train(fmt::format("record=b run-id={} segment=1 first-step=20", id));
  const Output same = compare("a b");
  EXPECT_EQ(same.exit_code, 0) << same.out;
  fs::copy(folder_ / "b", folder_ / "c");
  for (const auto& entry : fs::directory_iterator(folder_ / "c")) {
    if (entry.path().string().find("-s1") != std::string::npos) fs::remove(entry.path());
  }
  train(fmt::format("record=c run-id={} segment=1 first-step=20 wrong=resume at=22", id));
  const Output inside = compare("a c");
  EXPECT_EQ(inside.exit_code, 1);
  EXPECT_TRUE(has(inside.out, "inside B"));
}

TEST_F(Cli, ToleranceNeedsValues) {
  train("record=a");
  train("record=b wrong=gradient at=17");
  EXPECT_EQ(compare("a b --rtol 1e-5").exit_code, 0);
  EXPECT_EQ(compare("a b --atol 1e-5").exit_code, 0);
  EXPECT_EQ(compare("a b --atol 1e-30").exit_code, 1);
  train("record=c values=no statistics=no");
  train("record=d values=no statistics=no wrong=gradient at=17");
  const Output undecided = compare("c d --rtol 1e-5");
  EXPECT_EQ(undecided.exit_code, 2);
  EXPECT_TRUE(has(undecided.out, "cannot be decided with a tolerance"));
}

TEST_F(Cli, PhasesDecide) {
  train("record=a");
  train("record=b wrong=metric at=17");
  EXPECT_EQ(compare("a b --phase batch,parameter").exit_code, 0);
  EXPECT_EQ(compare("a b --phase batch --phase loss").exit_code, 1);
  const Output unknown = compare("a b --phase weights");
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_TRUE(has(unknown.err, "gradient"));
}

TEST_F(Cli, TheNewestTwoRunsAreTakenByRecordedTimeAndNotByTheFiles) {
  train("record=runs started-ns=3000000000 wrong=augment at=3");
  train("record=runs started-ns=2000000000");
  train("record=runs started-ns=1000000000");
  const Json json = Json::parse(compare("--dir runs --json -").out);
  EXPECT_EQ(json["a"]["run"]["started_ns"], "2000000000");
  EXPECT_EQ(json["b"]["run"]["started_ns"], "3000000000");
  EXPECT_TRUE(has(json["notes"].dump(), "newest two of 3 runs in runs, by recorded start time"));
}

TEST_F(Cli, ErrorsNameTheNextStep) {
  train("record=one");
  const Output few = compare("--dir one");
  EXPECT_EQ(few.exit_code, 2);
  EXPECT_TRUE(has(few.err, "expected two, got 1 ("));
  EXPECT_TRUE(has(few.err, "Record another run into this folder"));
  EXPECT_EQ(compare("one nowhere").exit_code, 2);
  EXPECT_EQ(compare("--dir nowhere").exit_code, 2);
  EXPECT_TRUE(has(compare("one").err, "two files or folders"));
  EXPECT_TRUE(has(compare("one one --exact --rtol 1").err, "--exact"));
  EXPECT_EQ(compare("one one --rtol -1").exit_code, 2);
  EXPECT_EQ(compare("one one --wrong").exit_code, 2);
  EXPECT_EQ(compare("one one --color=blue").exit_code, 2);
  std::ofstream(folder_ / "text.lsr") << "not a recording";
  EXPECT_TRUE(has(compare("one text.lsr").err, "not a recording"));
  EXPECT_EQ(compare("one one --json no/such/folder.json").exit_code, 2);
}

TEST_F(Cli, HelpAndVersion) {
  for (const auto* tool : {&kCompare, &kCheck}) {
    const Output help = shell(*tool + " --help");
    EXPECT_EQ(help.exit_code, 0);
    EXPECT_TRUE(has(help.out, "Examples"));
    EXPECT_TRUE(has(help.out, "130 interrupted"));
    EXPECT_TRUE(has(shell(*tool + " --version").out, "numeric flags"));
    EXPECT_TRUE(has(shell("LOCKSTEP_ISA=SCALAR " + *tool + " --version").out, "instruction set SCALAR"));
    EXPECT_TRUE(has(shell("LOCKSTEP_ISA=AVX99 " + *tool + " --version").err, "one that this machine has"));
  }
}

TEST_F(Cli, ColorIsForTerminalsOrOnDemand) {
  train("record=a");
  EXPECT_FALSE(has(compare("a a").out, "\x1b["));
  EXPECT_TRUE(has(compare("a a --color=always").out, "\x1b[1;32mSAME"));
  EXPECT_TRUE(has(compare("a a").out, "one and the same run"));
}

TEST_F(Cli, TextFitsATerminal) {
  train("record=a");
  train("record=b wrong=forward at=17 threads=2 values=no");
  std::istringstream lines(compare("a b").out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
}

void expect_keys(const Json& json, std::initializer_list<const char*> keys) {
  EXPECT_EQ(json.size(), keys.size()) << json.dump(1);
  for (const char* key : keys) EXPECT_TRUE(json.contains(key)) << key;
}

TEST_F(Cli, JsonHasTheDocumentedStructure) {
  train("record=a");
  train("record=b wrong=order at=17");
  EXPECT_EQ(compare("a b --json result.json").exit_code, 1);
  const Json json = Json::parse(read(folder_ / "result.json"));
  EXPECT_EQ(json["schema"], "lockstep.compare/1");
  expect_keys(json, {"schema",
                     "lockstep",
                     "outcome",
                     "exit_code",
                     "summary",
                     "options",
                     "a",
                     "b",
                     "steps_compared",
                     "steps_different",
                     "records_compared",
                     "phases",
                     "first",
                     "class",
                     "cause",
                     "hints",
                     "trouble",
                     "notes",
                     "differences",
                     "last_equal_parameters",
                     "strip"});
  expect_keys(json["first"], {"step", "epoch", "batch", "rank", "inside", "phase", "tensor", "element",
                              "index", "dtype", "a", "b", "ulps", "digest_a", "digest_b", "detail"});
  expect_keys(json["a"], {"file", "verdict", "run"});
  expect_keys(json["differences"], {"semantic", "placement", "environment", "policy"});
  expect_keys(json["strip"], {"first_step", "last_step", "steps_per_cell", "cells"});
  EXPECT_EQ(json["strip"]["cells"].get<std::string>().substr(15, 4), "..x.");
  const std::string page = read(fs::path(LOCKSTEP_SOURCE_DIR) / "docs/formats/compare-json.md");
  for (const auto& [key, value] : json.items()) EXPECT_TRUE(has(page, "`" + key + "`"));
  for (const auto& [key, value] : json["first"].items()) EXPECT_TRUE(has(page, "`" + key + "`"));
}

TEST_F(Cli, HtmlIsOneFileWithoutNetworkOrScriptAndEscapesWhatWasRecorded) {
  train("record=a");
  train("record=b wrong=order at=17 'torch=<script>alert(1)</script>&\"'");
  EXPECT_EQ(compare("a b --html page.html --quiet").exit_code, 1);
  const std::string page = read(folder_ / "page.html");
  EXPECT_EQ(page.rfind("<!DOCTYPE html>", 0), 0u);
  EXPECT_FALSE(has(page, "<script"));
  EXPECT_FALSE(has(page, "http"));
  EXPECT_FALSE(has(page, "url("));
  EXPECT_TRUE(has(page, "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;"));
  EXPECT_TRUE(has(page, "<title>step 17: different</title>"));
  EXPECT_TRUE(has(page, "prefers-color-scheme: dark"));
}

TEST_F(Cli, CheckSaysSameOverAllCombinations) {
  const Output result = check("--vary workers=0,1,4 --vary threads=1,2 --json r.json -- " + kTrainer);
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_EQ(result.out.rfind("SAME  6 runs, 40 steps each", 0), 0u) << result.out;
  EXPECT_EQ(result.err, "");
  const Json json = Json::parse(read(folder_ / "r.json"));
  EXPECT_EQ(json["schema"], "lockstep.consistency/1");
  ASSERT_EQ(json["runs"].size(), 6u);
  EXPECT_EQ(json["runs"][5]["values"], Json({"4", "2"}));
  EXPECT_EQ(json["runs"][0]["outcome"], "reference");
  EXPECT_EQ(json["runs"][5]["comparison"]["b"]["run"]["placement"]["workers"], "4");
  EXPECT_FALSE(fs::exists(json["runs"][0]["folder"].get<std::string>()));
}

TEST_F(Cli, CheckNamesTheCombinationThatDiffers) {
  const Output result =
      check("--vary threads=1,2 --dir kept --html p.html -- " + kTrainer + " wrong=threads at=9");
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.out.rfind("DIFFERENT  2 runs, 1 differs from the first", 0), 0u) << result.out;
  EXPECT_TRUE(has(result.out, "step 9, named 'output'"));
  EXPECT_TRUE(has(result.out, "threads: 1 against 2"));
  EXPECT_TRUE(fs::exists(folder_ / "kept/02-threads=2/output.log"));
  EXPECT_TRUE(has(read(folder_ / "p.html"), "Run 2 (B) against run 1 (A)"));
  const Output again = check("--vary threads=1,2 --dir kept -- " + kTrainer);
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_TRUE(has(again.err, "empty folder"));
}

TEST_F(Cli, CheckPutsValuesIntoTheCommand) {
  const std::string command =
      fmt::format("env -u LOCKSTEP_RECORD -u LOCKSTEP_MICRO_BATCH {} record={{record}}/deep", kTrainer);
  EXPECT_TRUE(
      has(check("--vary micro-batch=12,5 -- " + command + " micro-batch={micro-batch}").out, "no recording"));
  const std::string direct =
      fmt::format("env -u LOCKSTEP_RECORD -u LOCKSTEP_MICRO_BATCH {} record={{record}}", kTrainer);
  const Output result =
      check("--vary micro-batch=12,5 --keep --json - -- " + direct + " micro-batch={micro-batch}");
  EXPECT_EQ(result.exit_code, 0) << result.out;
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json["runs"][1]["comparison"]["differences"]["placement"][0]["b"], "5");
  fs::remove_all(fs::path(json["runs"][0]["folder"].get<std::string>()).parent_path());
}

TEST_F(Cli, CheckWarnsOfAnAxisThatTheCommandIgnores) {
  const Output result = check("--vary gpus=1,2 -- " + kTrainer);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(has(result.out, "warning: nothing tells that the command took gpus"));
  EXPECT_FALSE(has(check("--vary workers=1,2 -- " + kTrainer).out, "warning"));
}

TEST_F(Cli, CheckShowsWhyARunFailed) {
  const Output thrown = check("--dir t -- " + kTrainer + " wrong=throw at=3");
  EXPECT_EQ(thrown.exit_code, 2);
  EXPECT_TRUE(has(thrown.out, "exit status 3"));
  EXPECT_TRUE(has(thrown.out, "the loss is not finite at step 3"));
  EXPECT_TRUE(has(check("--dir c -- " + kTrainer + " wrong=crash at=3").out, "killed by signal 9"));
  const Output nothing = check("--dir n -- " + kTrainer + " wrong=no-record");
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_TRUE(has(nothing.out, "$LOCKSTEP_RECORD"));
  const Output hanging = check("--dir h --timeout 0.5 -- " + kTrainer + " wrong=hang at=3");
  EXPECT_EQ(hanging.exit_code, 2);
  EXPECT_TRUE(has(hanging.out, "timed out after"));
  EXPECT_TRUE(has(check("-- ./no-such-program").err, "cannot be started"));
  EXPECT_TRUE(has(check("--runs 1 -- " + kTrainer).err, "2 or more"));
  EXPECT_TRUE(has(check("--runs 2").err, "a command after --"));
  EXPECT_TRUE(has(check("--vary 3 -- " + kTrainer).err, "NAME=VALUE"));
}

TEST_F(Cli, AnInterruptReachesTheCommandAndLeavesWholeFiles) {
  const std::string command = fmt::format(
      "timeout --signal=INT --foreground 1.5 {} --dir kept -- {} wrong=slow steps=100000", kCheck, kTrainer);
  const auto start = std::chrono::steady_clock::now();
  const Output result = shell(command + "; [ $? -eq 124 ]");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(9));
  EXPECT_TRUE(has(result.err, "check_consistency: interrupted; recordings are in"));
  EXPECT_EQ(shell(fmt::format(
                      "timeout --preserve-status --signal=INT --foreground 1 {} --dir more -- {} wrong=hang",
                      kCheck, kTrainer))
                .exit_code,
            130);
  EXPECT_TRUE(has(compare("kept/01-run1 kept/01-run1").out, "complete, interrupted"));
}

}  // namespace
