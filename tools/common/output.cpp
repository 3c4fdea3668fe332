#include "common/output.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/state/durable_file.h"

namespace lockstep::tools {

bool use_color(const std::string& mode) {
  if (mode == "always") return true;
  if (mode == "never") return false;
  if (mode != "auto")
    fail(ErrorCode::invalid_argument, {"--color", "value", "auto, always or never", mode, {}});
  const char* terminal = std::getenv("TERM");
  return isatty(STDOUT_FILENO) && !std::getenv("NO_COLOR") && terminal && std::strcmp(terminal, "dumb") != 0;
}

void write_report(const std::string& path, const std::string& text) {
  if (path == "-") {
    fmt::print("{}", text);
    return;
  }
  // A device or a pipe must be written to, not replaced by a file.
  std::error_code ignored;
  const bool special =
      std::filesystem::exists(path, ignored) && !std::filesystem::is_regular_file(path, ignored);
  if (!special) {
    state::write_file_durably(path, text);
    return;
  }
  std::ofstream file(path, std::ios::binary);
  if (!(file << text << std::flush))
    fail_errno(errno, path, "cannot be written", "Name a file that can be written");
}

void exit_on_interrupt() {
  const auto leave = [](int) { _exit(kExitInterrupted); };
  std::signal(SIGINT, leave);
  std::signal(SIGTERM, leave);
}

int report_error(const std::string& program, const std::string& message) {
  fmt::print(stderr, "{}: {}\n", program, message);
  return kExitTrouble;
}

}  // namespace lockstep::tools
