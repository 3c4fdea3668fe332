#pragma once
// Merges the micro-batches of one optimizer step into one BatchRecord that does not depend on how the step
// was cut.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/record/recorder.h"

namespace lockstep::record {

class BatchBuilder {
 public:
  /// `in_full`: statistics, unordered digests, ids, and values of fields up to `values_limit_bytes`.
  void begin(bool in_full, std::int64_t values_limit_bytes);
  /// Throws Error(invalid_argument, unsupported) for what cannot be merged; then nothing was merged.
  void add(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
           const std::vector<FieldPart>& fields);
  bool has_parts() const { return parts_ > 0; }
  /// Fills samples, digests, ids and fields.
  void finish(BatchRecord& record) const;

 private:
  struct Field {
    std::string name;
    DType dtype = DType::uint8;
    Shape sample_shape;
    fingerprint::DigestSum digest;
    fingerprint::DigestSum unordered;
    fingerprint::StatisticsAccumulator statistics;
    std::optional<std::string> values;
  };

  void check(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
             const std::vector<FieldPart>& fields) const;
  void check_same(const Field& field, const FieldPart& part) const;
  void open_fields(const std::vector<FieldPart>& fields);
  void merge(Field& field, const ConstView& samples) const;
  void finish(const Field& field, TensorSummary& summary) const;

  bool in_full_ = false;
  std::int64_t values_limit_bytes_ = 0;
  std::int64_t parts_ = 0;
  std::int64_t samples_ = 0;
  fingerprint::DigestSum ids_digest_, ids_unordered_;
  std::vector<std::int64_t> ids_;
  std::vector<Field> fields_;
};

}  // namespace lockstep::record
