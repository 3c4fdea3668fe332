#pragma once
// The order of one epoch as the batches see it: positions may run past the end, where the epoch starts anew
// (a wrapped last batch), every id is checked against the dataset, and each position knows how often its
// record came before.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "lockstep_loader/sampler/sampler.h"

namespace lockstep::loader {

/// Thread-safe: immutable after construction.
class EpochPositions {
 public:
  /// O(1), but O(n) time and 4 n + 4 dataset_size bytes when `with_replacement`: occurrences are then counted
  /// from the epoch's start. Throws Error(invalid_argument) for an id outside the dataset.
  EpochPositions(std::shared_ptr<const EpochOrder> order, std::int64_t dataset_size, bool with_replacement);

  std::int64_t size() const { return size_; }

  /// Record ids of positions [first, first + out.size()); position size() is position 0 again.
  /// Throws Error(invalid_argument) for an id outside the dataset.
  void ids(std::int64_t first, std::span<std::int64_t> out) const;

  /// How often `record`, which stands at `position`, stood at an earlier position.
  std::uint32_t occurrence(std::int64_t position, std::int64_t record) const {
    return position < size_ && totals_.empty() ? 0 : counted_occurrence(position, record);
  }

 private:
  void count_occurrences();
  std::uint32_t counted_occurrence(std::int64_t position, std::int64_t record) const;

  std::shared_ptr<const EpochOrder> order_;
  std::int64_t size_;
  std::int64_t dataset_size_;
  std::vector<std::uint32_t> occurrences_;  // by position; empty without replacement
  std::vector<std::uint32_t> totals_;       // by record, over one epoch; empty without replacement
};

}  // namespace lockstep::loader
