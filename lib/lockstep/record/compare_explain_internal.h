#pragma once
// From the evidence of a comparison to its class, its cause and its hints.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lockstep/record/compare.h"
#include "lockstep/record/compare_step_internal.h"

namespace lockstep::record {

/// What the steps from the first divergent one on tell beyond that step itself.
struct Evidence {
  StepResult step;             ///< the first divergent step
  bool initial_state = false;  ///< a step without batch and loss: only state was recorded
  bool first_common = false;   ///< no common step lies before it
  std::int64_t other_phases_different =
      0;  ///< records of other phases than loss that differ, from that step on
  std::int64_t tensors_equal =
      0;  ///< gradients, optimizer state and parameters that match, from that step on
  std::map<std::string, std::int64_t> losses_equal_later;  ///< by name, after that step
  std::vector<std::string> losses_different;
  std::int64_t last_equal_parameters = -1;
  std::int64_t last_equal_step = -1;
};

DivergenceClass classify(const Divergence& first, const Evidence& evidence);
std::string explain_cause(const Divergence& first, DivergenceClass value, const Evidence& evidence);
/// Needs the differences of settings, the first divergence and its class.
std::vector<std::string> explain_hints(const Comparison& comparison);

/// Settings that differ, by name. A setting that one side lacks is shown as "(not recorded)".
std::vector<Setting> setting_differences(const std::map<std::string, std::string>& a,
                                         const std::map<std::string, std::string>& b);

}  // namespace lockstep::record
