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
  /// What every step leaves, in a form that costs the training little; names, dtypes and shapes are the
  /// builder's.
  struct Totals {
    std::int64_t samples = 0;
    fingerprint::DigestSum ids, ids_unordered;
    std::vector<fingerprint::DigestSum> fields;
  };

  /// `in_full`: statistics, unordered digests, ids, and values of fields up to `values_limit_bytes`.
  void begin(bool in_full, std::int64_t values_limit_bytes);
  /// Whether add() will keep the fields' names, dtypes and sample shapes, and so the meaning of older totals.
  bool keeps_fields(const std::vector<FieldPart>& fields) const;
  /// Throws Error(unsupported) for memory that cannot be read.
  void check_memory(const std::vector<FieldPart>& fields) const;
  /// In the order that CallOrder asks for.
  void add(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
           const std::vector<FieldPart>& fields);
  bool has_parts() const { return parts_ > 0; }
  bool in_full() const { return in_full_; }
  const Totals& totals() const { return totals_; }
  /// Fills samples, digests and fields, as of a step of the same fields that was not in full.
  void finish(const Totals& totals, BatchRecord& record) const;
  /// Fills samples, digests, ids and fields of the step that begin() opened.
  void finish(BatchRecord& record) const;

 private:
  struct Field : FieldKind {
    fingerprint::DigestSum unordered;
    fingerprint::StatisticsAccumulator statistics;
    std::optional<std::string> values;
  };

  void open_fields(const std::vector<FieldPart>& fields);
  void merge_in_full(Field& field, const ConstView& samples) const;
  void finish_in_full(const Field& field, TensorSummary& summary) const;

  bool in_full_ = false;
  std::int64_t values_limit_bytes_ = 0;
  std::int64_t parts_ = 0;
  Totals totals_;
  std::vector<std::int64_t> ids_;
  std::vector<Field> fields_;
};

}  // namespace lockstep::record
