// Pairs for ranking.

#include "lockstep_loader/dataset/pair.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep_loader/dataset/dataset_test.h"
#include "lockstep_loader/dataset/in_memory.h"
#include "lockstep_loader/dataset/subset.h"

namespace lockstep::loader {
namespace {

DatasetPtr patients() {
  const std::vector<float> data{1, 2, 3, 4, 5, 6};
  const std::vector<float> label{151, 75, 151};
  const std::vector<std::int64_t> id{100, 101, 102};
  return InMemoryDataset::copy_of({{"id", {id.data(), DType::int64, {3}}},
                                   {"data", {data.data(), DType::float32, {3, 2}}},
                                   {"label", {label.data(), DType::float32, {3}}}});
}

const PairFields kNames{"data", "label"};

/// Delivers what it was asked with: the key's seed.
class KeyProbe final : public Dataset {
 public:
  std::int64_t size() const override { return 2; }
  const std::vector<Field>& fields() const override { return fields_; }
  void get(std::int64_t, const random::RecordKey& key, std::span<std::byte* const> out) const override {
    std::memcpy(out[0], &key.seed, sizeof(key.seed));
    std::memcpy(out[1], &key.record, sizeof(key.record));
  }
  fingerprint::Digest fingerprint() const override { return {}; }
  std::string describe() const override { return "probe"; }

