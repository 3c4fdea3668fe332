#include "lockstep_loader/batch/fetch.h"

#include <numeric>

#include <gtest/gtest.h>

#include "lockstep_loader/batch/fakes_test.h"
#include "lockstep_loader/dataset/in_memory.h"

namespace lockstep::loader {
namespace {

using testing::FakeDataset;
using testing::ListSampler;
using testing::message_of;

const std::atomic<bool> kNever{false};

EpochPositions positions_of(std::vector<std::int64_t> ids, std::int64_t records, bool replacement = false) {
  ListSampler sampler(std::move(ids));
  return {sampler.begin_epoch(0, {}), records, replacement};
}

FetchRequest rows(std::int64_t first, std::int64_t count) {
  return {.epoch = 2,
          .index = 5,
          .global_samples = count,
          .first_sample = 0,
          .first_position = first,
          .rows = count};
}

std::vector<std::int64_t> values(const Batch& batch) {
  const auto* data = static_cast<const std::int64_t*>(batch.field("value").data);
  return {data, data + batch.rows()};
}

std::uint32_t draw_of(std::int64_t record, std::uint32_t occurrence) {
  return random::Generator({7, 2, record, occurrence}, 0).next_u32();
}

std::vector<std::uint32_t> draws(const Batch& batch) {
  const auto* data = static_cast<const std::uint32_t*>(batch.field("draw").data);
  return {data, data + batch.rows()};
}

TEST(Fetch, RowsStandInOrderInAlignedFields) {
  const auto dataset = std::make_shared<FakeDataset>(10);
  const BatchFetcher fetcher(dataset, 7, BadSample::fail, 2);
  const Batch batch = fetcher.fetch(rows(1, 3), positions_of({4, 9, 0, 3}, 10), kNever).batch;
  EXPECT_EQ(batch.ids, (std::vector<std::int64_t>{9, 0, 3}));
  EXPECT_EQ(values(batch), batch.ids);
  EXPECT_EQ(draws(batch), (std::vector<std::uint32_t>{draw_of(9, 0), draw_of(0, 0), draw_of(3, 0)}));
  EXPECT_EQ(batch.epoch, 2);
  EXPECT_EQ(batch.index, 5);
  ASSERT_EQ(batch.fields.size(), 3u);
  EXPECT_EQ(batch.fields[1].shape, (Shape{3, 3, 7}));
  for (const ConstView& field : batch.fields) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(field.data) % BufferPool::kAlignment, 0u);
  }
}

TEST(Fetch, UnknownFieldNamesThoseThereAre) {
  const BatchFetcher fetcher(std::make_shared<FakeDataset>(3), 7, BadSample::fail, 2);
  const Batch batch = fetcher.fetch(rows(0, 2), positions_of({0, 1}, 3), kNever).batch;
  const std::string text = message_of([&] { batch.field("label"); }, ErrorCode::not_found);
  EXPECT_NE(text.find("value, bytes, draw"), std::string::npos) << text;
}

