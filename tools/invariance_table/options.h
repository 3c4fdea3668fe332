#pragma once

#include <string>

namespace lockstep::tools {

struct InvarianceTableOptions {
  std::string experiments = "abcdefg";
  std::string csv, json, html;  ///< file names, "-" for standard output; empty: none
  std::string color = "auto";
  int threads = 0;  ///< 0: LibTorch's own number
  int repeats = 3;
  std::string device = "cpu";
  bool reduced = false, quiet = false;
  bool help = false, version = false;
};

/// Throws lockstep::Error(invalid_argument) with what to do.
InvarianceTableOptions parse_options(int argc, char** argv);
std::string help_text();

}  // namespace lockstep::tools
