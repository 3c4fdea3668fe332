#pragma once
// What this build is: printed by every --version and written into every recording.

#include <string>
#include <string_view>

namespace lockstep {

struct BuildInfo {
  std::string version;        ///< "0.1.0"
  std::string commit;         ///< short git hash, "-dirty" appended; "unknown" outside a checkout
  std::string compiler;       ///< "GNU 12.2.0"
  std::string build_type;     ///< "Release"
  std::string numeric_flags;  ///< "-ffp-contract=off"
  std::string cuda;           ///< "13.0", or "none"
};

const BuildInfo& build_info();

/// Instruction sets of the running CPU that matter to us, best first: "avx2", "sse4", …
std::string cpu_instruction_set();

/// The CPU's model name as the system tells it; "unknown" where it does not.
std::string cpu_model();

/// The text of `<program> --version`: several lines, ending with a newline. A program whose kernels have
/// several vector forms names the one that runs, simd::active_instruction_set(); else the line tells what the
/// processor has.
std::string version_text(std::string_view program, std::string_view instruction_set = cpu_instruction_set());

}  // namespace lockstep
