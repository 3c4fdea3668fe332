#pragma once
// For the tests of commands.

#include <array>
#include <cstdio>
#include <string>
#include <sys/wait.h>

namespace lockstep {

struct ShellResult {
  int exit_code = -1;  ///< -1: it did not come to its own end
  std::string out;     ///< standard output, or what the command's redirections make of it
};

inline ShellResult shell(const std::string& command) {
  ShellResult result;
  FILE* const pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return result;
  std::array<char, 1 << 16> buffer;
  for (std::size_t read; (read = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    result.out.append(buffer.data(), read);
  const int status = pclose(pipe);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  return result;
}

}  // namespace lockstep
