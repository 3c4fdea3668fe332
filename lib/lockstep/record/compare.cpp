#include "lockstep/record/compare.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/record/compare_explain_internal.h"
#include "lockstep/record/compare_internal.h"
#include "lockstep/record/compare_strip_internal.h"

namespace lockstep::record {
namespace {

constexpr std::size_t kMaxLossNames = 256;

/// Steps of one rank that one side alone has, by where they lie among the common ones.
struct OneSidedSteps {
  std::int64_t before = 0, middle = 0, after = 0;
  std::int64_t first_middle = -1, first_after = -1, last_after = -1;

  void add(std::int64_t step, bool common_seen) {
    if (!common_seen) {
      ++before;
      return;
    }
    if (after++ == 0) first_after = step;
    last_after = step;
  }
  void common() {
    if (after == 0) return;
    if (middle == 0) first_middle = first_after;
    middle += std::exchange(after, 0);
  }
};

struct InsideDifference {
  Divergence divergence;
  StepResult step;
  std::int64_t steps = 0;  ///< overlapping steps that disagree
};

struct RankPair {
  std::int32_t rank;
  RankStream a, b;
  OneSidedSteps only_a, only_b;
};

bool matches(const StepCounts& counts) {
  return counts.compared > 0 && counts.different + counts.undecided + counts.one_sided == 0;
}

class Comparer {
 public:
  Comparer(const RunSource& a, const RunSource& b, const CompareOptions& options)
      : source_a_(a), source_b_(b), options_(options) {}

  Comparison run() {
    result_.options = options_;
    result_.file_a = source_a_.label, result_.file_b = source_b_.label;
    if (!headers() || !settings()) return std::move(result_);
    choose_phases();
    open_ranks();
    walk();
    finish();
    return std::move(result_);
  }

 private:
  bool headers();
  bool settings();
  void check_segments(const RunSource& source, const char* side);
  void choose_phases();
  void open_ranks();
  OverlapCheck overlap(const char* side, std::optional<InsideDifference>* found);
  void walk();
  StepState take(RankPair* pair, std::int64_t step);
  StepState compare_pair(RankPair* pair);
  void add_counts(const StepResult& step, std::int64_t number);
  void add_first(const StepResult& step, std::int32_t rank, const StepRecords& records);
  void add_evidence(const StepResult& step, bool at_first);
  void finish();
  std::string run_state(const char* side, bool of_a);
  void one_sided_steps(const RankPair& pair);
  void lengths(const RankPair& pair, const OneSidedSteps& longer, bool a_is_longer);
  void inside();
  void gaps_in_evidence();
  void explain();

