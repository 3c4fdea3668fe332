#include "lockstep_loader/transform/transform.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/check.h"
#include "lockstep_loader/dataset/fingerprint.h"
#include "lockstep_loader/dataset/scratch.h"

namespace lockstep::loader {
namespace {

constexpr std::size_t kInput = static_cast<std::size_t>(-1);

void check_transform(const Transform& transform) {
  const auto demand = [&](bool good, const char* what, const char* expected) {
    if (!good) fail(ErrorCode::invalid_argument, {"transform " + transform.name, what, expected, "none", {}});
  };
  demand(!transform.name.empty(), "name", "the function's name and parameters");
  demand(transform.apply != nullptr, "function", "a function");
  demand(!transform.outputs.empty(), "outputs", "at least one field");
}

}  // namespace

TransformDataset::TransformDataset(DatasetPtr base, Transform transform)
    : base_(std::move(base)), transform_(std::move(transform)) {
  check_dataset("transform", base_);
  check_transform(transform_);
  for (const std::string& input : transform_.inputs) inputs_.push_back(field_position(*base_, input));
  const std::vector<Field>& before = base_->fields();
  const std::size_t first = inputs_.empty() ? 0 : *std::ranges::min_element(inputs_);
  for (std::size_t at = 0; at < before.size(); ++at) {
    if (at == first) {
      first_output_ = fields_.size();
      fields_.insert(fields_.end(), transform_.outputs.begin(), transform_.outputs.end());
    }
    const bool is_input = std::ranges::find(inputs_, at) != inputs_.end();
    passed_to_.push_back(is_input ? kInput : fields_.size());
    if (is_input) scratch_bytes_ += Scratch::padded(before[at].bytes());
    if (!is_input) fields_.push_back(before[at]);
  }
  check_fields("transform " + transform_.name, fields_);
}

void TransformDataset::get(std::int64_t index, const random::RecordKey& key,
                           std::span<std::byte* const> out) const {
  const std::vector<Field>& before = base_->fields();
  Scratch scratch(scratch_bytes_);
  RecordPointers record(before.size());
  for (std::size_t at = 0; at < before.size(); ++at) {
    record.span()[at] = passed_to_[at] == kInput ? scratch.take(before[at].bytes()) : out[passed_to_[at]];
  }
  base_->get(index, key, record.span());

  std::vector<ConstView> in;
  std::vector<View> made;
  in.reserve(inputs_.size());
  made.reserve(transform_.outputs.size());
  for (std::size_t at : inputs_) in.push_back({record.span()[at], before[at].dtype, before[at].shape});
  for (std::size_t at = 0; at < transform_.outputs.size(); ++at) {
    const Field& field = transform_.outputs[at];
    made.push_back({out[first_output_ + at], field.dtype, field.shape});
  }
  random::Generator random(key, transform_.stream);
  transform_.apply(in, random, made);
}

fingerprint::Digest TransformDataset::fingerprint() const {
  FingerprintBuilder builder("transform");
  builder.add(base_->fingerprint()).add(transform_.name).add(std::int64_t{transform_.stream}).add(fields_);
  for (std::size_t at : inputs_) builder.add(static_cast<std::int64_t>(at));
  return builder.finish();
}

std::string TransformDataset::describe() const {
  return fmt::format("{} of {}", transform_.name, base_->describe());
}

}  // namespace lockstep::loader
