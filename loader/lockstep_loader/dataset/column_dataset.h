#pragma once
// A dataset whose records lie in memory, field by field, each at a fixed stride: tables in memory, mapped
// files. The base of InMemoryDataset and of most formats. Thread-safety: immutable.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"
#include "lockstep_loader/dataset/fingerprint.h"

namespace lockstep::loader {

/// One field of all records: record i starts at data + i * stride_bytes. Records may overlap (windows over a
/// text).
struct Column {
  Field field;
  const std::byte* data = nullptr;
  std::int64_t stride_bytes = 0;
  bool swap_bytes = false;  ///< stored in the other byte order; get() delivers the machine's
};

/// Which bytes the fingerprint covers.
enum class ContentRule : std::uint8_t {
  whole,   ///< all of them
  spread,  ///< digest_content's rule for large files
};

struct ColumnSet {
  std::string kind = {};         ///< enters the fingerprint: "idx"
  std::string description = {};  ///< describe() appends the number of records
  std::int64_t records = 0;
  std::vector<Column> columns = {};
  std::vector<std::span<const std::byte>> content = {};  ///< the memory that holds all records
  ContentRule rule = ContentRule::whole;
  std::shared_ptr<const void> owner = {};  ///< keeps the memory alive; null when the caller does
};

class ColumnDataset : public Dataset {
 public:
  /// Throws Error(invalid_argument) for a set without columns, two fields of one name, or a negative count.
  explicit ColumnDataset(ColumnSet set);

  std::int64_t size() const override { return set_.records; }
  const std::vector<Field>& fields() const override { return fields_; }
  void get(std::int64_t index, const random::RecordKey& key, std::span<std::byte* const> out) const override;
  void prefetch(std::int64_t index) const override;
  const std::byte* in_memory(std::int64_t index, std::size_t field) const override;
  fingerprint::Digest fingerprint() const override;
  std::string describe() const override;

 private:
  struct Source {
    const std::byte* data;
    std::int64_t stride_bytes;
    std::size_t bytes;
    std::size_t swap_bytes;  // element size, 0 for none
  };

  ColumnSet set_;
  std::vector<Field> fields_;
  std::vector<Source> sources_;
  FingerprintCache fingerprint_;
};

}  // namespace lockstep::loader
