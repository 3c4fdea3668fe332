#include "lockstep_loader/dataset/pair.h"

#include <array>
#include <cstring>
#include <memory>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/check.h"
#include "lockstep_loader/dataset/select.h"

namespace lockstep::loader {
namespace {

constexpr std::uint32_t kSecondSideStream = 0x70616972;  // "pair"; persisted in results, never change

DatasetPtr side(DatasetPtr base, const PairFields& names) {
  check_dataset("pairs", base);
  const bool fits = base->fields().size() == 2 && base->fields()[0].name == names.data &&
                    base->fields()[1].name == names.label;
  if (fits) return base;
  return std::make_shared<SelectDataset>(std::move(base),
                                         std::vector<FieldChoice>{{names.data, {}}, {names.label, {}}});
}

std::vector<IndexPair> same_positions(const DatasetPtr& first, const DatasetPtr& second) {
  check_dataset("pairs", first);
  check_dataset("pairs", second);
  if (first->size() != second->size()) {
    fail(ErrorCode::invalid_argument,
         {"pairs", "sizes", fmt::format("{} records as in {}", first->size(), first->describe()),
          second->describe(), "Give index pairs to combine datasets of different sizes."});
  }
  std::vector<IndexPair> pairs(static_cast<std::size_t>(first->size()));
  for (std::size_t at = 0; at < pairs.size(); ++at) {
    pairs[at] = {static_cast<std::int64_t>(at), static_cast<std::int64_t>(at)};
  }
  return pairs;
}

template <typename T>
double read_as(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof(T));
  return static_cast<double>(value);
}

double read_scalar(const std::byte* data, DType dtype) {
  switch (dtype) {
    case DType::boolean:
    case DType::uint8:
      return read_as<std::uint8_t>(data);
    case DType::int8:
      return read_as<std::int8_t>(data);
    case DType::uint16:
      return read_as<std::uint16_t>(data);
    case DType::int16:
      return read_as<std::int16_t>(data);
    case DType::uint32:
      return read_as<std::uint32_t>(data);
    case DType::int32:
      return read_as<std::int32_t>(data);
    case DType::uint64:
      return read_as<std::uint64_t>(data);
    case DType::int64:
      return read_as<std::int64_t>(data);
    case DType::float32:
      return read_as<float>(data);
    case DType::float64:
      return read_as<double>(data);
    case DType::float16:
    case DType::bfloat16:
      break;
  }
  fail(ErrorCode::unsupported, {"pairs", "target derived from labels", "integer, float32 or float64 labels",
                                std::string(dtype_name(dtype)), "Give the targets as a list."});
}

void check_pairs(const std::vector<IndexPair>& pairs, const Dataset& first, const Dataset& second) {
  for (std::size_t at = 0; at < pairs.size(); ++at) {
    const bool good = pairs[at].first >= 0 && pairs[at].first < first.size() && pairs[at].second >= 0 &&
                      pairs[at].second < second.size();
    if (good) continue;
    fail(ErrorCode::invalid_argument, {"pairs",
                                       fmt::format("pair {}", at),
                                       fmt::format("records below {}", first.size()),
                                       fmt::format("({}, {})", pairs[at].first, pairs[at].second),
                                       {}});
  }
}

void check_target(const PairTarget& target, std::size_t pairs, const Field& label) {
  if (const auto* given = std::get_if<std::vector<float>>(&target)) {
    if (given->size() == pairs) return;
    fail(ErrorCode::invalid_argument,
         {"pairs", "targets", fmt::format("{}, one a pair", pairs), fmt::to_string(given->size()), {}});
  }
  if (!std::get<DerivedTarget>(target).compute) {
    fail(ErrorCode::invalid_argument, {"pairs", "target function", "a function", "none", {}});
  }
  if (label.shape.elements() != 1) {
    fail(ErrorCode::invalid_argument,
         {"pairs", fmt::format("field '{}'", label.name), "a scalar, for the target is derived from it",
          label.shape.text(), "Give the targets as a list."});
  }
  const std::array<std::byte, 8> zero{};
  read_scalar(zero.data(), label.dtype);
}

Field renamed(Field field, std::string name) {
  field.name = std::move(name);
  return field;
}

}  // namespace

