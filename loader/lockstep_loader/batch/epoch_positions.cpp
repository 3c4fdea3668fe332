#include "lockstep_loader/batch/epoch_positions.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"

namespace lockstep::loader {

EpochPositions::EpochPositions(std::shared_ptr<const EpochOrder> order, std::int64_t dataset_size,
                               bool with_replacement)
    : order_(std::move(order)), size_(order_->size()), dataset_size_(dataset_size) {
  if (with_replacement) count_occurrences();
}

void EpochPositions::ids(std::int64_t first, std::span<std::int64_t> out) const {
  const std::int64_t n = size();
  for (std::size_t done = 0; done < out.size();) {
    const std::int64_t position = (first + static_cast<std::int64_t>(done)) % n;
    const std::size_t run = std::min(out.size() - done, static_cast<std::size_t>(n - position));
    order_->ids(position, out.subspan(done, run));
    done += run;
  }
  for (const std::int64_t id : out) {
    if (id >= 0 && id < dataset_size_) continue;
    fail(ErrorCode::invalid_argument,
         {"loader", "record id from the sampler", fmt::format("0 to {}", dataset_size_ - 1),
          std::to_string(id), "Make the sampler for the size of this dataset."});
  }
}

std::uint32_t EpochPositions::counted_occurrence(std::int64_t position, std::int64_t record) const {
  const std::int64_t n = size();
  const auto rounds = static_cast<std::uint32_t>(position / n);
  if (totals_.empty()) return rounds;
  return rounds * totals_[static_cast<std::size_t>(record)] +
         occurrences_[static_cast<std::size_t>(position % n)];
}

void EpochPositions::count_occurrences() {
  const std::int64_t n = size();
  occurrences_.resize(static_cast<std::size_t>(n));
  totals_.resize(static_cast<std::size_t>(dataset_size_));
  std::array<std::int64_t, 4096> block;
  for (std::int64_t first = 0; first < n; first += static_cast<std::int64_t>(block.size())) {
    const auto count = std::min(block.size(), static_cast<std::size_t>(n - first));
    const std::span<std::int64_t> part(block.data(), count);
    ids(first, part);
    for (std::size_t i = 0; i < count; ++i) {
      occurrences_[static_cast<std::size_t>(first) + i] = totals_[static_cast<std::size_t>(part[i])]++;
    }
  }
}

}  // namespace lockstep::loader
