#pragma once
// The report of several runs of one command, all compared with the first: what check_consistency prints.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lockstep/record/compare.h"

namespace lockstep::record {

struct ConsistencyRun {
  std::vector<std::string> values;  ///< one an axis
  std::string folder;
  double seconds = 0;
  std::string problem;         ///< why there is nothing to compare: "exit status 3", "no recording"
  std::string problem_detail;  ///< what to do about it, and the last lines of output; may hold line breaks
  std::optional<Comparison> comparison;  ///< with the first run; empty for the first itself
};

struct Consistency {
  std::vector<std::string> axes;  ///< "workers", "threads", … and "run" where combinations are repeated
  std::vector<ConsistencyRun> runs;
  std::vector<std::string> command;  ///< with its placeholders
  std::vector<std::string> warnings;

  /// trouble when a run has a problem or its comparison is trouble, unless another run differs.
  Outcome outcome() const;
};

/// Summary, table, and the full report of the first run that is not the same.
std::string to_text(const Consistency& consistency, bool color);
/// "schema": "lockstep.consistency/1", described in docs/formats/compare-json.md.
std::string to_json(const Consistency& consistency);
std::string to_html(const Consistency& consistency);

}  // namespace lockstep::record