DerivedTarget ranking_target() {
  return {"ranking", [](double label1, double label2) {
            return static_cast<float>(int{label1 > label2} - int{label1 < label2});
          }};
}

PairDataset::PairDataset(const DatasetPtr& base, std::vector<IndexPair> pairs, const PairFields& names,
                         PairTarget target)
    : PairDataset(Sides{side(base, names), nullptr}, std::move(pairs), std::move(target)) {}

PairDataset::PairDataset(const DatasetPtr& first, const DatasetPtr& second, const PairFields& names,
                         PairTarget target)
    : PairDataset(Sides{side(first, names), side(second, names)}, same_positions(first, second),
                  std::move(target)) {}

PairDataset::PairDataset(Sides sides, std::vector<IndexPair> pairs, PairTarget target)
    : first_(std::move(sides.first)),
      second_(sides.second ? std::move(sides.second) : first_),
      pairs_(std::move(pairs)),
      target_(std::move(target)) {
  const Field& data = first_->fields()[0];
  const Field& label = first_->fields()[1];
  if (second_->fields() != first_->fields()) {
    fail(ErrorCode::invalid_argument, {"pairs",
                                       "fields of the two datasets",
                                       "equal dtypes and shapes",
                                       fmt::format("{} against {}", first_->describe(), second_->describe()),
                                       {}});
  }
  check_pairs(pairs_, *first_, *second_);
  check_target(target_, pairs_.size(), label);
  fields_ = {renamed(data, "data1"), renamed(data, "data2"), Field{"targets", DType::float32, {}},
             renamed(label, "labels1"), renamed(label, "labels2")};
}

float PairDataset::target(std::int64_t index, const std::byte* label1, const std::byte* label2) const {
  if (const auto* given = std::get_if<std::vector<float>>(&target_))
    return (*given)[static_cast<std::size_t>(index)];
  const DType dtype = fields_[3].dtype;
  return std::get<DerivedTarget>(target_).compute(read_scalar(label1, dtype), read_scalar(label2, dtype));
}

void PairDataset::get(std::int64_t index, const random::RecordKey& key,
                      std::span<std::byte* const> out) const {
  check_record("pairs", index, size());
  const IndexPair& pair = pairs_[static_cast<std::size_t>(index)];
  random::RecordKey second_key = key;
  second_key.seed = random::Generator(key, kSecondSideStream).next_u64();
  const std::array<std::byte*, 2> first_out{out[0], out[3]};
  const std::array<std::byte*, 2> second_out{out[1], out[4]};
  first_->get(pair.first, key, first_out);
  second_->get(pair.second, second_key, second_out);
  const float value = target(index, out[3], out[4]);
  std::memcpy(out[2], &value, sizeof(value));
}

void PairDataset::prefetch(std::int64_t index) const {
  if (index < 0 || index >= size()) return;
  first_->prefetch(pairs_[static_cast<std::size_t>(index)].first);
  second_->prefetch(pairs_[static_cast<std::size_t>(index)].second);
}

fingerprint::Digest PairDataset::fingerprint() const {
  return fingerprint_.get([this] {
    FingerprintBuilder builder("pairs");
    builder.add(first_->fingerprint()).add(second_->fingerprint());
    static_assert(sizeof(IndexPair) == 2 * sizeof(std::int64_t));
    builder.add(std::span<const std::int64_t>(&pairs_.data()->first, 2 * pairs_.size()));
    if (const auto* given = std::get_if<std::vector<float>>(&target_)) {
      builder.add("given").add(fingerprint::digest_bytes(given->data(), given->size() * sizeof(float)));
    } else {
      builder.add("derived").add(std::get<DerivedTarget>(target_).name);
    }
    return builder.finish();
  });
}

std::string PairDataset::describe() const {
  if (first_ == second_) return fmt::format("{} pairs of {}", size(), first_->describe());
  return fmt::format("{} pairs of {} and {}", size(), first_->describe(), second_->describe());
}

}  // namespace lockstep::loader
