#pragma once

#include <string>
#include <vector>

#include "lockstep/record/compare.h"

namespace lockstep::tools {

struct CompareBatchesOptions {
  std::vector<std::string> runs;  ///< A and B; empty with --dir
  std::string directory;
  record::CompareOptions compare;
  std::string json, html;  ///< file names, "-" for standard output; empty: none
  std::string color = "auto";
  bool quiet = false;
  bool help = false, version = false;
};

/// Throws lockstep::Error(invalid_argument) with what to do.
CompareBatchesOptions parse_options(int argc, char** argv);
std::string help_text();

}  // namespace lockstep::tools
