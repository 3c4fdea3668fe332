#pragma once
// The runs that a call asks for: the product of all axes, and what of it reaches the command.

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace lockstep::tools {

struct Axis {
  std::string name;  ///< "micro-batch"
  std::vector<std::string> values;

  std::string variable() const;     ///< "LOCKSTEP_MICRO_BATCH"
  std::string placeholder() const;  ///< "{micro-batch}"
};

struct Combination {
  std::vector<std::string> values;  ///< one an axis
  int run = 1;                      ///< from 1, where combinations are repeated
  std::string folder_name;          ///< "02-workers=4-run1"
};

/// The last axis changes fastest; a combination's repetitions follow each other.
std::vector<Combination> combinations(const std::vector<Axis>& axes, int runs);

/// The command with placeholders replaced.
std::vector<std::string> command_of(const std::vector<std::string>& command, const std::vector<Axis>& axes,
                                    const Combination& combination, const std::filesystem::path& record);

/// This process's environment with the variables of the combination and LOCKSTEP_RECORD set.
std::vector<std::string> environment_of(const std::vector<Axis>& axes, const Combination& combination,
                                        const std::filesystem::path& record);

}  // namespace lockstep::tools
