#pragma once
// Some fields of a dataset, in a chosen order and under chosen names. Thread-safety: immutable.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::loader {

struct FieldChoice {
  std::string name;     ///< in the base dataset
  std::string as = {};  ///< new name; empty keeps the old one
};

/// Keys pass through unchanged. Fields that are left out are still fetched, into memory of the call: choose
/// the fields where they are read if they are large.
class SelectDataset final : public Dataset {
 public:
  /// Throws Error(not_found) for a field that `base` lacks, Error(invalid_argument) for none, for one chosen
  /// twice, or for two of one name.
  SelectDataset(DatasetPtr base, const std::vector<FieldChoice>& choices);

  std::int64_t size() const override { return base_->size(); }
  const std::vector<Field>& fields() const override { return fields_; }
  void get(std::int64_t index, const random::RecordKey& key, std::span<std::byte* const> out) const override;
  void prefetch(std::int64_t index) const override { base_->prefetch(index); }
  fingerprint::Digest fingerprint() const override;
  std::string describe() const override { return base_->describe(); }

 private:
  static constexpr std::size_t kLeftOut = static_cast<std::size_t>(-1);

  DatasetPtr base_;
  std::vector<Field> fields_;
  std::vector<std::size_t> place_;  // for each base field: the position in fields_, or kLeftOut
  std::size_t left_out_bytes_ = 0;
};

}  // namespace lockstep::loader
