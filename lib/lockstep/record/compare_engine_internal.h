#pragma once
// The comparison as it goes through both runs: compare.cpp begins it, compare_walk.cpp takes the steps,
// compare_finish.cpp weighs what was found.

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lockstep/record/compare_explain_internal.h"
#include "lockstep/record/compare_step_internal.h"
#include "lockstep/record/compare_stream_internal.h"
#include "lockstep/record/compare_strip_internal.h"

namespace lockstep::record {

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

class Comparer {
 public:
  Comparer(const RunSource& a, const RunSource& b, const CompareOptions& options)
      : source_a_(a), source_b_(b), options_(options) {}

  Comparison run();

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

}  // namespace lockstep::record
