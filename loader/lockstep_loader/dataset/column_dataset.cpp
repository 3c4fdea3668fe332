#include "lockstep_loader/dataset/column_dataset.h"

#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/check.h"
#include "lockstep_loader/dataset/record_memory.h"

namespace lockstep::loader {

ColumnDataset::ColumnDataset(ColumnSet set) : set_(std::move(set)) {
  for (const Column& column : set_.columns) {
    fields_.push_back(column.field);
    const std::size_t element = column.swap_bytes ? dtype_bytes(column.field.dtype) : 1;
    sources_.push_back({column.data, column.stride_bytes, column.field.bytes(), element > 1 ? element : 0});
  }
  check_fields(set_.description, fields_);
  if (set_.records < 0) {
    fail(ErrorCode::invalid_argument,
         {set_.description, "records", "not negative", fmt::to_string(set_.records), {}});
  }
}

void ColumnDataset::get(std::int64_t index, const random::RecordKey&, std::span<std::byte* const> out) const {
  check_record("get", index, set_.records);
  for (std::size_t at = 0; at < sources_.size(); ++at) {
    const Source& source = sources_[at];
    if (source.bytes == 0) continue;
    copy_record(out[at], source.data + index * source.stride_bytes, source.bytes);
    if (source.swap_bytes != 0) swap_elements(out[at], source.bytes, source.swap_bytes);
  }
}

void ColumnDataset::prefetch(std::int64_t index) const {
  if (index < 0 || index >= set_.records) return;
  for (const Source& source : sources_)
    prefetch_lines(source.data + index * source.stride_bytes, source.bytes);
}

const std::byte* ColumnDataset::in_memory(std::int64_t index, std::size_t field) const {
  const Source& source = sources_[field];
  if (index < 0 || index >= set_.records || source.swap_bytes != 0) return nullptr;
  return source.data + index * source.stride_bytes;
}

fingerprint::Digest ColumnDataset::fingerprint() const {
  return fingerprint_.get([this] {
    FingerprintBuilder builder(set_.kind);
    builder.add(fields_).add(set_.records);
    for (std::span<const std::byte> part : set_.content) {
      builder.add(static_cast<std::int64_t>(part.size()));
      builder.add(set_.rule == ContentRule::spread ? digest_content(part)
                                                   : fingerprint::digest_bytes(part.data(), part.size()));
    }
    for (const Column& column : set_.columns)
      builder.add(column.stride_bytes).add(std::int64_t{column.swap_bytes});
    return builder.finish();
  });
}

std::string ColumnDataset::describe() const {
  return fmt::format("{} ({} records)", set_.description, set_.records);
}

}  // namespace lockstep::loader
