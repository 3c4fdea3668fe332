#pragma once
// The check itself: all runs, one after the other, each compared with the first.

#include "lockstep/record/report_consistency.h"
#include "options.h"

namespace lockstep::tools {

struct CheckResult {
  record::Consistency consistency;
  bool interrupted = false;
};

/// `folder` gets one folder a run. Throws Error when the command cannot be started or a folder is in use.
CheckResult check_consistency(const CheckConsistencyOptions& options, const std::filesystem::path& folder);

}  // namespace lockstep::tools
