#include "lockstep_loader/prefetch/loader.h"

#include <atomic>
#include <chrono>
#include <map>
#include <numeric>

#include <gtest/gtest.h>

#include "lockstep_loader/batch/fakes_test.h"
#include "lockstep_loader/sampler/native.h"

namespace lockstep::loader {
namespace {

using testing::expect_words;
using testing::FakeDataset;
using testing::ListSampler;
using testing::message_of;

/// A batch as a value that can be compared: everything that a consumer sees.
struct Seen {
  std::int64_t epoch, index, first_sample;
  std::vector<std::int64_t> ids;
  std::vector<std::string> bytes;

  explicit Seen(const Batch& batch)
      : epoch(batch.epoch), index(batch.index), first_sample(batch.first_sample), ids(batch.ids) {
    for (const ConstView& field : batch.fields) {
      bytes.emplace_back(static_cast<const char*>(field.data), field.bytes());
    }
  }
  bool operator==(const Seen&) const = default;
};

std::shared_ptr<FakeDataset> dataset_of(std::int64_t records) {
  return std::make_shared<FakeDataset>(records);
}

SamplerPtr shuffled(std::int64_t records, std::uint64_t seed = 3) {
  return native_random({.records = records, .seed = seed, .samples = {}});
}

std::vector<Seen> rest_of(Loader& loader) {
  std::vector<Seen> seen;
  while (auto batch = loader.next()) seen.emplace_back(*batch);
  return seen;
}

std::vector<Seen> epoch_of(Loader& loader, std::int64_t epoch) {
  loader.begin(epoch);
  return rest_of(loader);
}

void take(Loader& loader, int batches) {
  for (int i = 0; i < batches; ++i) ASSERT_TRUE(loader.next().has_value());
}

TEST(Loader, AnEpochHoldsEveryRecordOnce) {
  Loader loader(dataset_of(103), shuffled(103), {.batch_size = 10});
  EXPECT_EQ(loader.batches_per_epoch(), 11);
  loader.begin(0);
  std::vector<std::int64_t> ids;
  for (std::int64_t k = 0; auto batch = loader.next(); ++k) {
    EXPECT_EQ(batch->index, k);
    EXPECT_EQ(batch->global_samples, batch->rows());
    ids.insert(ids.end(), batch->ids.begin(), batch->ids.end());
  }
  EXPECT_FALSE(loader.next().has_value());
  std::sort(ids.begin(), ids.end());
  std::vector<std::int64_t> all(103);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(ids, all);
}

TEST(Loader, WorkersAndPrefetchChangeNothing) {
  Loader reference(dataset_of(211), shuffled(211), {.batch_size = 8});
  const auto expected = epoch_of(reference, 4);
  const DeliveredDigest digest = reference.delivered();
  ASSERT_EQ(expected.size(), 27u);
  for (int workers = 0; workers <= 8; ++workers) {
    for (int prefetch = 1; prefetch <= 8; ++prefetch) {
      Loader loader(dataset_of(211), shuffled(211),
                    {.batch_size = 8, .workers = workers, .prefetch_factor = prefetch});
      EXPECT_EQ(epoch_of(loader, 4), expected) << workers << " workers, prefetch " << prefetch;
      EXPECT_EQ(loader.delivered(), digest);
    }
  }
  EXPECT_NE(epoch_of(reference, 5), expected);
}

TEST(Loader, RanksCutTheGlobalBatchAndTheirDigestsAdd) {
  for (const LastBatch last : {LastBatch::keep, LastBatch::drop, LastBatch::wrap}) {
    Loader whole(dataset_of(101), shuffled(101), {.batch_size = 16, .last = last});
    const auto expected = epoch_of(whole, 1);
    for (const int world : {1, 2, 4, 16}) {
      std::vector<Seen> joined = expected;
      for (Seen& seen : joined) seen.ids.clear();
      DeliveredDigest sum;
      for (int rank = 0; rank < world; ++rank) {
        Loader loader(dataset_of(101), shuffled(101),
                      {.batch_size = 16, .last = last, .rank = rank, .world_size = world, .workers = 2});
        const auto part = epoch_of(loader, 1);
        ASSERT_EQ(part.size(), expected.size());
        for (std::size_t k = 0; k < part.size(); ++k) {
          EXPECT_EQ(part[k].first_sample, static_cast<std::int64_t>(joined[k].ids.size()));
          joined[k].ids.insert(joined[k].ids.end(), part[k].ids.begin(), part[k].ids.end());
        }
        sum.merge(loader.delivered());
      }
      for (std::size_t k = 0; k < expected.size(); ++k) EXPECT_EQ(joined[k].ids, expected[k].ids) << k;
      EXPECT_EQ(sum, whole.delivered()) << world;
    }
  }
}

TEST(Loader, WrapTakesTheEpochsHead) {
  Loader loader(dataset_of(10), native_sequential(10), {.batch_size = 4, .last = LastBatch::wrap});
  const auto seen = epoch_of(loader, 0);
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[2].ids, (std::vector<std::int64_t>{8, 9, 0, 1}));
  EXPECT_EQ(seen[2].bytes[0].substr(16), seen[0].bytes[0].substr(0, 16));
  // The record comes a second time, so its draws are others.
  EXPECT_NE(seen[2].bytes[2].substr(8), seen[0].bytes[2].substr(0, 8));
}

TEST(Loader, DrawingWithReplacementCountsOccurrences) {
  const auto draws = [](int workers) {
    Loader loader(dataset_of(4), native_random({.records = 4, .seed = 1, .replacement = true, .samples = 64}),
                  {.batch_size = 8, .workers = workers, .seed = 9});
    std::map<std::int64_t, std::vector<std::uint32_t>> by_record;
    loader.begin(3);
    while (auto batch = loader.next()) {
      const auto* draw = static_cast<const std::uint32_t*>(batch->field("draw").data);
      for (std::size_t i = 0; i < batch->ids.size(); ++i) by_record[batch->ids[i]].push_back(draw[i]);
    }
    return by_record;
  };
  const auto expected = draws(0);
  for (const auto& [record, list] : expected) {
    for (std::uint32_t occurrence = 0; occurrence < list.size(); ++occurrence) {
      EXPECT_EQ(list[occurrence], random::Generator({9, 3, record, occurrence}, 0).next_u32());
    }
  }
  EXPECT_EQ(draws(3), expected);
}

TEST(Loader, LeavingEarlyAndBeginningAgainWorks) {
  const auto dataset = dataset_of(500);
  Loader reference(dataset_of(500), shuffled(500), {.batch_size = 4});
  const auto expected = epoch_of(reference, 2);
  for (const int workers : {0, 1, 4}) {
    Loader loader(dataset, shuffled(500), {.batch_size = 4, .workers = workers});
    for (int round = 0; round < 20; ++round) {
      loader.begin(round);
      take(loader, round % 5);
    }
    EXPECT_EQ(epoch_of(loader, 2), expected) << workers;
  }
}

TEST(Loader, TellsTheSamplerHowAnEpochEnded) {
  for (const int workers : {0, 2}) {
    std::vector<std::int64_t> ids(10);
    std::iota(ids.begin(), ids.end(), 0);
    const auto sampler = std::make_shared<ListSampler>(ids);
    Loader loader(dataset_of(10), sampler, {.batch_size = 3, .workers = workers});
    loader.begin(0);
    take(loader, 2);
    epoch_of(loader, 1);
    loader.begin(2);
    take(loader, 4);
    loader.begin(3);
    EXPECT_EQ(sampler->ended,
              (std::vector<std::pair<std::int64_t, bool>>{{2, false}, {4, true}, {4, false}}));
  }
}

TEST(Loader, AWorkersExceptionComesAtItsPlaceAndNothingElseIsLost) {
  Loader reference(dataset_of(64), native_sequential(64), {.batch_size = 4});
  const auto expected = epoch_of(reference, 0);
  for (const int workers : {0, 1, 2, 4}) {
    const auto dataset = dataset_of(64);
    dataset->exploding = {9, 12, 13, 63};  // batches 2, 3, 15
    Loader loader(dataset, native_sequential(64), {.batch_size = 4, .workers = workers});
    for (int round = 0; round < 2; ++round) {
      loader.begin(0);
      std::vector<std::int64_t> thrown;
      for (std::int64_t k = 0; k < 16; ++k) {
        try {
          const auto batch = loader.next();
          ASSERT_TRUE(batch.has_value());
          EXPECT_EQ(Seen(*batch), expected[static_cast<std::size_t>(k)]);
        } catch (const std::runtime_error& error) {
          EXPECT_STREQ(error.what(), "exploded");
          thrown.push_back(k);
          EXPECT_EQ(loader.state().batches, thrown.size() == 2 ? 2 : k);
        }
      }
      EXPECT_FALSE(loader.next().has_value());
      EXPECT_EQ(thrown, (std::vector<std::int64_t>{2, 3, 15})) << workers;
    }
  }
}

TEST(Loader, LookingAheadChangesNothing) {
  Loader reference(dataset_of(64), shuffled(64), {.batch_size = 4});
  const auto expected = epoch_of(reference, 0);
  for (const int workers : {0, 1, 4}) {
    Loader loader(dataset_of(64), shuffled(64), {.batch_size = 4, .workers = workers});
    EXPECT_EQ(loader.peek(), nullptr) << "no epoch is open";
    loader.begin(0);
    for (std::size_t k = 0; k < expected.size(); ++k) {
      const LoaderState before = loader.state();
      const Batch* const ahead = loader.peek();
      ASSERT_NE(ahead, nullptr);
      EXPECT_EQ(Seen(*ahead), expected[k]);
      EXPECT_EQ(loader.peek(), ahead);
      EXPECT_EQ(to_bytes(loader.state()), to_bytes(before));
      EXPECT_EQ(Seen(*loader.next()), expected[k]);
      EXPECT_EQ(loader.state().batches, static_cast<std::int64_t>(k) + 1);
    }
    EXPECT_EQ(loader.peek(), nullptr);
    EXPECT_FALSE(loader.next().has_value());
    EXPECT_EQ(loader.delivered(), reference.delivered());
  }
}

TEST(Loader, WhatWasSeenAheadIsDroppedWithItsEpoch) {
  Loader reference(dataset_of(64), shuffled(64), {.batch_size = 4});
  const auto first = epoch_of(reference, 0), second = epoch_of(reference, 1);
  Loader loader(dataset_of(64), shuffled(64), {.batch_size = 4, .workers = 2});
  loader.begin(0);
  take(loader, 3);
  const LoaderState state = loader.state();
  ASSERT_NE(loader.peek(), nullptr);
  EXPECT_EQ(epoch_of(loader, 1), second);
  loader.begin(1);
  ASSERT_NE(loader.peek(), nullptr);
  loader.restore(state);
  EXPECT_EQ(loader.peek(), nullptr);
  loader.begin(0);
  EXPECT_EQ(Seen(*loader.peek()), first[3]);
  EXPECT_EQ(rest_of(loader), std::vector(first.begin() + 3, first.end()));
}

TEST(Loader, AnErrorSeenAheadIsThrownAtItsPlace) {
  for (const int workers : {0, 2}) {
    const auto dataset = dataset_of(16);
    dataset->exploding = {5};
    Loader loader(dataset, native_sequential(16), {.batch_size = 4, .workers = workers});
    loader.begin(0);
    EXPECT_NE(loader.peek(), nullptr);
    take(loader, 1);
    EXPECT_EQ(loader.peek(), nullptr);
    EXPECT_EQ(loader.state().batches, 1);
    EXPECT_THROW(loader.next(), std::runtime_error);
    EXPECT_NE(loader.peek(), nullptr);
    EXPECT_EQ(loader.next()->index, 2);
  }
}

TEST(Loader, BatchesMemoryComesFromWhereTheCallerSays) {
  std::atomic<int> made{0}, freed{0};
  {
    LoaderOptions options{.batch_size = 4, .workers = 2};
    options.allocate = [&](std::size_t bytes) {
      ++made;
      auto memory = std::make_shared<std::vector<std::byte>>(bytes);
      return std::shared_ptr<std::byte>(memory->data(), [memory, &freed](std::byte*) { ++freed; });
    };
    Loader loader(dataset_of(400), native_sequential(400), options);
    EXPECT_EQ(epoch_of(loader, 0).size(), 100u);
    EXPECT_GT(made, 0);
    EXPECT_LT(made, 20) << "buffers are used again";
  }
  EXPECT_EQ(freed, made);
}

TEST(Loader, ABatchThatFailedIsTriedAgainByAResume) {
  const auto dataset = dataset_of(64);
  dataset->bad = {9};
  Loader loader(dataset, native_sequential(64), {.batch_size = 4, .workers = 2});
  loader.begin(0);
  take(loader, 2);
  const std::string text = message_of([&] { loader.next(); }, ErrorCode::corruption);
  expect_words(text, {"batch 2 of epoch 0", "record 9"});
  const LoaderState state = loader.state();
  EXPECT_EQ(state.batches, 2);
  Loader repaired(dataset_of(64), native_sequential(64), {.batch_size = 4});
  repaired.restore(state);
  repaired.begin(0);
  EXPECT_EQ(repaired.next()->ids, (std::vector<std::int64_t>{8, 9, 10, 11}));
}

TEST(Loader, BadSamplesAreAgreedOnEveryRankAndCounted) {
  const auto dataset = dataset_of(96);
  dataset->bad = {5, 6, 40};
  for (const BadSample policy : {BadSample::skip, BadSample::substitute}) {
    Loader whole(dataset, shuffled(96), {.batch_size = 8, .bad_sample = policy});
    const auto expected = epoch_of(whole, 0);
    EXPECT_EQ(whole.skipped(), policy == BadSample::skip ? 3 : 0);
    EXPECT_EQ(whole.substituted(), policy == BadSample::skip ? 0 : 3);
    std::vector<std::vector<std::int64_t>> joined(expected.size());
    DeliveredDigest sum;
    for (int rank = 0; rank < 4; ++rank) {
      Loader loader(dataset, shuffled(96),
                    {.batch_size = 8, .bad_sample = policy, .rank = rank, .world_size = 4, .workers = 1});
      const auto part = epoch_of(loader, 0);
      for (std::size_t k = 0; k < part.size(); ++k) {
        joined[k].insert(joined[k].end(), part[k].ids.begin(), part[k].ids.end());
      }
      sum.merge(loader.delivered());
    }
    for (std::size_t k = 0; k < expected.size(); ++k) EXPECT_EQ(joined[k], expected[k].ids);
    EXPECT_EQ(sum, whole.delivered());
  }
}

TEST(Loader, BatchesOutliveTheLoader) {
  std::vector<Batch> kept;
  std::vector<Seen> seen;
  {
    Loader loader(dataset_of(50), shuffled(50), {.batch_size = 5, .workers = 2});
    loader.begin(0);
    while (auto batch = loader.next()) seen.emplace_back(*batch), kept.push_back(std::move(*batch));
  }
  for (std::size_t k = 0; k < kept.size(); ++k) EXPECT_EQ(Seen(kept[k]), seen[k]);
}

TEST(Loader, EndsPromptlyInTheMiddleOfSlowBatches) {
  const auto dataset = dataset_of(10'000);
  dataset->delay = std::chrono::milliseconds(1);
  const auto start = std::chrono::steady_clock::now();
  {
    Loader loader(dataset, shuffled(10'000), {.batch_size = 5'000, .workers = 2});  // 5 s a batch
    loader.begin(0);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
}

TEST(Loader, MovesWhileAnEpochIsOpen) {
  Loader reference(dataset_of(50), shuffled(50), {.batch_size = 5});
  const auto expected = epoch_of(reference, 0);
  Loader first(dataset_of(50), shuffled(50), {.batch_size = 5, .workers = 2});
  first.begin(0);
  take(first, 3);
  Loader second = std::move(first);
  EXPECT_EQ(rest_of(second), std::vector<Seen>(expected.begin() + 3, expected.end()));
}

TEST(Loader, AnEmptyEpochEndsAtOnce) {
  Loader loader(dataset_of(0), native_sequential(0), {.batch_size = 5, .workers = 2});
  EXPECT_EQ(loader.batches_per_epoch(), 0);
  loader.begin(0);
  EXPECT_FALSE(loader.next().has_value());
  EXPECT_EQ(loader.state().epoch, 1);
}

TEST(LoaderErrors, OptionsThatCannotWork) {
  const auto make = [](LoaderOptions options) {
    return [options] { Loader(dataset_of(10), native_sequential(10), options); };
  };
  const auto invalid = ErrorCode::invalid_argument;
  expect_words(message_of(make({.batch_size = 0}), invalid), {"batch size", "0", "1 or more"});
  expect_words(message_of(make({.batch_size = 4, .world_size = 0}), invalid), {"world size", "0"});
  expect_words(message_of(make({.batch_size = 4, .rank = 2, .world_size = 2}), invalid),
               {"rank", "0 to 1", "2"});
  expect_words(message_of(make({.batch_size = 4, .world_size = 8}), invalid), {"world size", "4", "8"});
  expect_words(message_of(make({.batch_size = 4, .world_size = 3}), invalid), {"divisor", "4", "3"});
  expect_words(message_of(make({.batch_size = 16, .world_size = 16}), invalid),
               {"10, the samples of an epoch", "16"});
  expect_words(message_of(make({.workers = -1}), invalid), {"workers", "-1"});
  expect_words(message_of(make({.workers = 1, .prefetch_factor = 0}), invalid), {"prefetch_factor", "0"});
  expect_words(message_of(make({.in_order = false}), ErrorCode::unsupported), {"in_order", "timing"});
  expect_words(message_of([] { Loader(nullptr, native_sequential(1), {}); }, invalid), {"dataset"});
  expect_words(message_of([] { Loader(dataset_of(1), nullptr, {}); }, invalid), {"sampler"});
}

TEST(LoaderErrors, CallsOutOfPlace) {
  Loader loader(dataset_of(10), native_sequential(10), {.batch_size = 5});
  expect_words(message_of([&] { loader.next(); }, ErrorCode::invalid_argument), {"begin"});
  expect_words(message_of([&] { loader.begin(-1); }, ErrorCode::invalid_argument), {"epoch", "-1"});
  expect_words(message_of([&] { loader.begin(1ll << 32); }, ErrorCode::invalid_argument),
               {"epoch", "4294967296"});
}

TEST(LoaderErrors, ASamplerOfAnotherDatasetIsNamed) {
  for (const int workers : {0, 2}) {
    Loader loader(dataset_of(5), native_sequential(10), {.batch_size = 4, .workers = workers});
    loader.begin(0);
    take(loader, 1);
    expect_words(message_of([&] { loader.next(); }, ErrorCode::invalid_argument), {"0 to 4", "got 5"});
  }
}

}  // namespace
}  // namespace lockstep::loader
