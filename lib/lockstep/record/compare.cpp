#include "lockstep/record/compare.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/record/compare_engine_internal.h"
#include "lockstep/record/compare_internal.h"

namespace lockstep::record {

Comparison Comparer::run() {
  result_.options = options_;
  result_.file_a = source_a_.label, result_.file_b = source_b_.label;
  if (!headers() || !settings()) return std::move(result_);
  choose_phases();
  open_ranks();
  walk();
  finish();
  return std::move(result_);
}

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
