#include "lockstep_loader/dataset/subset.h"

#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/check.h"

namespace lockstep::loader {

SubsetDataset::SubsetDataset(DatasetPtr base, std::vector<std::int64_t> indices)
    : base_(std::move(base)), indices_(std::move(indices)) {
  check_dataset("subset", base_);
  for (std::size_t at = 0; at < indices_.size(); ++at) {
    if (indices_[at] >= 0 && indices_[at] < base_->size()) continue;
    fail(ErrorCode::invalid_argument, {"subset",
                                       fmt::format("index at position {}", at),
                                       fmt::format("0 to {} ({})", base_->size() - 1, base_->describe()),
                                       fmt::to_string(indices_[at]),
                                       {}});
  }
}

void SubsetDataset::get(std::int64_t index, const random::RecordKey& key,
                        std::span<std::byte* const> out) const {
  check_record("subset", index, size());
  base_->get(indices_[static_cast<std::size_t>(index)], key, out);
}

void SubsetDataset::prefetch(std::int64_t index) const {
  if (index >= 0 && index < size()) base_->prefetch(indices_[static_cast<std::size_t>(index)]);
}

const std::byte* SubsetDataset::in_memory(std::int64_t index, std::size_t field) const {
  if (index < 0 || index >= size()) return nullptr;
  return base_->in_memory(indices_[static_cast<std::size_t>(index)], field);
}

fingerprint::Digest SubsetDataset::fingerprint() const {
  return fingerprint_.get(
      [this] { return FingerprintBuilder("subset").add(base_->fingerprint()).add(indices_).finish(); });
}

std::string SubsetDataset::describe() const {
  return fmt::format("{} records of {}", indices_.size(), base_->describe());
}

}  // namespace lockstep::loader
