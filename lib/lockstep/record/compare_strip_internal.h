#pragma once
// The strip of a report: at most kMaxCells cells for any number of steps, found in one pass.

#include <cstdint>
#include <optional>
#include <vector>

#include "lockstep/record/compare.h"

namespace lockstep::record {

class Strip {
 public:
  static constexpr std::size_t kMaxCells = 2000;

  /// Steps ascend.
  void add(std::int64_t step, StepState state);
  std::int64_t first_step() const { return first_; }
  std::int64_t last_step() const { return last_; }
  std::int64_t steps_per_cell() const { return static_cast<std::int64_t>(per_cell_); }
  /// A cell for whose steps nothing was added is `missing`.
  std::vector<StepState> cells() const;

 private:
  void halve();

  std::vector<std::optional<StepState>> cells_;
  std::uint64_t per_cell_ = 1;
  std::int64_t first_ = 0, last_ = -1;
};

/// The state that a cell shows when it stands for steps of both states.
StepState worse(StepState a, StepState b);

}  // namespace lockstep::record
