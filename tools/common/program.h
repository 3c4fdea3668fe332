#pragma once
// What the main functions of the commands share.

#include <exception>
#include <string>

#include <fmt/format.h>

#include "common/output.h"
#include "lockstep/base/version.h"
#include "lockstep/simd/targets.h"

namespace lockstep::tools {

/// Parses the command line, answers --help and --version, else runs; an exception is told on standard error
/// and gives kExitTrouble. `Options` has the members help and version.
template <class Options>
int run_program(const std::string& name, int argc, char** argv, Options (*parse)(int, char**),
                std::string (*help)(), int (*run)(const Options&)) {
  try {
    const Options options = parse(argc, argv);
    if (options.help) {
      fmt::print("{}", help());
      return 0;
    }
    if (options.version) {
      fmt::print("{}", version_text(name, simd::active_instruction_set()));
      return 0;
    }
    return run(options);
  } catch (const std::exception& error) {
    return report_error(name, error.what());
  }
}

}  // namespace lockstep::tools
