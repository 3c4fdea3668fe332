#pragma once
// What the commands share: colour, report files, exit codes.

#include <string>

namespace lockstep::tools {

inline constexpr int kExitTrouble = 2;
inline constexpr int kExitInterrupted = 130;

/// `mode` is "auto", "always" or "never". auto: standard output is a terminal that can, and NO_COLOR is
/// unset. Throws Error(invalid_argument) for another word.
bool use_color(const std::string& mode);

/// Writes a report to `path`, whole or not at all; "-" is standard output.
void write_report(const std::string& path, const std::string& text);

/// From now on SIGINT and SIGTERM end the program with exit code 130. For programs that leave nothing half
/// done.
void exit_on_interrupt();

/// "<program>: <message>" on standard error; gives kExitTrouble.
int report_error(const std::string& program, const std::string& message);

}  // namespace lockstep::tools
