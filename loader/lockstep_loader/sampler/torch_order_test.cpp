// What the golden cases of tests/golden do not reach: states, restoring, misuse. Orders themselves are
// compared with PyTorch there.

#include "lockstep_loader/sampler/torch_order.h"

#include <algorithm>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/sampler/native.h"
#include "lockstep_loader/sampler/split.h"

namespace lockstep::loader {
namespace {

using Ids = std::vector<std::int64_t>;

TorchGeneratorPtr seeded(std::uint64_t seed) { return std::make_shared<TorchGenerator>(seed); }

Ids ids_of(const EpochOrder& order) {
  Ids ids(static_cast<std::size_t>(order.size()));
  order.ids(0, ids);
  return ids;
}

Ids run_epoch(Sampler& sampler, std::int64_t epoch, const FetchPlan& plan = {}) {
  Ids ids = ids_of(*sampler.begin_epoch(epoch, plan));
  sampler.end_epoch((sampler.size() + plan.batch_size - 1) / plan.batch_size, true);
  return ids;
}

/// DataLoader(range(records), shuffle=True, generator=torch.Generator().manual_seed(seed))
SamplerPtr shuffled(std::int64_t records, std::uint64_t seed) {
  const TorchGeneratorPtr generator = seeded(seed);
  return torch_random({records, false, {}}, {generator, generator, nullptr});
}

template <class Action>
std::string refusal(const Action& action, ErrorCode code = ErrorCode::invalid_argument) {
  try {
    action();
    return "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
}

TEST(TorchOrder, KnownEpochs) {
  const SamplerPtr sampler = shuffled(10, 1234);
  sampler->begin_epoch(0, {});
  EXPECT_EQ(sampler->base_seed(), 3532910284440527571u);
  sampler->end_epoch(0, false);
  const SamplerPtr again = shuffled(10, 1234);
  EXPECT_EQ(run_epoch(*again, 0), (Ids{6, 3, 0, 4, 1, 5, 9, 7, 2, 8}));
  EXPECT_EQ(run_epoch(*again, 1), (Ids{0, 4, 7, 8, 5, 9, 3, 2, 1, 6}));
  EXPECT_EQ(run_epoch(*again, 2), (Ids{2, 0, 5, 7, 1, 4, 9, 3, 6, 8}));
}

TEST(TorchOrder, PersistentWorkersKeepTheirBaseSeed) {
  const FetchPlan plan{1, false, 1, 2, true};
  const SamplerPtr sampler = shuffled(10, 1234);
  EXPECT_EQ(run_epoch(*sampler, 0, plan), (Ids{6, 3, 0, 4, 1, 5, 9, 7, 2, 8}));
  EXPECT_EQ(run_epoch(*sampler, 1, plan), (Ids{8, 7, 2, 0, 9, 1, 5, 6, 3, 4}));
  EXPECT_EQ(sampler->base_seed(), 3532910284440527571u);
}

TEST(TorchOrder, TheGlobalGeneratorSeedsAFreshEngine) {
  const SamplerPtr sampler = torch_random({10, false, {}}, {nullptr, nullptr, seeded(1234)});
  EXPECT_EQ(run_epoch(*sampler, 0), (Ids{2, 1, 3, 6, 7, 9, 5, 4, 8, 0}));
  EXPECT_EQ(run_epoch(*sampler, 1), (Ids{3, 0, 9, 5, 2, 6, 4, 7, 8, 1}));
}

TEST(TorchOrder, DistributedTakesEveryWorldSizethPosition) {
  const SamplerPtr sampler = torch_distributed({10, 1, 4, true, 5, false}, {});
  EXPECT_EQ(run_epoch(*sampler, 2), (Ids{0, 7, 2}));
  EXPECT_EQ(run_epoch(*sampler, 2), (Ids{0, 7, 2})) << "any epoch, in any sequence";
  EXPECT_TRUE(sampler->with_replacement()) << "padded";
  EXPECT_EQ(torch_distributed({3, 1, 4, true, 5, true}, {})->size(), 0);
}

/// Every way to end an epoch, restored from a state that was taken in the middle of it, goes on as if never
/// stopped.
TEST(TorchOrder, AStateIsTheSamplerBeforeTheEpoch) {
  const std::vector<std::function<SamplerPtr()>> makers{
      [] { return shuffled(50, 3); },
      [] {
        return torch_random({50, true, 70}, {seeded(1), nullptr, seeded(2)});
      },
      [] {
        return torch_random({50, false, 120}, {seeded(1), seeded(2), seeded(3)});
      },
      [] {
        return torch_weighted({{1, 2, 3, 0, 5}, 20, true}, {nullptr, nullptr, seeded(2)});
      },
      [] {
        return torch_subset({4, 8, 15, 16, 23, 42}, {nullptr, seeded(2), seeded(4)});
      },
      [] {
        return torch_sequential(50, {seeded(5), nullptr, nullptr});
      },
  };
  for (const auto& make : makers) {
    for (const FetchPlan& plan : {FetchPlan{4, false, 0, 2, false}, FetchPlan{4, true, 2, 2, true}}) {
      const SamplerPtr sampler = make();
      sampler->begin_epoch(0, plan);
      sampler->end_epoch(1, false);
      const std::string between = sampler->state();
      const Ids second = ids_of(*sampler->begin_epoch(1, plan));
      EXPECT_EQ(sampler->state(), between) << sampler->describe();
      sampler->end_epoch(1, true);
      const Ids third = ids_of(*sampler->begin_epoch(2, plan));
      const std::uint64_t base_seed = sampler->base_seed();

      const SamplerPtr restored = make();
      restored->restore(between);
      EXPECT_EQ(ids_of(*restored->begin_epoch(1, plan)), second) << sampler->describe();
      restored->end_epoch(1, true);
      EXPECT_EQ(ids_of(*restored->begin_epoch(2, plan)), third) << sampler->describe();
      EXPECT_EQ(restored->base_seed(), base_seed);
      EXPECT_LT(between.size(), 3u * 5056 + 600);
    }
  }
}

/// A state taken after the epoch's draws (the bug of others) would give another epoch.
TEST(TorchOrder, AStateAfterTheEpochIsAnotherOne) {
  const SamplerPtr sampler = shuffled(50, 3);
  const std::string before = sampler->state();
  const Ids first = run_epoch(*sampler, 0);
  EXPECT_NE(sampler->state(), before);
  sampler->restore(before);
  EXPECT_EQ(run_epoch(*sampler, 0), first);
  EXPECT_NE(run_epoch(*sampler, 1), first);
}

TEST(TorchOrder, ADamagedOrForeignStateChangesNothing) {
  const SamplerPtr sampler = shuffled(50, 3);
  const std::string good = sampler->state();
  EXPECT_NE(refusal([&] { sampler->restore(shuffled(51, 3)->state()); }).find("Restore with the options"),
            std::string::npos);
  EXPECT_NE(refusal([&] { sampler->restore(shuffled(50, 4)->state()); }).find("state"), std::string::npos);
  EXPECT_NE(refusal([&] { sampler->restore(""); }, ErrorCode::corruption), "accepted");
  EXPECT_NE(refusal([&] { sampler->restore(good.substr(0, good.size() - 1)); }, ErrorCode::corruption),
            "accepted");
  EXPECT_EQ(sampler->state(), good);
}

TEST(TorchOrder, EpochsComeInSequence) {
  const SamplerPtr sampler = shuffled(10, 1);
  EXPECT_NE(refusal([&] { sampler->begin_epoch(1, {}); }).find("epoch: expected 0, got 1"),
            std::string::npos);
  EXPECT_NE(refusal([&] { sampler->end_epoch(0, false); }).find("Call begin_epoch first"), std::string::npos);
  sampler->begin_epoch(0, {});
  EXPECT_NE(refusal([&] { sampler->begin_epoch(1, {}); }).find("Call end_epoch first"), std::string::npos);
  EXPECT_NE(refusal([&] { sampler->end_epoch(11, false); }).find("batches taken: expected 0 to 10, got 11"),
            std::string::npos);
  sampler->end_epoch(10, true);
  sampler->begin_epoch(1, {});
}

TEST(TorchOrder, RefusesWhatPyTorchRefuses) {
  const TorchGeneratorPtr one = seeded(1);
  EXPECT_NE(refusal([&] {
              torch_random({0, false, {}}, {one, one, nullptr});
            }).find("read in sequence only"),
            std::string::npos);
  EXPECT_NE(refusal([&] {
              torch_random({5, true, 0}, {one, one, nullptr});
            }).find("num_samples"),
            std::string::npos);
  EXPECT_NE(refusal([&] {
              torch_weighted({{1, 2}, 3, false}, {one, one, nullptr});
            }).find("at most the 2 weights"),
            std::string::npos);
  EXPECT_NE(refusal([&] { torch_subset({-1}, {one, one, nullptr}); }).find("index 0"), std::string::npos);
  EXPECT_NE(refusal([&] {
              torch_distributed({5, 4, 4, true, 0, false}, {});
            }).find("rank 4 of 4"),
            std::string::npos);
  EXPECT_NE(refusal([&] {
              torch_random({5, false, {}}, {one, nullptr, nullptr});
            }).find("its own or the global one"),
            std::string::npos);
  const SamplerPtr sampler = shuffled(10, 1);
  EXPECT_NE(refusal([&] {
              sampler->begin_epoch(0, {0, false, 0, 2, false});
            }).find("batch size"),
            std::string::npos);
  EXPECT_NE(refusal([&] {
              sampler->begin_epoch(0, {1, false, 1, 0, false});
            }).find("prefetch"),
            std::string::npos);
}

TEST(TorchOrder, AnOrderOutlivesItsSamplerAndServesThreads) {
  EpochOrderPtr order = shuffled(10000, 8)->begin_epoch(0, {});
  std::vector<Ids> parts(4, Ids(2500));
  std::vector<std::thread> threads;
  for (std::size_t part = 0; part < parts.size(); ++part) {
    threads.emplace_back([&, part] { order->ids(static_cast<std::int64_t>(part) * 2500, parts[part]); });
  }
  for (std::thread& thread : threads) thread.join();
  Ids joined;
  for (const Ids& part : parts) joined.insert(joined.end(), part.begin(), part.end());
  EXPECT_EQ(joined, ids_of(*shuffled(10000, 8)->begin_epoch(0, {})));
}

TEST(TorchOrder, SplitsLikePyTorch) {
  // random_split(range(10), [3, 7], torch.Generator().manual_seed(0)): the permutation 4 1 7 5 3 9 0 8 6 2,
  // cut.
  TorchGenerator generator(0);
  const auto parts = torch_random_split(10, std::vector<double>{3, 7}, generator);
  EXPECT_EQ(parts, (std::vector<Ids>{{4, 1, 7}, {5, 3, 9, 0, 8, 6, 2}}));
}

}  // namespace
}  // namespace lockstep::loader
