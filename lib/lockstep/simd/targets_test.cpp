#include "lockstep/simd/targets.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep::simd {
namespace {

TEST(InstructionSets, AreDifferentAndEndWithTheScalarForm) {
  const std::vector<std::string> names = instruction_sets();
  ASSERT_FALSE(names.empty());
  EXPECT_EQ(names.back(), "SCALAR");
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  for (const char* without_fma : {"SSSE3", "SSE4", "EMU128"})
    EXPECT_EQ(std::count(names.begin(), names.end(), without_fma), 0) << without_fma;
}

#if defined(__x86_64__)
TEST(InstructionSets, AreThoseOfTheProcessor) {
  const std::vector<std::string> names = instruction_sets();
  const auto has = [&](const char* name) { return std::count(names.begin(), names.end(), name) == 1; };
  EXPECT_EQ(has("AVX2"), __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
  if (has("AVX3")) {
    EXPECT_TRUE(__builtin_cpu_supports("avx512f"));
    EXPECT_LT(std::find(names.begin(), names.end(), "AVX3"), std::find(names.begin(), names.end(), "AVX2"))
        << "best first";
  }
}
#endif

TEST(InstructionSets, EachCanBeForced) {
  const std::string before(active_instruction_set());
  for (const std::string& name : instruction_sets()) {
    const ForcedSet forced(name);
    EXPECT_EQ(active_instruction_set(), name);
  }
  EXPECT_EQ(active_instruction_set(), before);
}

TEST(InstructionSets, AnUnknownNameIsRefusedAndNothingChanges) {
  const std::string before(active_instruction_set());
  for (const char* wrong : {"AVX99", "avx2", "SCALAR "}) {
    try {
      force_instruction_set(wrong);
      FAIL() << wrong << " was accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      const std::string words = error.what();
      EXPECT_NE(words.find("LOCKSTEP_ISA"), std::string::npos) << words;
      EXPECT_NE(words.find("one that this machine has: "), std::string::npos) << words;
      EXPECT_NE(words.find("SCALAR, got " + std::string(wrong)), std::string::npos) << words;
    }
    EXPECT_EQ(active_instruction_set(), before);
  }
}

// ---- The environment variable, which is read once: each case is a process of its own

/// Exit 0 and the name on stderr; 3 and the message for an error with the right code.
[[noreturn]] void tell_active_set() {
  try {
    const std::string name(active_instruction_set());
    std::fprintf(stderr, "active: %s;\n", name.c_str());
    std::_Exit(0);
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(error.code() == ErrorCode::invalid_argument ? 3 : 4);
  }
}

class InstructionSetFromEnvironmentDeathTest : public testing::Test {
 protected:
  void SetUp() override {
    testing::GTEST_FLAG(death_test_style) =
        "threadsafe";  // the child starts anew, and has chosen nothing yet
    const char* const before = std::getenv("LOCKSTEP_ISA");
    if (before != nullptr) before_ = before;
    was_set_ = before != nullptr;
  }
  void TearDown() override {
    if (was_set_)
      setenv("LOCKSTEP_ISA", before_.c_str(), 1);
    else
      unsetenv("LOCKSTEP_ISA");
  }

 private:
  std::string before_;
  bool was_set_ = false;
};

TEST_F(InstructionSetFromEnvironmentDeathTest, NamesTheForm) {
  setenv("LOCKSTEP_ISA", "SCALAR", 1);
  EXPECT_EXIT(tell_active_set(), testing::ExitedWithCode(0), "active: SCALAR;");
  const std::string best = instruction_sets().front();
  setenv("LOCKSTEP_ISA", best.c_str(), 1);
  EXPECT_EXIT(tell_active_set(), testing::ExitedWithCode(0), "active: " + best + ";");
}

TEST_F(InstructionSetFromEnvironmentDeathTest, EmptyOrAbsentIsTheBest) {
  const std::string best = "active: " + instruction_sets().front() + ";";
  setenv("LOCKSTEP_ISA", "", 1);
  EXPECT_EXIT(tell_active_set(), testing::ExitedWithCode(0), best);
  unsetenv("LOCKSTEP_ISA");
  EXPECT_EXIT(tell_active_set(), testing::ExitedWithCode(0), best);
}

TEST_F(InstructionSetFromEnvironmentDeathTest, UnknownIsAnErrorThatListsWhatThereIs) {
  setenv("LOCKSTEP_ISA", "AVX99", 1);
  EXPECT_EXIT(tell_active_set(), testing::ExitedWithCode(3),
              "environment variable LOCKSTEP_ISA.: expected one that this machine has: .*SCALAR, got AVX99");
}

#if defined(__x86_64__)
TEST_F(InstructionSetFromEnvironmentDeathTest, ASetWithoutFmaIsTheScalarForm) {
  if (!__builtin_cpu_supports("sse4.2")) GTEST_SKIP() << "this machine has no SSE4";
  setenv("LOCKSTEP_ISA", "SSE4", 1);
  EXPECT_EXIT(tell_active_set(), testing::ExitedWithCode(0), "active: SCALAR;");
}
#endif

}  // namespace
}  // namespace lockstep::simd
