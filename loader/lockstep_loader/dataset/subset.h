#pragma once
// Some records of a dataset, in a chosen order. Thread-safety: immutable.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"
#include "lockstep_loader/dataset/fingerprint.h"

namespace lockstep::loader {

/// Record i is record indices[i] of `base`. An index may come any number of times. Keys pass through
/// unchanged, so a transform below draws by the subset's record id.
class SubsetDataset final : public Dataset {
 public:
  /// Throws Error(invalid_argument) for an index that is not a record of `base`, naming its place.
  SubsetDataset(DatasetPtr base, std::vector<std::int64_t> indices);

  std::int64_t size() const override { return static_cast<std::int64_t>(indices_.size()); }
  const std::vector<Field>& fields() const override { return base_->fields(); }
  void get(std::int64_t index, const random::RecordKey& key, std::span<std::byte* const> out) const override;
  void prefetch(std::int64_t index) const override;
  const std::byte* in_memory(std::int64_t index, std::size_t field) const override;
  fingerprint::Digest fingerprint() const override;
  std::string describe() const override;

 private:
  DatasetPtr base_;
  std::vector<std::int64_t> indices_;
  FingerprintCache fingerprint_;
};

}  // namespace lockstep::loader
