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
  parts_ = samples_ = 0;
  ids_digest_ = ids_unordered_ = {};
  ids_.clear();
}

void BatchBuilder::add(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                       const std::vector<FieldPart>& fields) {
  check(first_sample, ids, fields);
  if (parts_ == 0) open_fields(fields);
  ids_digest_.merge(fingerprint::digest_samples(view_of(ids), first_sample));
  ids_unordered_.merge(fingerprint::digest_samples_unordered(view_of(ids)));
  if (in_full_) ids_.insert(ids_.end(), ids.begin(), ids.end());
  for (std::size_t i = 0; i < fields.size(); ++i) merge(fields_[i], fields[i].samples);
  samples_ += static_cast<std::int64_t>(ids.size());
  ++parts_;
}

void BatchBuilder::check(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                         const std::vector<FieldPart>& fields) const {
  if (first_sample != samples_) {
    refuse("first_sample", fmt::format("{}, right after the micro-batch before", samples_),
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

void BatchBuilder::check_same(const Field& field, const FieldPart& part) const {
  const Shape shape = part.samples.shape.without_first();
  if (field.name == part.name && field.dtype == part.samples.dtype && field.sample_shape == shape) return;
  const auto text = [](const std::string& name, DType dtype, const Shape& sample) {
    return fmt::format("'{}' {} {}", name, dtype_name(dtype), sample.text());
  };
  refuse("field of a later micro-batch",
         text(field.name, field.dtype, field.sample_shape) + " a sample, as in the first one",
         text(part.name, part.samples.dtype, shape),
         "Name, dtype and sample shape must not change inside a step");
}

void BatchBuilder::open_fields(const std::vector<FieldPart>& fields) {
  fields_.resize(fields.size());
  for (std::size_t i = 0; i < fields.size(); ++i) {
    Field& field = fields_[i];
    field.name = fields[i].name;
    field.dtype = fields[i].samples.dtype;
    field.sample_shape = fields[i].samples.shape.without_first();
    field.digest = field.unordered = {};
    field.statistics = {};
    field.values.reset();
    if (in_full_ && values_limit_bytes_ > 0) field.values.emplace();
  }
}

void BatchBuilder::merge(Field& field, const ConstView& samples) const {
  field.digest.merge(fingerprint::digest_samples(samples, samples_));
  if (!in_full_) return;
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

void BatchBuilder::finish(BatchRecord& record) const {
  record.samples = samples_;
  record.ids_digest = fingerprint::finish(ids_digest_, DType::int64, {samples_});
  record.ids_unordered = fingerprint::finish(ids_unordered_, DType::int64, {samples_});
  record.ids = in_full_ ? std::optional(ids_) : std::nullopt;
  record.fields.resize(parts_ > 0 ? fields_.size() : 0);
  for (std::size_t i = 0; i < record.fields.size(); ++i) finish(fields_[i], record.fields[i]);
}

void BatchBuilder::finish(const Field& field, TensorSummary& summary) const {
  const Shape shape = field.sample_shape.prepended(samples_);
  summary.name = field.name;
  summary.dtype = field.dtype;
  summary.shape.assign(shape.begin(), shape.end());
  summary.digest = fingerprint::finish(field.digest, field.dtype, shape);
  summary.unordered.reset();
  summary.statistics.reset();
  summary.values = field.values;
  if (!in_full_) return;
  summary.unordered = fingerprint::finish(field.unordered, field.dtype, shape);
  summary.statistics = field.statistics.finish();
}

}  // namespace lockstep::record