TEST(Fetch, FailNamesBatchPositionRecordAndReason) {
  const auto dataset = std::make_shared<FakeDataset>(10);
  dataset->bad = {9};
  const BatchFetcher fetcher(dataset, 7, BadSample::fail, 2);
  const auto positions = positions_of({4, 9, 0}, 10);
  const std::string text =
      message_of([&] { fetcher.fetch(rows(0, 3), positions, kNever); }, ErrorCode::corruption);
  for (const char* part : {"batch 5 of epoch 2", "position 1", "record 9", "fake: record 9", "skip"}) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

TEST(Fetch, SkipShortensAndMovesNothingUp) {
  const auto dataset = std::make_shared<FakeDataset>(10);
  dataset->bad = {9, 5};
  const BatchFetcher fetcher(dataset, 7, BadSample::skip, 2);
  const auto positions = positions_of({9, 4, 5, 3, 1}, 10);
  const Fetched fetched = fetcher.fetch(rows(0, 4), positions, kNever);
  EXPECT_EQ(fetched.batch.ids, (std::vector<std::int64_t>{4, 3}));
  EXPECT_EQ(values(fetched.batch), fetched.batch.ids);
  EXPECT_EQ(fetched.batch.field("bytes").shape, (Shape{2, 3, 7}));
  EXPECT_EQ(fetched.batch.global_samples, 4);
  ASSERT_EQ(fetched.batch.bad.size(), 2u);
  EXPECT_EQ(fetched.batch.bad[1].position, 2);
  EXPECT_EQ(fetched.batch.bad[1].record, 5);
  EXPECT_EQ(fetched.batch.bad[1].replacement, -1);
  EXPECT_NE(fetched.batch.bad[1].reason.find("record 5"), std::string::npos);
  // The rows that are left are digested at their own positions, 1 and 3, not at 0 and 1.
  DeliveredDigest expected = fetcher.fetch(rows(1, 1), positions, kNever).digest;
  expected.merge(fetcher.fetch(rows(3, 1), positions, kNever).digest);
  EXPECT_EQ(fetched.digest, expected);
  DeliveredDigest moved_up;
  moved_up.add(fetched.batch.ids, fetched.batch.fields, 0);
  EXPECT_NE(fetched.digest, moved_up);
}

TEST(Fetch, SkippingAllLeavesAnEmptyBatch) {
  const auto dataset = std::make_shared<FakeDataset>(2);
  dataset->bad = {0, 1};
  const Fetched fetched =
      BatchFetcher(dataset, 7, BadSample::skip, 2).fetch(rows(0, 2), positions_of({1, 0}, 2), kNever);
  EXPECT_EQ(fetched.batch.rows(), 0);
  EXPECT_EQ(fetched.batch.field("bytes").shape, (Shape{0, 3, 7}));
  EXPECT_EQ(fetched.digest, DeliveredDigest{});
}

TEST(Fetch, SubstituteTakesTheNextGoodRecordAroundTheEnd) {
  const auto dataset = std::make_shared<FakeDataset>(10);
  dataset->bad = {8, 9, 0};
  const Fetched fetched = BatchFetcher(dataset, 7, BadSample::substitute, 2)
                              .fetch(rows(0, 3), positions_of({4, 8, 5}, 10), kNever);
  EXPECT_EQ(fetched.batch.ids, (std::vector<std::int64_t>{4, 1, 5}));
  EXPECT_EQ(values(fetched.batch), fetched.batch.ids);
  EXPECT_EQ(draws(fetched.batch)[1], draw_of(1, 0));
  ASSERT_EQ(fetched.batch.bad.size(), 1u);
  EXPECT_EQ(fetched.batch.bad[0].replacement, 1);
}

TEST(Fetch, SubstituteGivesUpWhenNothingIsGood) {
  const auto dataset = std::make_shared<FakeDataset>(3);
  dataset->bad = {0, 1, 2};
  const BatchFetcher fetcher(dataset, 7, BadSample::substitute, 2);
  const std::string text =
      message_of([&] { fetcher.fetch(rows(0, 1), positions_of({1}, 3), kNever); }, ErrorCode::corruption);
  EXPECT_NE(text.find("substitute for record 1"), std::string::npos) << text;
}

TEST(Fetch, SubstituteWalksABoundedDistance) {
  const auto dataset = std::make_shared<FakeDataset>(5000);
  for (std::int64_t record = 0; record <= BatchFetcher::kMaxSubstitutes; ++record)
    dataset->bad.insert(record);
  const BatchFetcher fetcher(dataset, 7, BadSample::substitute, 2);
  message_of([&] { fetcher.fetch(rows(0, 1), positions_of({0}, 5000), kNever); }, ErrorCode::corruption);
  EXPECT_EQ(fetcher.fetch(rows(0, 1), positions_of({1}, 5000), kNever).batch.ids[0],
            BatchFetcher::kMaxSubstitutes + 1);
}

TEST(Fetch, ABugIsNoBadSample) {
  const auto dataset = std::make_shared<FakeDataset>(3);
  dataset->exploding = {1};
  const BatchFetcher fetcher(dataset, 7, BadSample::skip, 2);
  EXPECT_THROW(fetcher.fetch(rows(0, 3), positions_of({0, 1, 2}, 3), kNever), std::runtime_error);
}

TEST(Fetch, CancelledEndsEarly) {
  const BatchFetcher fetcher(std::make_shared<FakeDataset>(3), 7, BadSample::skip, 2);
  const std::atomic<bool> cancelled{true};
  message_of([&] { fetcher.fetch(rows(0, 3), positions_of({0, 1, 2}, 3), cancelled); }, ErrorCode::internal);
}

TEST(Fetch, DigestIsTheSameHoweverTheEpochIsCut) {
  const auto dataset = std::make_shared<FakeDataset>(3000);
  const BatchFetcher fetcher(dataset, 7, BadSample::fail, 2);
  std::vector<std::int64_t> ids(3000);
  std::iota(ids.rbegin(), ids.rend(), 0);
  const auto positions = positions_of(ids, 3000);
  const DeliveredDigest whole = fetcher.fetch(rows(0, 3000), positions, kNever).digest;
  for (const std::int64_t step : {1, 7, 64, 1000}) {
    DeliveredDigest sum;
    for (std::int64_t first = 0; first < 3000; first += step) {
      sum.merge(fetcher.fetch(rows(first, std::min(step, 3000 - first)), positions, kNever).digest);
    }
    EXPECT_EQ(sum, whole) << step;
  }
  std::swap(ids[10], ids[2000]);
  EXPECT_NE(fetcher.fetch(rows(0, 3000), positions_of(ids, 3000), kNever).digest, whole);
}

TEST(Fetch, RecordsInMemoryTakeTheShortWayToTheSameBytes) {
  struct ByRows final : Dataset {  // the same dataset, which does not tell where its records lie
    DatasetPtr inner;
    std::int64_t size() const override { return inner->size(); }
    const std::vector<Field>& fields() const override { return inner->fields(); }
    void get(std::int64_t index, const random::RecordKey& key,
             std::span<std::byte* const> out) const override {
      inner->get(index, key, out);
    }
    fingerprint::Digest fingerprint() const override { return inner->fingerprint(); }
    std::string describe() const override { return inner->describe(); }
  };
  std::vector<std::uint8_t> images(500 * 784), labels(500);
  std::vector<float> weights(500 * 40);
  for (std::size_t i = 0; i < images.size(); ++i)
    images[i] = static_cast<std::uint8_t>(i * 2654435761u >> 11);
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::uint8_t>(i);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i) * 0.25f;
  const std::uint32_t odd_nan = 0xffc12345;  // digested as the canonical one, delivered as it is
  std::memcpy(&weights[77], &odd_nan, sizeof odd_nan);
  const auto direct = std::make_shared<InMemoryDataset>(
      std::vector<NamedView>{{"image", {images.data(), DType::uint8, {500, 28, 28}}},
                             {"label", {labels.data(), DType::uint8, {500}}},
                             {"weights", {weights.data(), DType::float32, {500, 40}}}});
  const auto by_rows = std::make_shared<ByRows>();
  by_rows->inner = direct;
  ASSERT_NE(direct->in_memory(3, 0), nullptr);
  std::vector<std::int64_t> ids(500);
  std::iota(ids.rbegin(), ids.rend(), 0);
  const auto positions = positions_of(ids, 500);
  const BatchFetcher a(direct, 7, BadSample::fail, 2), b(by_rows, 7, BadSample::fail, 2);
  for (const auto& request : {rows(0, 64), rows(63, 1), rows(100, 400)}) {
    const Fetched fast = a.fetch(request, positions, kNever), slow = b.fetch(request, positions, kNever);
    EXPECT_EQ(fast.digest, slow.digest);
    EXPECT_EQ(fast.batch.ids, slow.batch.ids);
    for (std::size_t f = 0; f < 3; ++f) {
      ASSERT_EQ(fast.batch.fields[f].bytes(), slow.batch.fields[f].bytes());
      EXPECT_EQ(
          std::memcmp(fast.batch.fields[f].data, slow.batch.fields[f].data, fast.batch.fields[f].bytes()), 0);
    }
  }
}

