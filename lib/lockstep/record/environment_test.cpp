#include "lockstep/record/environment.h"

#include <cstdlib>

#include <gtest/gtest.h>

#include "lockstep/record/record_test.h"

namespace lockstep::record::testing {
namespace {

namespace fs = std::filesystem;

const std::string kCommit(40, 'a');

TEST(Environment, KnowsTheMachineAndTheBuild) {
  const auto map = environment();
  for (const char* key :
       {"host.name", "host.kernel", "host.libc", "cpu.model", "cpu.count", "cpu.instruction_set",
        "cpu.rounding", "build.lockstep", "build.commit", "build.compiler", "build.numeric_flags"}) {
    ASSERT_TRUE(map.contains(key)) << key;
    EXPECT_FALSE(map.at(key).empty()) << key;
  }
  EXPECT_EQ(map.at("cpu.rounding"), "to nearest");
}

TEST(Environment, KeepsVariablesThatChangeResultsAndNoOthers) {
  ::setenv("OMP_NUM_THREADS", "3", 1);
  ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 1);
  ::setenv("LOCKSTEP_NOTE", "", 1);
  ::setenv("SECRET_TOKEN", "hidden", 1);
  const auto map = environment();
  EXPECT_EQ(map.at("env.OMP_NUM_THREADS"), "3");
  EXPECT_EQ(map.at("env.CUBLAS_WORKSPACE_CONFIG"), ":4096:8");
  EXPECT_EQ(map.at("env.LOCKSTEP_NOTE"), "") << "set but empty is not the same as unset";
  EXPECT_FALSE(map.contains("env.SECRET_TOKEN"));
  EXPECT_FALSE(map.contains("env.HOME"));
}

TEST(Environment, CommitOfABranch) {
  const TemporaryFolder folder;
  fs::create_directories(folder.path() / ".git/refs/heads/topic");
  fs::create_directories(folder.path() / "deep/below");
  write_file(folder.path() / ".git/HEAD", "ref: refs/heads/topic/x\n");
  write_file(folder.path() / ".git/refs/heads/topic/x", kCommit + "\n");
  const auto head = git_head(folder.path() / "deep/below");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->commit, kCommit);
  EXPECT_EQ(head->branch, "topic/x");
}

TEST(Environment, CommitOfADetachedHead) {
  const TemporaryFolder folder;
  fs::create_directories(folder.path() / ".git");
  write_file(folder.path() / ".git/HEAD", kCommit + "\n");
  EXPECT_EQ(git_head(folder.path())->commit, kCommit);
  EXPECT_EQ(git_head(folder.path())->branch, "");
}

TEST(Environment, CommitOfAPackedReferenceAndOfAWorktree) {
  const TemporaryFolder folder;
  const fs::path main = folder.path() / "main/.git", tree = main / "worktrees/tree";
  fs::create_directories(tree);
  fs::create_directories(folder.path() / "tree");
  write_file(main / "packed-refs", "# pack-refs with: peeled fully-peeled sorted \n" + std::string(40, 'b') +
                                       " refs/heads/other\n" + kCommit + " refs/heads/topic\n");
  write_file(tree / "HEAD", "ref: refs/heads/topic\n");
  write_file(tree / "commondir", "../..\n");
  write_file(folder.path() / "tree/.git", "gitdir: " + tree.string() + "\n");
  const auto head = git_head(folder.path() / "tree");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->commit, kCommit);
  EXPECT_EQ(head->branch, "topic");
}

TEST(Environment, NoCheckoutNoCommit) {
  const TemporaryFolder folder;
  fs::create_directories(folder.path() / ".git");
  EXPECT_FALSE(git_head(folder.path())) << "a .git without HEAD";
  write_file(folder.path() / ".git/HEAD", "ref: refs/heads/unborn\n");
  EXPECT_FALSE(git_head(folder.path())) << "a branch without a commit";
}

TEST(Environment, CommandLineIsThisProgram) {
  ASSERT_FALSE(command_line().empty());
  std::error_code error;
  EXPECT_EQ(fs::path(command_line().front()).filename(),
            fs::read_symlink("/proc/self/exe", error).filename());
}

}  // namespace
}  // namespace lockstep::record::testing
