// Breaking off and going on: state(), restore(), digests.

#include <chrono>

#include <gtest/gtest.h>

#include "lockstep_loader/batch/fakes_test.h"
#include "lockstep_loader/prefetch/loader.h"
#include "lockstep_loader/sampler/native.h"
#include "lockstep_loader/sampler/torch_order.h"

namespace lockstep::loader {
namespace {

using testing::expect_words;
using testing::FakeDataset;
using testing::message_of;

std::shared_ptr<FakeDataset> dataset_of(std::int64_t records) {
  return std::make_shared<FakeDataset>(records);
}

SamplerPtr shuffled(std::int64_t records, std::uint64_t seed = 3) {
  return native_random({.records = records, .seed = seed, .samples = {}});
}

LoaderOptions options_of(int workers, int prefetch = 2) {
  return {.batch_size = 8, .workers = workers, .prefetch_factor = prefetch, .seed = 5};
}

using Stream = std::vector<std::string>;

void append(Stream& stream, const Batch& batch) {
  std::string text = std::to_string(batch.epoch) + "/" + std::to_string(batch.index) + ":";
  for (const ConstView& field : batch.fields)
    text.append(static_cast<const char*>(field.data), field.bytes());
  stream.push_back(std::move(text));
}

/// Epochs [state's epoch, epochs), through at most `stop_after` batches.
Stream run(Loader& loader, std::int64_t epochs, std::size_t stop_after = SIZE_MAX) {
  Stream stream;
  for (std::int64_t epoch = loader.state().epoch; epoch < epochs; ++epoch) {
    loader.begin(epoch);
    while (stream.size() < stop_after) {
      const auto batch = loader.next();
      if (!batch) break;
      append(stream, *batch);
    }
    if (stream.size() == stop_after) break;
  }
  return stream;
}

using MakeSampler = SamplerPtr (*)();

SamplerPtr native_order() { return shuffled(100); }

SamplerPtr torch_shuffle() {
  const auto generator = std::make_shared<TorchGenerator>(7);
  return torch_random({100, false, {}}, {generator, generator, nullptr});
}

SamplerPtr torch_without_generator() {
  return torch_random({100, false, {}}, {nullptr, nullptr, std::make_shared<TorchGenerator>(7)});
}

SamplerPtr torch_replacement() {
  const auto generator = std::make_shared<TorchGenerator>(7);
  return torch_random({100, true, 100}, {generator, generator, nullptr});
}

class ResumeAnywhere : public ::testing::TestWithParam<MakeSampler> {
 protected:
  Loader loader(int workers, int prefetch = 2) const {
    return {dataset_of(100), GetParam()(), options_of(workers, prefetch)};
  }
};

TEST_P(ResumeAnywhere, TwiceAtOtherWorkersEqualsTheUninterruptedRun) {
  Loader uninterrupted = loader(0);
  const Stream expected = run(uninterrupted, 3);
  ASSERT_EQ(expected.size(), 39u);
  for (std::size_t first_stop = 0; first_stop <= expected.size(); ++first_stop) {
    const std::size_t second_stop = (expected.size() - first_stop) / 2;
    Loader a = loader(2);
    Stream joined = run(a, 3, first_stop);
    Loader b = loader(0);
    b.restore(loader_state_from_bytes(to_bytes(a.state())));
    const Stream middle = run(b, 3, second_stop);
    Loader c = loader(3, 5);
    c.restore(loader_state_from_bytes(to_bytes(b.state())));
    const Stream end = run(c, 3);
    joined.insert(joined.end(), middle.begin(), middle.end());
    joined.insert(joined.end(), end.begin(), end.end());
    EXPECT_EQ(joined, expected) << "broken off after " << first_stop << " and " << second_stop;
    EXPECT_EQ(c.delivered(), uninterrupted.delivered());
    EXPECT_EQ(c.state().samples_total, 300);
  }
}

// The consumer leaves every epoch early; where that leaves torch's generator depends on the fetches ahead, so
// the workers stay the same here.
TEST_P(ResumeAnywhere, EpochsLeftEarlyAreLeftEarlyAgain) {
  const auto leave_early = [](Loader& loader, std::int64_t first_epoch) {
    Stream stream;
    for (std::int64_t epoch = first_epoch; epoch < 4; ++epoch) {
      loader.begin(epoch);
      while (loader.state().batches < 11) append(stream, *loader.next());
    }
    return stream;
  };
  Loader uninterrupted = loader(2);
  const Stream expected = leave_early(uninterrupted, 0);
  ASSERT_EQ(expected.size(), 44u);
  Loader a = loader(2);
  for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
    a.begin(epoch);
    while (a.state().batches < (epoch == 0 ? 11 : 5)) a.next();
  }
  Loader b = loader(2);
  b.restore(a.state());
  EXPECT_EQ(leave_early(b, 1), Stream(expected.begin() + 16, expected.end()));
}

INSTANTIATE_TEST_SUITE_P(Orders, ResumeAnywhere,
                         ::testing::Values(native_order, torch_shuffle, torch_without_generator,
                                           torch_replacement));

TEST(ResumeTorch, WhatOnlyTorchOrderRefuses) {
  const auto torch_loader = [](LoaderOptions options) {
    return Loader(dataset_of(100), torch_shuffle(), options);
  };
  Loader saved = torch_loader(options_of(0));
  run(saved, 1, 3);
  LoaderOptions options = options_of(0);
  options.persistent_workers = true;
  Loader other = torch_loader(options);
  expect_words(message_of([&] { other.restore(saved.state()); }, ErrorCode::invalid_argument),
               {"persistent_workers"});
  options = options_of(0), options.last = LastBatch::wrap;
  expect_words(message_of([&] { torch_loader(options); }, ErrorCode::unsupported),
               {"torch order", "wrap", "drop"});
  options = options_of(0), options.world_size = 2;
  const auto generator = std::make_shared<TorchGenerator>(1);
  const auto distributed =
      torch_distributed({.records = 100, .world_size = 2}, {generator, nullptr, generator});
  expect_words(
      message_of([&] { Loader(dataset_of(100), distributed, options); }, ErrorCode::invalid_argument),
      {"one rank's part", "2"});
  options.world_size = 1;
  EXPECT_EQ(Loader(dataset_of(100), distributed, options).batches_per_epoch(), 7);  // 50 positions
}

TEST(Resume, TheStateCountsWhatWasDeliveredNotWhatWasFetched) {
  const auto dataset = dataset_of(100);
  Loader loader(dataset, shuffled(100), options_of(4, 4));
  loader.begin(0);
  loader.next(), loader.next();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const LoaderState state = loader.state();
  EXPECT_EQ(state.batches, 2);
  EXPECT_EQ(state.samples, 16);
  EXPECT_EQ(state.samples_total, 16);
  EXPECT_EQ(to_bytes(state).size() < 500, true) << to_bytes(state).size();
}

TEST(Resume, AfterTheEndItStandsAtTheNextEpoch) {
  Loader loader(dataset_of(20), shuffled(20), options_of(0));
  run(loader, 1);
  EXPECT_EQ(loader.state().epoch, 1);
  EXPECT_EQ(loader.state().batches, 0);
  EXPECT_EQ(loader.state().samples_total, 20);
  loader.begin(1);
  loader.next(), loader.next(), loader.next();
  const LoaderState all_taken = loader.state();  // the end was not met yet
  EXPECT_EQ(all_taken.epoch, 1);
  EXPECT_EQ(all_taken.batches, 3);
  EXPECT_EQ(all_taken.samples, 20);
  Loader resumed(dataset_of(20), shuffled(20), options_of(1));
  resumed.restore(all_taken);
  resumed.begin(1);
  EXPECT_FALSE(resumed.next().has_value());
  EXPECT_EQ(resumed.state().epoch, 2);
  EXPECT_EQ(resumed.state().samples_total, 40);
}

TEST(Resume, AStateIsUnchangedByItsOwnRestore) {
  Loader loader(dataset_of(50), shuffled(50), options_of(0));
  run(loader, 3, 10);
  const LoaderState state = loader.state();
  Loader resumed(dataset_of(50), shuffled(50), options_of(2));
  resumed.restore(state);
  EXPECT_EQ(to_bytes(resumed.state()), to_bytes(state));
  resumed.begin(state.epoch);
  EXPECT_EQ(to_bytes(resumed.state()), to_bytes(state));
}

TEST(Resume, RestoreIntoALoaderInTheMiddleOfAnEpoch) {
  Loader loader(dataset_of(50), shuffled(50), options_of(2));
  const Stream expected = run(loader, 1);
  Loader again(dataset_of(50), shuffled(50), options_of(2));
  run(again, 1, 2);
  const LoaderState state = again.state();
  run(again, 3, 9);
  again.restore(state);
  EXPECT_EQ(run(again, 1), Stream(expected.begin() + 2, expected.end()));
}

TEST(Resume, OtherWorldSizesGoOnWithTheSameSamples) {
  const auto loader_of = [](int rank, int world) {
    LoaderOptions options = options_of(1);
    options.rank = rank, options.world_size = world;
    return Loader(dataset_of(100), shuffled(100), options);
  };
  Loader whole = loader_of(0, 1);
  run(whole, 1);
  // Four ranks take 5 batches; their states, merged, are taken up by two ranks.
  std::vector<LoaderState> states;
  for (int rank = 0; rank < 4; ++rank) {
    Loader loader = loader_of(rank, 4);
    run(loader, 1, 5);
    states.push_back(loader.state());
  }
  DeliveredDigest sum;
  for (int rank = 0; rank < 2; ++rank) {
    Loader loader = loader_of(rank, 2);
    loader.restore(merge_ranks(states));
    EXPECT_EQ(run(loader, 1).size(), 8u);
    sum.merge(loader.delivered());
  }
  EXPECT_EQ(sum, whole.delivered());

  // One rank's state alone is enough for the order; the digest then starts where it was taken up.
  Loader alone = loader_of(0, 1);
  alone.restore(states[2]);
  alone.begin(0);
  EXPECT_EQ(alone.next()->index, 5);
  EXPECT_EQ(alone.state().digest_first_batch, 5);
}

TEST(Resume, MergingRefusesWhatDoesNotBelongTogether) {
  std::vector<LoaderState> states;
  for (int rank = 0; rank < 2; ++rank) {
    LoaderOptions options = options_of(0);
    options.rank = rank, options.world_size = 2;
    Loader loader(dataset_of(100), shuffled(100), options);
    run(loader, 1, rank == 0 ? 5 : 4);
    states.push_back(loader.state());
  }
  const auto invalid = ErrorCode::invalid_argument;
  expect_words(message_of([&] { merge_ranks(states); }, invalid), {"rank 1", "batch 5", "batch 4"});
  expect_words(message_of([&] { merge_ranks(std::span(states).first(1)); }, invalid),
               {"2 (the world size)", "got 1"});
  expect_words(message_of([&] { merge_ranks({}); }, invalid), {"none"});
  states[1] = states[0];
  expect_words(message_of([&] { merge_ranks(states); }, invalid), {"rank 0 twice"});
}

TEST(ResumeErrors, NamesWhatChanged) {
  Loader loader(dataset_of(100), shuffled(100), options_of(0));
  run(loader, 1, 3);
  const LoaderState state = loader.state();
  const auto refused = [&](std::shared_ptr<FakeDataset> dataset, SamplerPtr sampler, LoaderOptions options) {
    Loader other(std::move(dataset), std::move(sampler), options);
    return message_of([&] { other.restore(state); }, ErrorCode::invalid_argument);
  };
  const LoaderOptions same = options_of(3, 7);
  LoaderOptions changed = same;
  changed.batch_size = 16;
  expect_words(refused(dataset_of(100), shuffled(100), changed),
               {"resume: batch_size", "8", "16", "new run"});
  changed = same, changed.seed = 6;
  expect_words(refused(dataset_of(100), shuffled(100), changed), {"resume: seed", "5", "6"});
  changed = same, changed.last = LastBatch::drop;
  expect_words(refused(dataset_of(100), shuffled(100), changed), {"last-batch policy", "keep", "drop"});
  changed = same, changed.bad_sample = BadSample::skip;
  expect_words(refused(dataset_of(100), shuffled(100), changed), {"bad-sample policy", "fail", "skip"});
  expect_words(refused(dataset_of(100), shuffled(100, 4), same), {"resume: sampler", "3", "4"});
  const auto other_content = dataset_of(100);
  other_content->salt = 1;
  expect_words(refused(other_content, shuffled(100), same),
               {"resume: dataset", "fake (100 records)", "fingerprint"});
  changed = same, changed.batch_size = 16, changed.seed = 6;
  expect_words(refused(other_content, shuffled(100), changed), {"dataset, seed, batch_size"});
}

TEST(ResumeErrors, WorkersPrefetchAndWorldMayChange) {
  Loader loader(dataset_of(100), shuffled(100), options_of(0));
  run(loader, 1, 3);
  LoaderOptions options = options_of(7, 9);
  options.rank = 3, options.world_size = 4, options.persistent_workers = true;
  Loader other(dataset_of(100), shuffled(100), options);
  EXPECT_NO_THROW(other.restore(loader.state()));
}

TEST(ResumeErrors, TheFirstBeginMustNameTheRestoredEpoch) {
  Loader loader(dataset_of(100), shuffled(100), options_of(0));
  run(loader, 3, 16);
  Loader other(dataset_of(100), shuffled(100), options_of(0));
  other.restore(loader.state());
  expect_words(message_of([&] { other.begin(0); }, ErrorCode::invalid_argument),
               {"epoch", "1, where", "got 0"});
  EXPECT_NO_THROW(other.begin(1));
}

TEST(ResumeErrors, ImpossibleProgressIsDamage) {
  Loader loader(dataset_of(100), shuffled(100), options_of(0));
  run(loader, 1, 3);
  LoaderState state = loader.state();
  state.batches = 99;
  expect_words(message_of([&] { loader.restore(state); }, ErrorCode::corruption), {"99 batches", "13"});
}

TEST(ResumeErrors, VerifyingReadsAgainWhatWasDelivered) {
  const auto dataset = dataset_of(100);
  Loader loader(dataset, shuffled(100), options_of(0));
  run(loader, 1, 5);
  const LoaderState state = loader.state();
  LoaderOptions options = options_of(0);
  options.verify_restored = true;
  Loader same(dataset, shuffled(100), options);
  same.restore(state);
  EXPECT_NO_THROW(same.begin(0));
  // Content that the fingerprint did not see: the digest does.
  struct Blind final : Dataset {
    std::shared_ptr<FakeDataset> inner;
    std::int64_t size() const override { return inner->size(); }
    const std::vector<Field>& fields() const override { return inner->fields(); }
    void get(std::int64_t index, const random::RecordKey& key,
             std::span<std::byte* const> out) const override {
      inner->get(index, key, out);
      out[1][0] ^= std::byte{1};
    }
    fingerprint::Digest fingerprint() const override { return inner->fingerprint(); }
    std::string describe() const override { return inner->describe(); }
  };
  const auto blind = std::make_shared<Blind>();
  blind->inner = dataset;
  Loader changed(blind, shuffled(100), options);
  changed.restore(state);
  expect_words(message_of([&] { changed.begin(0); }, ErrorCode::corruption), {"bytes delivered before"});
}

TEST(Resume, AtSampleABillionInConstantTime) {
  const std::int64_t records = 2'000'000'000;
  const auto open_at = [&](std::int64_t batch, int workers) {
    LoaderOptions options = options_of(workers);
    Loader fresh(dataset_of(records), shuffled(records), options);
    LoaderState state = fresh.state();
    state.batches = batch, state.samples = state.samples_total = batch * 8;
    state.digest_first_batch = batch;
    const auto start = std::chrono::steady_clock::now();
    Loader loader(dataset_of(records), shuffled(records), options);
    loader.restore(state);
    loader.begin(0);
    const auto batch_there = loader.next();
    const auto elapsed = std::chrono::steady_clock::now() - start;
    EXPECT_EQ(batch_there->index, batch);
    EXPECT_LT(elapsed, std::chrono::milliseconds(200));  // walking there would take minutes
    return batch_there->ids;
  };
  const auto ids = open_at(125'000'000, 0);
  EXPECT_EQ(open_at(125'000'000, 2), ids);
  EXPECT_NE(open_at(125'000'001, 0), ids);
}

}  // namespace
}  // namespace lockstep::loader