TEST(DeliveredDigest, ExchangedFieldsShow) {
  const std::vector<std::int64_t> ids{3, 4};
  const std::vector<float> a{1, 2}, b{5, 6};
  const ConstView first{a.data(), DType::float32, {2}}, second{b.data(), DType::float32, {2}};
  DeliveredDigest straight, exchanged, unfactored;
  straight.add(ids, std::vector{first, second}, 0);
  exchanged.add(ids, std::vector{second, first}, 0);
  EXPECT_EQ(straight.ids, exchanged.ids);
  EXPECT_NE(straight.bytes, exchanged.bytes);
  // Without the factor the two could not be told apart.
  unfactored.bytes = fingerprint::digest_samples(first, 0);
  unfactored.bytes.merge(fingerprint::digest_samples(second, 0));
  EXPECT_NE(straight.bytes, unfactored.bytes);
}

// From a second implementation of README.md's formula, in Python.
TEST(DeliveredDigest, GoldenValue) {
  const std::vector<std::int64_t> ids{7, 3, 500};
  std::vector<std::uint8_t> wide(30), narrow{1, 2, 3};
  std::iota(wide.begin(), wide.end(), std::uint8_t{0});
  DeliveredDigest digest;
  digest.add(
      ids, std::vector<ConstView>{{wide.data(), DType::uint8, {3, 2, 5}}, {narrow.data(), DType::uint8, {3}}},
      700);
  EXPECT_EQ(digest.ids, (fingerprint::DigestSum{0x0822c6e22dd28b7d, 0xe45b9b4177106881}));
  EXPECT_EQ(digest.bytes, (fingerprint::DigestSum{0x3a157143211af757, 0x0e3b63d2660d53af}));
}

