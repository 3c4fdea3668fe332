#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace lockstep::tools {

struct InspectOptions {
  std::string file;
  std::optional<std::int64_t> batch;
  std::int64_t values = 256;
  std::string json;  ///< file name, "-" for standard output; empty: none
  std::string color = "auto";
  bool quiet = false;
  bool help = false, version = false;
};

/// Throws lockstep::Error(invalid_argument) with what to do.
InspectOptions parse_options(int argc, char** argv);
std::string help_text();

}  // namespace lockstep::tools
