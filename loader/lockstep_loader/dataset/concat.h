#pragma once
// Several datasets one after the other. Thread-safety: immutable.

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::loader {

/// Record i is record i of the first part, and so on through the parts. Keys pass through unchanged.
class ConcatDataset : public Dataset {
 public:
  /// Throws Error(invalid_argument) for no parts, or parts whose fields differ (naming the part and both
  /// fields).
  explicit ConcatDataset(std::vector<DatasetPtr> parts);

  std::int64_t size() const override { return ends_.back(); }
  const std::vector<Field>& fields() const override { return parts_.front()->fields(); }
  void get(std::int64_t index, const random::RecordKey& key, std::span<std::byte* const> out) const override;
  void prefetch(std::int64_t index) const override;
  const std::byte* in_memory(std::int64_t index, std::size_t field) const override;
  fingerprint::Digest fingerprint() const override;
  std::string describe() const override;

 private:
  std::pair<std::size_t, std::int64_t> locate(std::int64_t index) const;

  std::vector<DatasetPtr> parts_;
  std::vector<std::int64_t> ends_;  // exclusive, one a part
};

}  // namespace lockstep::loader