TEST(EpochPositions, WrapAndBounds) {
  const auto positions = positions_of({2, 0, 1}, 3);
  std::vector<std::int64_t> out(8);
  positions.ids(2, out);
  EXPECT_EQ(out, (std::vector<std::int64_t>{1, 2, 0, 1, 2, 0, 1, 2}));
  EXPECT_EQ(positions.occurrence(1, 0), 0u);
  EXPECT_EQ(positions.occurrence(7, 0), 2u);
  const auto outside = positions_of({2, 3}, 3);
  out.resize(2);
  const std::string text = message_of([&] { outside.ids(0, out); }, ErrorCode::invalid_argument);
  EXPECT_NE(text.find("got 3"), std::string::npos) << text;
}

TEST(EpochPositions, OccurrencesAreCountedFromTheStart) {
  const auto positions = positions_of({2, 2, 0, 2, 0}, 3, true);
  const std::int64_t ids[] = {2, 2, 0, 2, 0};
  const std::uint32_t expected[] = {0, 1, 0, 2, 1};
  for (std::int64_t p = 0; p < 5; ++p) EXPECT_EQ(positions.occurrence(p, ids[p]), expected[p]) << p;
  EXPECT_EQ(positions.occurrence(5, 2), 3u);  // wrapped: record 2 came three times before
  EXPECT_EQ(positions.occurrence(9, 0), 3u);
}

TEST(BufferPool, RecyclesAndOutlivesItself) {
  std::shared_ptr<std::byte> kept;
  {
    BufferPool pool(1);
    const std::byte* first = nullptr;
    {
      const auto buffer = pool.take(100);
      first = buffer.get();
    }
    kept = pool.take(100);
    EXPECT_EQ(kept.get(), first);
    EXPECT_NE(pool.take(100).get(), first);
    EXPECT_NE(pool.take(1000).get(), nullptr);
    EXPECT_NE(pool.take(0).get(), nullptr);
  }
  std::memset(kept.get(), 1, 100);
}

}  // namespace
}  // namespace lockstep::loader
