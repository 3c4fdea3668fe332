#include "child.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <deque>
#include <fcntl.h>
#include <fstream>
#include <spawn.h>
#include <sys/wait.h>
#include <thread>

#include <fmt/format.h>

#include "lockstep/base/error.h"

namespace lockstep::tools {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kPoll = std::chrono::milliseconds(10);
constexpr double kGraceSeconds = 10;
constexpr std::size_t kLongestLine = 500;

volatile std::sig_atomic_t g_interrupts = 0;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

/// What the child starts with: its own group, no input, output into the log, default signals.
class SpawnSetup {
 public:
  explicit SpawnSetup(const std::filesystem::path& log) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0644);
    posix_spawn_file_actions_adddup2(&actions_, STDOUT_FILENO, STDERR_FILENO);
    posix_spawnattr_init(&attributes_);
    sigset_t defaults;
    sigemptyset(&defaults);
    for (const int signal : {SIGINT, SIGTERM, SIGPIPE}) sigaddset(&defaults, signal);
    posix_spawnattr_setsigdefault(&attributes_, &defaults);
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  pid_t start(const std::vector<std::string>& command, const std::vector<std::string>& environment) {
    pid_t child = 0;
    const int error = posix_spawnp(&child, command.front().c_str(), &actions_, &attributes_,
                                   pointers(command).data(), pointers(environment).data());
    if (error != 0)
      fail_errno(error, command.front(), "command cannot be started",
                 "Check its path and that it may be executed");
    return child;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

/// Ends the child's group in steps: SIGINT, and when the grace is over or a person insists, SIGKILL.
class Stopper {
 public:
  Stopper(pid_t group, double timeout_seconds) : group_(group), timeout_seconds_(timeout_seconds) {}

  void watch(double seconds, ChildResult* result) {
    if (!stopping_ && interrupted()) {
      result->interrupted = true;
      stop(seconds);
    } else if (!stopping_ && timeout_seconds_ > 0 && seconds > timeout_seconds_) {
      result->timed_out = true;
      stop(seconds);
    } else if (stopping_ && (seconds > stopped_at_ + kGraceSeconds || g_interrupts > interrupts_at_stop_)) {
      kill(-group_, SIGKILL);
    }
  }

  /// What the command itself started may outlive it.
  void clean_up() const {
    if (stopping_) kill(-group_, SIGKILL);
  }

 private:
  void stop(double seconds) {
    stopping_ = true;
    stopped_at_ = seconds;
    interrupts_at_stop_ = g_interrupts;
    kill(-group_, SIGINT);
  }

  pid_t group_;
  double timeout_seconds_;
  bool stopping_ = false;
  double stopped_at_ = 0;
  int interrupts_at_stop_ = 0;
};

}  // namespace

std::string ChildResult::text() const {
  if (interrupted) return "interrupted";
  if (timed_out) return fmt::format("timed out after {:.0f} s", seconds);
  if (signal != 0) return fmt::format("killed by signal {} ({})", signal, strsignal(signal));
  return fmt::format("exit status {}", exit_code);
}

void note_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) { g_interrupts = g_interrupts + 1; };
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return g_interrupts > 0; }

ChildResult run_child(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                      const std::filesystem::path& log, double timeout_seconds,
                      const std::function<void(double)>& progress) {
  const auto start = Clock::now();
  const pid_t child = SpawnSetup(log).start(command, environment);
  Stopper stopper(child, timeout_seconds);
  ChildResult result;
  int status = 0;
  while (true) {
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) break;
    if (ended < 0 && errno != EINTR) fail_errno(errno, command.front(), "cannot be waited for");
    result.seconds = seconds_since(start);
    stopper.watch(result.seconds, &result);
    progress(result.seconds);
    std::this_thread::sleep_for(kPoll);
  }
  stopper.clean_up();
  result.seconds = seconds_since(start);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  result.interrupted = result.interrupted || interrupted();
  return result;
}

std::string last_lines(const std::filesystem::path& log, std::size_t count) {
  std::ifstream file(log, std::ios::binary);
  constexpr std::streamoff kTail = 64 * 1024;
  file.seekg(0, std::ios::end);
  file.seekg(std::max<std::streamoff>(0, static_cast<std::streamoff>(file.tellg()) - kTail));
  std::deque<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    std::replace_if(
        line.begin(), line.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
    if (line.find_first_not_of(' ') == line.npos) continue;
    lines.push_back(line.substr(0, kLongestLine));
    if (lines.size() > count) lines.pop_front();
  }
  std::string text;
  for (const auto& line : lines) text += "\n    " + line;
  return text;
}

}  // namespace lockstep::tools
