#pragma once

#include <string>
#include <vector>

#include "combinations.h"

namespace lockstep::tools {

struct CheckConsistencyOptions {
  std::vector<Axis> axes;
  int runs = 0;  ///< of every combination
  std::string directory;
  bool keep = false;
  std::string json, html;
  double timeout_seconds = 0;  ///< of one run; 0: none
  std::string color = "auto";
  bool quiet = false;
  bool help = false, version = false;
  std::vector<std::string> command;
};

/// Throws lockstep::Error(invalid_argument) with what to do.
CheckConsistencyOptions parse_options(int argc, char** argv);
std::string help_text();

}  // namespace lockstep::tools
