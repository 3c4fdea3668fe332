#include "lockstep_loader/dataset/concat.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/check.h"
#include "lockstep_loader/dataset/fingerprint.h"

namespace lockstep::loader {
namespace {

std::string fields_text(const std::vector<Field>& fields) {
  std::vector<std::string> texts;
  texts.reserve(fields.size());
  for (const Field& field : fields) {
    texts.push_back(fmt::format("{} {} {}", field.name, dtype_name(field.dtype), field.shape.text()));
  }
  return fmt::to_string(fmt::join(texts, ", "));
}

}  // namespace

ConcatDataset::ConcatDataset(std::vector<DatasetPtr> parts) : parts_(std::move(parts)) {
  if (parts_.empty()) fail(ErrorCode::invalid_argument, {"concat", "parts", "at least one", "none", {}});
  std::int64_t end = 0;
  for (const DatasetPtr& part : parts_) {
    check_dataset("concat", part);
    const std::vector<Field>& fields = parts_.front()->fields();
    if (part->fields() != fields) {
      fail(ErrorCode::invalid_argument,
           {"concat", fmt::format("fields of {}", part->describe()), fields_text(fields),
            fields_text(part->fields()), "Rename or convert them first."});
    }
    ends_.push_back(end += part->size());
  }
}

std::pair<std::size_t, std::int64_t> ConcatDataset::locate(std::int64_t index) const {
  const auto end = std::ranges::upper_bound(ends_, index);
  const auto part = static_cast<std::size_t>(end - ends_.begin());
  return {part, index - (*end - parts_[part]->size())};
}

void ConcatDataset::get(std::int64_t index, const random::RecordKey& key,
                        std::span<std::byte* const> out) const {
  check_record("concat", index, size());
  const auto [part, inner] = locate(index);
  parts_[part]->get(inner, key, out);
}

void ConcatDataset::prefetch(std::int64_t index) const {
  if (index < 0 || index >= size()) return;
  const auto [part, inner] = locate(index);
  parts_[part]->prefetch(inner);
}

const std::byte* ConcatDataset::in_memory(std::int64_t index, std::size_t field) const {
  if (index < 0 || index >= size()) return nullptr;
  const auto [part, inner] = locate(index);
  return parts_[part]->in_memory(inner, field);
}

fingerprint::Digest ConcatDataset::fingerprint() const {
  FingerprintBuilder builder("concat");
  for (const DatasetPtr& part : parts_) builder.add(part->fingerprint());
  return builder.finish();
}

std::string ConcatDataset::describe() const {
  std::vector<std::string> texts;
  texts.reserve(parts_.size());
  for (const DatasetPtr& part : parts_) texts.push_back(part->describe());
  return fmt::to_string(fmt::join(texts, " + "));
}

}  // namespace lockstep::loader