  const RunSource& source_a_;
  const RunSource& source_b_;
  const CompareOptions& options_;
  Comparison result_;
  StepRules rules_;
  bool replicated_only_ = false;  ///< other world sizes: only what all ranks share can be compared
  std::vector<RankPair> pairs_;
  std::optional<InsideDifference> inside_a_, inside_b_;
  std::array<PhaseTally, kPhaseCount> tallies_{};
  Strip strip_;
  Evidence evidence_;
  std::set<std::string> losses_different_;
  std::int64_t last_equal_parameters_ = -1, last_common_ = -1;
  bool common_seen_ = false, whole_a_ = true, whole_b_ = true;
  std::int64_t one_sided_ = 0, undecided_ = 0;
  std::string one_sided_example_, undecided_example_;
  std::int64_t one_sided_step_ = -1, undecided_step_ = -1;
};

bool Comparer::headers() {
  for (const auto* side : {&source_a_, &source_b_}) {
    const char* name = side == &source_a_ ? "A" : "B";
    for (const auto& problem : side->problems)
      result_.trouble.push_back(fmt::format("{}: {}", name, problem));
    auto& info = side == &source_a_ ? result_.info_a : result_.info_b;
    if (side->ranks.empty()) {
      result_.trouble.push_back(fmt::format("{}: there is no recording that can be read", name));
    } else {
      info = side->ranks.begin()->second.front().info;
      check_segments(*side, name);
    }
  }
  return result_.info_a && result_.info_b;
}

/// What must hold inside one run: every rank, every segment, and one set of semantic settings.
void Comparer::check_segments(const RunSource& source, const char* side) {
  const RunInfo& run = source.ranks.begin()->second.front().info;
  for (std::int32_t rank = 0; rank < std::min(run.world_size, 65536); ++rank) {
    if (source.ranks.contains(rank)) continue;
    result_.trouble.push_back(
        fmt::format("{}: the recording of rank {} of {} is missing", side, rank, run.world_size));
    break;
  }
  for (const auto& [rank, segments] : source.ranks) {
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const RunInfo& info = segments[i].info;
      if (info.segment != static_cast<std::int32_t>(i)) {
        result_.trouble.push_back(fmt::format("{}: segment {} of rank {} is missing", side, i, rank));
        break;
      }
      for (const auto& setting : setting_differences(run.semantic, info.semantic)) {
        result_.trouble.push_back(fmt::format("{}: {} has {} = {}, the run began with {}", side,
                                              segments[i].name, setting.name, setting.b, setting.a));
      }
    }
  }
}

bool Comparer::settings() {
  const RunInfo& a = *result_.info_a;
  const RunInfo& b = *result_.info_b;
  result_.semantic_differences = setting_differences(a.semantic, b.semantic);
  result_.placement_differences = setting_differences(a.placement, b.placement);
  result_.environment_differences = setting_differences(a.environment, b.environment);
  // Where the recording goes differs between any two runs of check_consistency.
  std::erase_if(result_.environment_differences,
                [](const Setting& x) { return x.name == "env.LOCKSTEP_RECORD"; });
  result_.policy_differences = setting_differences(a.policy, b.policy);
  if (a.program != b.program) result_.environment_differences.push_back({"program", a.program, b.program});
  if (a.guarantees != b.guarantees) {
    result_.environment_differences.push_back({"guarantees", fmt::format("{}", fmt::join(a.guarantees, ", ")),
                                               fmt::format("{}", fmt::join(b.guarantees, ", "))});
  }
  if (a.run_id == b.run_id)
    result_.notes.push_back("A and B are one and the same run, so this proves nothing about repeating it");
  if (result_.semantic_differences.empty() || options_.force) return true;
  std::vector<std::string> names;
  for (const auto& setting : result_.semantic_differences) {
    names.push_back(fmt::format("{} ({} against {})", setting.name, setting.a, setting.b));
  }
  result_.trouble.insert(
      result_.trouble.begin(),
      fmt::format("the runs were not meant to be the same; they differ in {}. Compare two runs of one "
                  "configuration, or pass --force to compare these",
                  fmt::join(names, ", ")));
  return false;
}

void Comparer::choose_phases() {
  rules_.tolerance = {options_.rtol, options_.atol};
  rules_.policy_a = policy_of(*result_.info_a), rules_.policy_b = policy_of(*result_.info_b);
  rules_.judged.fill(options_.phases.empty());
  for (const Phase phase : options_.phases) rules_.judged[static_cast<std::size_t>(phase)] = true;
  for (std::size_t i = 1; i < kPhaseCount; ++i) tallies_[i].phase = static_cast<Phase>(i);
  replicated_only_ = result_.info_a->world_size != result_.info_b->world_size;
  if (!replicated_only_) return;
  bool asked = false;
  for (const Phase phase : {Phase::batch, Phase::named, Phase::loss}) {
    asked = std::exchange(rules_.judged[static_cast<std::size_t>(phase)], false) || asked;
  }
  if (asked) {
    result_.trouble.push_back(
        fmt::format("A has {} ranks and B has {}: the batches, named tensors and losses of a rank are its "
                    "own share, and cannot be "
                    "compared. Pass --phase gradient,optimizer,parameter to compare what all ranks share",
                    result_.info_a->world_size, result_.info_b->world_size));
  }
}

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

}  // namespace

std::string_view outcome_name(Outcome outcome) {
  constexpr std::array<std::string_view, 3> kNames{"same", "different", "trouble"};
  return kNames[static_cast<std::size_t>(outcome)];
}

std::string_view divergence_class_name(DivergenceClass value) {
  constexpr std::array<std::string_view, 9> kNames{"none",
                                                   "same_samples_other_order",
                                                   "other_samples",
                                                   "same_samples_other_content",
                                                   "same_data_other_value",
                                                   "only_loss",
                                                   "state_before",
                                                   "different_length",
                                                   "other_value"};
  return kNames[static_cast<std::size_t>(value)];
}

Comparison compare_sources(const RunSource& a, const RunSource& b, const CompareOptions& options) {
  for (const double tolerance : {options.rtol, options.atol}) {
    if (std::isfinite(tolerance) && tolerance >= 0) continue;
    fail(ErrorCode::invalid_argument, {"compare",
                                       "rtol, atol",
                                       "finite numbers, not negative",
                                       fmt::format("{}, {}", options.rtol, options.atol),
                                       {}});
  }
  return Comparer(a, b, options).run();
}

Comparison compare_runs(const Run& a, const Run& b, const CompareOptions& options) {
  return compare_sources(source_of(a), source_of(b), options);
}

}  // namespace lockstep::record
