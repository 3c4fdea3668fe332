#pragma once
// One step of both runs.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/record/compare.h"
#include "lockstep/record/compare_stream_internal.h"
#include "lockstep/record/compare_values_internal.h"

namespace lockstep::record {

inline constexpr std::size_t kPhaseCount = 7;  ///< phases are numbered from 1

/// What the batch records of a step say about its data.
enum class BatchState : std::uint8_t { absent, equal, order, samples, content, position, undecided };

/// What a policy promises, so that a record that was never promised is not taken for a lost one.
struct Policy {
  std::int64_t tensors_every = 0;
  bool promises_tensors(std::int64_t step) const { return tensors_every > 0 && step % tensors_every == 0; }
};
Policy policy_of(const RunInfo& info);

struct StepRules {
  Tolerance tolerance;
  std::array<bool, kPhaseCount> judged{};  ///< phases that decide the outcome
  Policy policy_a, policy_b;
};

struct StepCounts {
  std::int64_t compared = 0, different = 0, one_sided = 0, undecided = 0;
};

struct StepResult {
  std::array<StepCounts, kPhaseCount> counts{};
  std::optional<Divergence> first;  ///< the first of the judged phases, in the order of a step
  BatchState batch = BatchState::absent;
  std::string batch_part;        ///< the field, or "ids", that decided `batch`
  std::string last_gradient;     ///< the last registered parameter whose gradient differs
  std::string last_equal_named;  ///< the last named tensor before the first that differs
  std::vector<std::string> equal_losses, different_losses;
  std::string one_sided;              ///< an example: "loss 'accuracy' in A only"
  std::string undecided;              ///< an example: "gradient 'fc.weight'"
  bool parameters_far_apart = false;  ///< by their statistics: more than rounding in one step could do

  bool different(const StepRules& rules) const;
  bool incomplete(const StepRules& rules) const;
};

/// Compares all phases; `rules.judged` limits only what `first` may name.
StepResult compare_step(const StepRecords& a, const StepRecords& b, const StepRules& rules);

}  // namespace lockstep::record
