#include "lockstep/record/compare_strip_internal.h"

namespace lockstep::record {
namespace {

int severity(StepState state) {
  switch (state) {
    case StepState::same:
      return 0;
    case StepState::missing:
      return 2;
    case StepState::only_a:
    case StepState::only_b:
      return 1;
    case StepState::different:
      return 3;
  }
  return 2;
}

}  // namespace

StepState worse(StepState a, StepState b) {
  if (severity(a) == severity(b)) return a == b ? a : StepState::missing;
  return severity(a) > severity(b) ? a : b;
}

void Strip::add(std::int64_t step, StepState state) {
  if (cells_.empty()) first_ = step;
  last_ = step;
  const std::uint64_t offset = static_cast<std::uint64_t>(step) - static_cast<std::uint64_t>(first_);
  while (offset / per_cell_ >= kMaxCells) halve();
  const auto cell = static_cast<std::size_t>(offset / per_cell_);
  if (cells_.size() <= cell) cells_.resize(cell + 1);
  cells_[cell] = cells_[cell] ? worse(*cells_[cell], state) : state;
}

void Strip::halve() {
  per_cell_ *= 2;
  for (std::size_t i = 0; i < cells_.size(); i += 2) {
    auto merged = cells_[i];
    if (i + 1 < cells_.size() && cells_[i + 1]) {
      merged = merged ? worse(*merged, *cells_[i + 1]) : *cells_[i + 1];
    }
    cells_[i / 2] = merged;
  }
  cells_.resize((cells_.size() + 1) / 2);
}

std::vector<StepState> Strip::cells() const {
  std::vector<StepState> result;
  result.reserve(cells_.size());
  for (const auto& cell : cells_) result.push_back(cell.value_or(StepState::missing));
  return result;
}

}  // namespace lockstep::record
