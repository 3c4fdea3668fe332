#pragma once
// One run of the command as a child process in its own process group, its output in a file.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace lockstep::tools {

struct ChildResult {
  int exit_code = 0;
  int signal = 0;  ///< that ended it; 0: none
  bool timed_out = false, interrupted = false;
  double seconds = 0;

  bool succeeded() const { return exit_code == 0 && signal == 0 && !timed_out && !interrupted; }
  /// "exit status 3", "killed by signal 9 (Killed)", "timed out after 5 s".
  std::string text() const;
};

/// From now on SIGINT and SIGTERM are noted instead of ending the program; run_child passes them on.
void note_interrupts();
bool interrupted();

/// Runs `command` (searched in PATH) to its end. An interrupt is passed on to the child's process group,
/// which then has 10 seconds to leave whole files; a second one, or the end of that time, kills it.
/// `progress` gets the seconds so far. Throws Error(not_found, io) when the command cannot be started.
ChildResult run_child(const std::vector<std::string>& command, const std::vector<std::string>& environment,
                      const std::filesystem::path& log, double timeout_seconds,
                      const std::function<void(double)>& progress);

/// The last lines of a log, without control characters, each behind four spaces.
std::string last_lines(const std::filesystem::path& log, std::size_t count);

}  // namespace lockstep::tools
