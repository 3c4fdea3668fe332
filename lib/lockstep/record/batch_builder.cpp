#include <algorithm>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/record/batch_builder_internal.h"

namespace lockstep::record {
namespace {

ConstView view_of(const std::vector<std::int64_t>& ids) {
  return {ids.data(), DType::int64, {static_cast<std::int64_t>(ids.size())}, Device::cpu};
}

}  // namespace

void BatchBuilder::begin(bool in_full, std::int64_t values_limit_bytes) {
  in_full_ = in_full;
  values_limit_bytes_ = values_limit_bytes;
  parts_ = totals_.samples = 0;
  totals_.ids = totals_.ids_unordered = {};
  totals_.fields.clear();
  ids_.clear();
}

bool BatchBuilder::keeps_fields(const std::vector<FieldPart>& fields) const {
  if (fields.size() != fields_.size()) return false;
  for (std::size_t i = 0; i < fields.size(); ++i)
    if (!fields_[i].fits(fields[i])) return false;
  return true;
}

void BatchBuilder::check_memory(const std::vector<FieldPart>& fields) const {
  for (const FieldPart& part : fields) {
    const bool is_read = in_full_ || !part.digest;
    if (is_read && part.samples.device != Device::cpu)
      fail(ErrorCode::unsupported, {"recorder batch_part", fmt::format("field '{}'", part.name),
                                    "memory of the CPU", "memory of a GPU", "Copy it to the CPU first"});
  }
}

void BatchBuilder::add(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                       const std::vector<FieldPart>& fields) {
  if (parts_ == 0) open_fields(fields);
  totals_.ids.merge(fingerprint::digest_samples(view_of(ids), first_sample));
  totals_.ids_unordered.merge(fingerprint::digest_samples_unordered(view_of(ids)));
  for (std::size_t i = 0; i < fields.size(); ++i)
    totals_.fields[i].merge(fields[i].digest ? *fields[i].digest
                                             : fingerprint::digest_samples(fields[i].samples, first_sample));
  if (in_full_) {
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    for (std::size_t i = 0; i < fields.size(); ++i) merge_in_full(fields_[i], fields[i].samples);
  }
  totals_.samples += static_cast<std::int64_t>(ids.size());
  ++parts_;
}

void BatchBuilder::open_fields(const std::vector<FieldPart>& fields) {
  totals_.fields.assign(fields.size(), {});
  if (!in_full_ && keeps_fields(fields)) return;
  fields_.resize(fields.size());
  for (std::size_t i = 0; i < fields.size(); ++i) {
    Field& field = fields_[i];
    field.name = fields[i].name;
    field.dtype = fields[i].samples.dtype;
    field.sample_shape = fields[i].samples.shape.without_first();
    field.unordered = {};
    field.statistics = {};
    field.values.reset();
    if (in_full_ && values_limit_bytes_ > 0) field.values.emplace();
  }
}

void BatchBuilder::merge_in_full(Field& field, const ConstView& samples) const {
  field.unordered.merge(fingerprint::digest_samples_unordered(samples));
  field.statistics.add(samples);
  const std::size_t bytes = samples.bytes();
  if (!field.values) return;
  if (field.values->size() + bytes > static_cast<std::uint64_t>(values_limit_bytes_)) {
    field.values.reset();
  } else if (bytes > 0) {
    field.values->append(static_cast<const char*>(samples.data), bytes);
  }
}

void BatchBuilder::finish(const Totals& totals, BatchRecord& record) const {
  record.samples = totals.samples;
  record.ids_digest = fingerprint::finish(totals.ids, DType::int64, {totals.samples});
  record.ids_unordered = fingerprint::finish(totals.ids_unordered, DType::int64, {totals.samples});
  record.ids.reset();
  record.fields.resize(totals.fields.size());
  for (std::size_t i = 0; i < record.fields.size(); ++i) {
    const Field& field = fields_[i];
    TensorSummary& summary = record.fields[i];
    const Shape shape = field.sample_shape.prepended(totals.samples);
    summary.name = field.name;
    summary.dtype = field.dtype;
    summary.shape.assign(shape.begin(), shape.end());
    summary.digest = fingerprint::finish(totals.fields[i], field.dtype, shape);
    summary.unordered.reset();
    summary.statistics.reset();
    summary.values.reset();
  }
}

void BatchBuilder::finish(BatchRecord& record) const {
  finish(totals_, record);
  if (!in_full_) return;
  record.ids = ids_;
  for (std::size_t i = 0; i < record.fields.size(); ++i) finish_in_full(fields_[i], record.fields[i]);
}

void BatchBuilder::finish_in_full(const Field& field, TensorSummary& summary) const {
  const Shape shape(summary.shape.data(), summary.shape.size());
  summary.unordered = fingerprint::finish(field.unordered, field.dtype, shape);
  summary.statistics = field.statistics.finish();
  summary.values = field.values;
}

}  // namespace lockstep::record
