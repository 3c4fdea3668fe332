#include "process.h"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <signal.h>
#include <sstream>
#include <stdexcept>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

namespace lockstep::test {
namespace {

constexpr int kCannotStart = 127;
constexpr int kSignalBase = 128;

void redirect(const std::filesystem::path& file, int descriptor) {
  const int opened = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (opened < 0 || dup2(opened, descriptor) < 0) _exit(kCannotStart);
}

}  // namespace

Process::Process(const std::string& program, const std::vector<std::string>& arguments,
                 const std::vector<std::string>& environment) {
  const std::string file = (std::filesystem::path(LOCKSTEP_PROGRAM_DIR) / program).string();
  std::vector<char*> argv{const_cast<char*>(file.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ != 0) return;
  redirect(streams_ / "out", STDOUT_FILENO);
  redirect(streams_ / "err", STDERR_FILENO);
  for (const std::string& entry : environment) putenv(const_cast<char*>(entry.c_str()));
  execv(file.c_str(), argv.data());
  _exit(kCannotStart);
}

void Process::send(int signal) const { kill(pid_, signal); }

bool Process::running() {
  if (!ended_) ended_ = waitpid(pid_, &status_, WNOHANG) == pid_;
  return !ended_;
}

Finished Process::wait() {
  while (!ended_) ended_ = waitpid(pid_, &status_, 0) == pid_ || errno != EINTR;
  return {WIFSIGNALED(status_) ? kSignalBase + WTERMSIG(status_) : WEXITSTATUS(status_),
          read_text(streams_ / "out"), read_text(streams_ / "err")};
}

Finished run(const std::string& program, const std::vector<std::string>& arguments,
             const std::vector<std::string>& environment) {
  return Process(program, arguments, environment).wait();
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return std::move(text).str();
}

}  // namespace lockstep::test
