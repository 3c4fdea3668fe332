#pragma once
// The header of a trainer's recording.

#include <map>
#include <string>

#include "common/options.h"
#include "common/setup.h"
#include "lockstep/record/model.h"

namespace lockstep::trainers {

/// Everything that decides what is computed.
std::map<std::string, std::string> semantic_settings(const TrainingSetup& setup,
                                                     const TrainingOptions& options);

/// A header without run id and times, for segment 0.
record::RunInfo make_run_info(const TrainingSetup& setup, const TrainingOptions& options);

}  // namespace lockstep::trainers
