#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "lockstep/record/compare_engine_internal.h"

namespace lockstep::record {

/// The verdict over all files of a run; problems of the parts that the run needs become trouble.
std::string Comparer::run_state(const char* side, bool of_a) {
  Verdict worst = Verdict::complete;
  std::size_t files = 0;
  bool interrupted = false;
  for (const auto& pair : pairs_) {
    const auto& states = (of_a ? pair.a : pair.b).states();
    files += states.size();
    for (const auto& state : states) {
      if (state.needed_part_whole) continue;
      worst = std::max(worst, state.verdict);
      (of_a ? whole_a_ : whole_b_) = false;
      if (!state.problem.empty()) result_.trouble.push_back(fmt::format("{}: {}", side, state.problem));
    }
    interrupted = interrupted || states.back().end_reason == "interrupted";
    for (const auto& [kind, count] : (of_a ? pair.a : pair.b).events()) {
      if (kind == "bad_sample") result_.notes.push_back(fmt::format("{} met {} bad samples", side, count));
    }
  }
  std::string text(verdict_name(worst));
  if (worst == Verdict::complete && !(of_a ? whole_a_ : whole_b_)) text = "frames lost";
  if (files > 1) text += fmt::format(", {} files", files);
  if (interrupted) {
    text += ", interrupted";
    result_.notes.push_back(fmt::format("{} was interrupted before its end", side));
    (of_a ? whole_a_ : whole_b_) = false;
  }
  return text;
}

void Comparer::one_sided_steps(const RankPair& pair) {
  for (const bool of_a : {true, false}) {
    const OneSidedSteps& steps = of_a ? pair.only_a : pair.only_b;
    const char* side = of_a ? "A" : "B";
    const char* other = of_a ? "B" : "A";
    if (steps.before > 0) {
      result_.trouble.push_back(fmt::format(
          "{} steps at the beginning are recorded in {} only; {} starts later", steps.before, side, other));
    }
    if (steps.middle > 0) {
      result_.trouble.push_back(
          fmt::format("{} steps, the first of them step {}, are recorded in {} but not in {}", steps.middle,
                      steps.first_middle, side, other));
    }
    if (steps.after > 0) lengths(pair, steps, of_a);
  }
}

void Comparer::lengths(const RankPair& pair, const OneSidedSteps& longer, bool a_is_longer) {
  const char* side = a_is_longer ? "A" : "B";
  const char* other = a_is_longer ? "B" : "A";
  const std::string text = fmt::format("{} ends with step {}, {} goes on to step {}", other, last_common_,
                                       side, longer.last_after);
  if (result_.first) {
    result_.notes.push_back(text);
    return;
  }
  if (!(a_is_longer ? whole_b_ : whole_a_)) {
    result_.trouble.push_back(
        text + fmt::format(": {} did not reach its end, so what came after could not be compared", other));
    return;
  }
  if (!result_.trouble.empty() || !whole_a_ || !whole_b_) {
    result_.trouble.push_back(text);
    return;
  }
  Divergence divergence;
  divergence.step = longer.first_after;
  divergence.rank = pair.rank;
  divergence.detail = text;
  result_.first = std::move(divergence);
  result_.divergence_class = DivergenceClass::different_length;
  result_.cause = fmt::format(
      "All {} common steps match; the number of steps (epochs, data size, early stop) is the first thing "
      "that differs.",
      result_.steps_compared);
}

/// A run whose resumed segments disagree differs from itself: reported when nothing came before it.
void Comparer::inside() {
  for (auto* found : {&inside_a_, &inside_b_}) {
    if (!*found) continue;
    const InsideDifference& difference = **found;
    result_.notes.push_back(
        fmt::format("inside {}: after a resume {} steps were trained again with another result, the "
                    "first is step {}",
                    difference.divergence.inside, difference.steps, difference.divergence.step));
    if (result_.first && result_.divergence_class != DivergenceClass::different_length &&
        result_.first->step <= difference.divergence.step) {
      continue;
    }
    result_.first = difference.divergence;
    result_.divergence_class = DivergenceClass::none;
    evidence_ = Evidence{};
    evidence_.step = difference.step;
    evidence_.last_equal_step = difference.divergence.step - 1;
    evidence_.other_phases_different = 1;
  }
}

void Comparer::gaps_in_evidence() {
  if (undecided_ > 0) {
    result_.trouble.push_back(
        fmt::format("{} records cannot be decided with a tolerance: digests differ and values were not "
                    "recorded (the first is {} at "
                    "step {}). Record with tensor_values on (batch fields: larger full_batches and "
                    "values_limit_bytes), or compare "
                    "with --exact",
                    undecided_, undecided_example_, undecided_step_));
  }
  if (one_sided_ > 0) {
    result_.trouble.push_back(
        fmt::format("{} records are in one run only and could not be compared (the first is {} at "
                    "step {})",
                    one_sided_, one_sided_example_, one_sided_step_));
  }
  if (result_.records_compared == 0) result_.trouble.push_back("there was nothing to compare");
}

void Comparer::explain() {
  evidence_.losses_different.assign(losses_different_.begin(), losses_different_.end());
  if (result_.divergence_class == DivergenceClass::none) {
    result_.divergence_class = classify(*result_.first, evidence_);
    result_.cause = explain_cause(*result_.first, result_.divergence_class, evidence_);
    if (!result_.first->inside.empty()) {
      result_.cause = fmt::format("Run {} differs from itself: it was resumed and trained step {} again. ",
                                  result_.first->inside, result_.first->step) +
                      result_.cause;
    }
  }
  result_.hints = explain_hints(result_);
}

void Comparer::finish() {
  for (const auto& tally : tallies_) {
    if (tally.compared + tally.one_sided > 0) result_.phases.push_back(tally);
  }
  result_.strip = strip_.cells();
  result_.steps_per_cell = strip_.steps_per_cell();
  result_.first_step = strip_.first_step(), result_.last_step = strip_.last_step();
  result_.verdict_a = run_state("A", true);
  result_.verdict_b = run_state("B", false);
  gaps_in_evidence();
  for (const auto& pair : pairs_) one_sided_steps(pair);
  inside();
  if (!result_.policy_differences.empty()) {
    result_.notes.push_back("the runs were recorded with other policies; what both recorded was compared");
  }
  if (result_.first) {
    result_.outcome = Outcome::different;
    explain();
  } else {
    result_.outcome = result_.trouble.empty() ? Outcome::same : Outcome::trouble;
  }
}

}  // namespace lockstep::record
