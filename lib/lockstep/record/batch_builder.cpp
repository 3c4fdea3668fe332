#include <algorithm>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/record/batch_builder_internal.h"

namespace lockstep::record {
namespace {

[[noreturn]] void refuse(std::string what, std::string expected, std::string got, std::string next) {
  fail(ErrorCode::invalid_argument,
       {"recorder batch_part", std::move(what), std::move(expected), std::move(got), std::move(next)});
}

ConstView view_of(const std::vector<std::int64_t>& ids) {
  return {ids.data(), DType::int64, {static_cast<std::int64_t>(ids.size())}, Device::cpu};
}

void check_view(const FieldPart& part, std::int64_t samples) {
  if (part.samples.device != Device::cpu) {
    fail(ErrorCode::unsupported, {"recorder batch_part", "field '" + part.name + "'", "memory of the CPU",
                                  "memory of a GPU", "Copy it to the CPU first"});
  }
  if (part.samples.shape.rank() == 0 || part.samples.shape[0] != samples) {
    refuse("field '" + part.name + "'", fmt::format("{} samples, one an id", samples),
           "shape " + part.samples.shape.text(), "Put the samples along the first axis");
  }
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
    if (!same(fields_[i], fields[i])) return false;
  return true;
}

void BatchBuilder::add(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                       const std::vector<FieldPart>& fields) {
  check(first_sample, ids, fields);
  if (parts_ == 0) open_fields(fields);
  totals_.ids.merge(fingerprint::digest_samples(view_of(ids), first_sample));
  totals_.ids_unordered.merge(fingerprint::digest_samples_unordered(view_of(ids)));
  for (std::size_t i = 0; i < fields.size(); ++i)
    totals_.fields[i].merge(fingerprint::digest_samples(fields[i].samples, first_sample));
  if (in_full_) {
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    for (std::size_t i = 0; i < fields.size(); ++i) merge_in_full(fields_[i], fields[i].samples);
  }
  totals_.samples += static_cast<std::int64_t>(ids.size());
  ++parts_;
}

void BatchBuilder::check(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                         const std::vector<FieldPart>& fields) const {
  if (first_sample != totals_.samples) {
    refuse("first_sample", fmt::format("{}, right after the micro-batch before", totals_.samples),
           std::to_string(first_sample),
           "Hand over micro-batches in ascending order, without gap or overlap");
  }
  for (const FieldPart& part : fields) check_view(part, static_cast<std::int64_t>(ids.size()));
  if (parts_ > 0 && fields.size() != fields_.size()) {
    refuse("number of fields", std::to_string(fields_.size()) + " as in the step's first micro-batch",
           std::to_string(fields.size()), "Hand over the same fields with every micro-batch of a step");
  }
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (parts_ > 0) check_same(fields_[i], fields[i]);
    for (std::size_t k = 0; k < i; ++k) {
      if (fields[k].name == fields[i].name)
        refuse("field name", "distinct names", "'" + fields[i].name + "' twice", "Rename one");
    }
  }
}

bool BatchBuilder::same(const Field& field, const FieldPart& part) {
  return field.name == part.name && field.dtype == part.samples.dtype &&
         field.sample_shape == part.samples.shape.without_first();
}

void BatchBuilder::check_same(const Field& field, const FieldPart& part) const {
  if (same(field, part)) return;
  const auto text = [](const std::string& name, DType dtype, const Shape& sample) {
    return fmt::format("'{}' {} {}", name, dtype_name(dtype), sample.text());
  };
  refuse("field of a later micro-batch",
         text(field.name, field.dtype, field.sample_shape) + " a sample, as in the first one",
         text(part.name, part.samples.dtype, part.samples.shape.without_first()),
         "Name, dtype and sample shape must not change inside a step");
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
