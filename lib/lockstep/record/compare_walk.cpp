#include <algorithm>
#include <utility>

#include "lockstep/record/compare_engine_internal.h"

namespace lockstep::record {
namespace {

constexpr std::size_t kMaxLossNames = 256;

bool matches(const StepCounts& counts) {
  return counts.compared > 0 && counts.different + counts.undecided + counts.one_sided == 0;
}

}  // namespace

/// Segments of one run that hold the same step must agree bit for bit, whatever tolerance is asked for.
OverlapCheck Comparer::overlap(const char* side, std::optional<InsideDifference>* found) {
  return [side, found](const StepRecords& earlier, const StepRecords& later) {
    StepRules rules;
    rules.judged.fill(true);
    StepResult step = compare_step(earlier, later, rules);
    if (!step.first) return;
    if (*found) {
      ++(*found)->steps;
      if (step.first->step >= (*found)->divergence.step) return;
    }
    step.first->inside = side;
    const std::int64_t steps = *found ? (*found)->steps : 1;
    *found = InsideDifference{*step.first, step, steps};
  };
}

void Comparer::open_ranks() {
  for (const auto& [rank, segments] : source_a_.ranks) {
    const auto other = source_b_.ranks.find(rank);
    if (other == source_b_.ranks.end() || (replicated_only_ && rank != source_a_.ranks.begin()->first))
      continue;
    pairs_.push_back({rank,
                      RankStream(segments, overlap("A", &inside_a_)),
                      RankStream(other->second, overlap("B", &inside_b_)),
                      {},
                      {}});
  }
}

void Comparer::walk() {
  while (true) {
    std::optional<std::int64_t> step;
    for (const auto& pair : pairs_) {
      for (const auto* side : {&pair.a.current(), &pair.b.current()}) {
        if (*side) step = std::min(step.value_or((*side)->step), (*side)->step);
      }
    }
    if (!step) return;
    std::optional<StepState> state;
    bool common = false;
    for (auto& pair : pairs_) {
      const bool here = (pair.a.current() && pair.a.current()->step == *step) ||
                        (pair.b.current() && pair.b.current()->step == *step);
      if (!here) continue;
      const StepState of_pair = take(&pair, *step);
      common = common || (of_pair != StepState::only_a && of_pair != StepState::only_b);
      state = state ? worse(*state, of_pair) : of_pair;
    }
    strip_.add(*step, *state);
    if (!common) continue;
    ++result_.steps_compared;
    if (*state == StepState::different) ++result_.steps_different;
    common_seen_ = true;
    last_common_ = *step;
  }
}

StepState Comparer::take(RankPair* pair, std::int64_t step) {
  const bool in_a = pair->a.current() && pair->a.current()->step == step;
  const bool in_b = pair->b.current() && pair->b.current()->step == step;
  StepState state = in_a ? StepState::only_a : StepState::only_b;
  if (in_a && in_b) {
    state = compare_pair(pair);
    pair->only_a.common(), pair->only_b.common();
  } else {
    (in_a ? pair->only_a : pair->only_b).add(step, common_seen_);
  }
  if (in_a) pair->a.advance();
  if (in_b) pair->b.advance();
  return state;
}

StepState Comparer::compare_pair(RankPair* pair) {
  const StepRecords& a = *pair->a.current();
  const StepResult step = compare_step(a, *pair->b.current(), rules_);
  add_counts(step, a.step);
  const bool new_first = step.first && (!result_.first || (step.first->step == result_.first->step &&
                                                           step.first->phase < result_.first->phase));
  if (new_first) add_first(step, pair->rank, a);
  if (result_.first) {
    add_evidence(step, a.step == result_.first->step);
  } else if (matches(step.counts[static_cast<std::size_t>(Phase::parameter)])) {
    last_equal_parameters_ = a.step;
  }
  if (step.different(rules_)) return StepState::different;
  return step.incomplete(rules_) ? StepState::missing : StepState::same;
}

void Comparer::add_counts(const StepResult& step, std::int64_t number) {
  for (std::size_t i = 1; i < kPhaseCount; ++i) {
    const StepCounts& counts = step.counts[i];
    if (!rules_.judged[i]) continue;
    PhaseTally& tally = tallies_[i];
    if (counts.different > 0 && tally.different == 0) tally.first_step = number;
    tally.compared += counts.compared, tally.different += counts.different;
    tally.one_sided += counts.one_sided, tally.undecided += counts.undecided;
    result_.records_compared += counts.compared;
    one_sided_ += counts.one_sided, undecided_ += counts.undecided;
  }
  if (!step.one_sided.empty() && one_sided_step_ < 0)
    one_sided_step_ = number, one_sided_example_ = step.one_sided;
  if (!step.undecided.empty() && undecided_step_ < 0)
    undecided_step_ = number, undecided_example_ = step.undecided;
}

void Comparer::add_first(const StepResult& step, std::int32_t rank, const StepRecords& records) {
  result_.first = step.first;
  result_.first->rank = rank;
  evidence_.step = step;
  if (replicated_only_) evidence_.step.batch = BatchState::absent;
  evidence_.initial_state = !records.batch && records.losses.empty();
  evidence_.first_common = !common_seen_;
  evidence_.last_equal_parameters = last_equal_parameters_;
  evidence_.last_equal_step = last_common_;
  result_.last_equal_parameters = last_equal_parameters_;
}

void Comparer::add_evidence(const StepResult& step, bool at_first) {
  for (std::size_t i = 1; i < kPhaseCount; ++i) {
    if (static_cast<Phase>(i) != Phase::loss) evidence_.other_phases_different += step.counts[i].different;
    if (static_cast<Phase>(i) < Phase::gradient) continue;
    evidence_.tensors_equal += step.counts[i].compared - step.counts[i].different - step.counts[i].undecided;
  }
  if (losses_different_.size() < kMaxLossNames) {
    losses_different_.insert(step.different_losses.begin(), step.different_losses.end());
  }
  if (at_first) return;
  for (const auto& name : step.equal_losses) {
    auto& equal = evidence_.losses_equal_later;
    if (equal.size() < kMaxLossNames || equal.contains(name)) ++equal[name];
  }
}

}  // namespace lockstep::record
