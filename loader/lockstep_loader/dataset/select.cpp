#include "lockstep_loader/dataset/select.h"

#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/check.h"
#include "lockstep_loader/dataset/fingerprint.h"
#include "lockstep_loader/dataset/scratch.h"

namespace lockstep::loader {

SelectDataset::SelectDataset(DatasetPtr base, const std::vector<FieldChoice>& choices)
    : base_(std::move(base)) {
  check_dataset("select", base_);
  place_.assign(base_->fields().size(), kLeftOut);
  for (const FieldChoice& choice : choices) {
    const std::size_t position = field_position(*base_, choice.name);
    if (place_[position] != kLeftOut) {
      fail(ErrorCode::invalid_argument,
           {"select", "fields", "each chosen once", fmt::format("'{}' twice", choice.name), {}});
    }
    place_[position] = fields_.size();
    fields_.push_back(base_->fields()[position]);
    if (!choice.as.empty()) fields_.back().name = choice.as;
  }
  check_fields("select", fields_);
  for (std::size_t at = 0; at < place_.size(); ++at) {
    if (place_[at] == kLeftOut) left_out_bytes_ += Scratch::padded(base_->fields()[at].bytes());
  }
}

void SelectDataset::get(std::int64_t index, const random::RecordKey& key,
                        std::span<std::byte* const> out) const {
  Scratch scratch(left_out_bytes_);
  RecordPointers pointers(place_.size());
  const std::span<std::byte*> all = pointers.span();
  for (std::size_t at = 0; at < place_.size(); ++at) {
    all[at] = place_[at] == kLeftOut ? scratch.take(base_->fields()[at].bytes()) : out[place_[at]];
  }
  base_->get(index, key, all);
}

fingerprint::Digest SelectDataset::fingerprint() const {
  FingerprintBuilder builder("select");
  builder.add(base_->fingerprint()).add(fields_);
  for (std::size_t place : place_) builder.add(static_cast<std::int64_t>(place));
  return builder.finish();
}

}  // namespace lockstep::loader