 private:
  std::vector<Field> fields_{{"data", DType::uint64, {}}, {"label", DType::int64, {}}};
};

TEST(Pair, HasTheFieldsOfTheBatchReport) {
  const PairDataset pairs(patients(), {{0, 1}, {1, 2}, {0, 2}}, kNames, ranking_target());
  EXPECT_EQ(pairs.fields(), (std::vector<Field>{{"data1", DType::float32, {2}},
                                                {"data2", DType::float32, {2}},
                                                {"targets", DType::float32, {}},
                                                {"labels1", DType::float32, {}},
                                                {"labels2", DType::float32, {}}}));
  EXPECT_EQ(fetch_as<float>(pairs, 0, 0), (std::vector<float>{1, 2}));
  EXPECT_EQ(fetch_as<float>(pairs, 0, 1), (std::vector<float>{3, 4}));
  EXPECT_EQ(fetch_as<float>(pairs, 0, 2), (std::vector<float>{1}));
  EXPECT_EQ(fetch_as<float>(pairs, 0, 3), (std::vector<float>{151}));
  EXPECT_EQ(fetch_as<float>(pairs, 0, 4), (std::vector<float>{75}));
  EXPECT_EQ(fetch_as<float>(pairs, 1, 2), (std::vector<float>{-1}));
  EXPECT_EQ(fetch_as<float>(pairs, 2, 2), (std::vector<float>{0}));
}

TEST(Pair, TakesGivenTargets) {
  const PairDataset pairs(patients(), {{0, 1}, {2, 1}}, kNames, std::vector<float>{0.25f, -3.f});
  EXPECT_EQ(fetch_as<float>(pairs, 1, 2), (std::vector<float>{-3.f}));
  expect_error(ErrorCode::invalid_argument, {"targets", "1, one a pair", "got 2"}, [] {
    PairDataset bad(patients(), {{0, 1}}, kNames, std::vector<float>{1, 2});
  });
}

TEST(Pair, JoinsTwoDatasetsByPosition) {
  const auto base = patients();
  const auto other = std::make_shared<SubsetDataset>(base, std::vector<std::int64_t>{2, 0, 1});
  const PairDataset pairs(base, other, kNames, ranking_target());
  ASSERT_EQ(pairs.size(), 3);
  EXPECT_EQ(fetch_as<float>(pairs, 1, 0), (std::vector<float>{3, 4}));
  EXPECT_EQ(fetch_as<float>(pairs, 1, 1), (std::vector<float>{1, 2}));
  const auto shorter = std::make_shared<SubsetDataset>(base, std::vector<std::int64_t>{2});
  expect_error(ErrorCode::invalid_argument, {"sizes", "3 records", "1 records", "index pairs"},
               [&] { PairDataset bad(base, shorter, kNames, ranking_target()); });
}

TEST(Pair, GivesTheSecondSideItsOwnKey) {
  const PairDataset pairs(std::make_shared<KeyProbe>(), {{0, 0}}, kNames, ranking_target());
  const random::RecordKey key{42, 1, 7, 0};
  const auto first = fetch_as<std::uint64_t>(pairs, 0, 0, key);
  const auto second = fetch_as<std::uint64_t>(pairs, 0, 1, key);
  EXPECT_EQ(first, std::vector<std::uint64_t>{42});
  EXPECT_NE(second, first);
  EXPECT_EQ(second, std::vector<std::uint64_t>{random::Generator(key, 0x70616972).next_u64()});
  EXPECT_EQ(fetch_as<std::int64_t>(pairs, 0, 4, key), std::vector<std::int64_t>{7});
}

TEST(Pair, FingerprintSeesPairsAndTargets) {
  const auto base = patients();
  const fingerprint::Digest digest =
      PairDataset(base, {{0, 1}, {1, 2}}, kNames, ranking_target()).fingerprint();
  EXPECT_EQ(digest, PairDataset(patients(), {{0, 1}, {1, 2}}, kNames, ranking_target()).fingerprint());
  EXPECT_NE(digest, PairDataset(base, {{1, 2}, {0, 1}}, kNames, ranking_target()).fingerprint());
  EXPECT_NE(digest, PairDataset(base, {{0, 1}, {1, 2}}, kNames, std::vector<float>{1, -1}).fingerprint());
  DerivedTarget renamed = ranking_target();
  renamed.name = "other";
  EXPECT_NE(digest, PairDataset(base, {{0, 1}, {1, 2}}, kNames, renamed).fingerprint());
}

TEST(Pair, RefusesWhatCannotBePaired) {
  expect_error(ErrorCode::invalid_argument, {"pair 1", "records below 3", "(0, 3)"}, [] {
    PairDataset bad(patients(), {{0, 1}, {0, 3}}, kNames, ranking_target());
  });
  expect_error(ErrorCode::not_found, {"one of id, data, label", "got image"}, [] {
    PairDataset bad(patients(), {{0, 1}}, {"image", "label"}, ranking_target());
  });
  expect_error(ErrorCode::invalid_argument, {"a scalar", "[2]"}, [] {
    PairDataset bad(patients(), {{0, 1}}, {"label", "data"}, ranking_target());
  });
  expect_error(ErrorCode::invalid_argument, {"target function"}, [] {
    PairDataset bad(patients(), {{0, 1}}, kNames, DerivedTarget{"none", nullptr});
  });
  const std::vector<std::uint16_t> half(3);
  const auto halves = InMemoryDataset::copy_of(
      {{"data", {half.data(), DType::float16, {3}}}, {"label", {half.data(), DType::float16, {3}}}});
  expect_error(ErrorCode::unsupported, {"float16", "as a list"}, [&] {
    PairDataset bad(halves, {{0, 1}}, kNames, ranking_target());
  });
  EXPECT_EQ(PairDataset(halves, {{0, 1}}, kNames, std::vector<float>{1}).size(), 1);
}

template <typename T>
class PairLabels : public testing::Test {};
using LabelTypes = testing::Types<bool, std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t,
                                  std::int32_t, std::uint64_t, std::int64_t, float, double>;
TYPED_TEST_SUITE(PairLabels, LabelTypes);

TYPED_TEST(PairLabels, AreReadInTheirType) {
  const TypeParam labels[2] = {std::numeric_limits<TypeParam>::max(),
                               std::numeric_limits<TypeParam>::lowest()};
  const auto base = InMemoryDataset::copy_of(
      {{"data", {labels, dtype_of<TypeParam>(), {2}}}, {"label", {labels, dtype_of<TypeParam>(), {2}}}});
  const PairDataset pairs(base, {{0, 1}, {1, 0}}, kNames, ranking_target());
  EXPECT_EQ(fetch_as<float>(pairs, 0, 2), std::vector<float>{1});
  EXPECT_EQ(fetch_as<float>(pairs, 1, 2), std::vector<float>{-1});
}

}  // namespace
}  // namespace lockstep::loader
