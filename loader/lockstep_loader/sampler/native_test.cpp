#include "lockstep_loader/sampler/native.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/order/index_cipher.h"
#include "lockstep_loader/order/native_vectors.h"
#include "lockstep_loader/sampler/split.h"

namespace lockstep::loader {
namespace {

using Ids = std::vector<std::int64_t>;

Ids part_of(Sampler& sampler, std::int64_t epoch, std::int64_t first, std::int64_t count) {
  Ids ids(static_cast<std::size_t>(count));
  sampler.begin_epoch(epoch, {})->ids(first, ids);
  return ids;
}

Ids epoch_of(Sampler& sampler, std::int64_t epoch) { return part_of(sampler, epoch, 0, sampler.size()); }

Ids sorted(Ids ids) {
  std::sort(ids.begin(), ids.end());
  return ids;
}

Ids up_to(std::int64_t size) {
  Ids ids(static_cast<std::size_t>(size));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
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

TEST(NativeSampler, SequentialCounts) {
  const SamplerPtr sampler = native_sequential(5);
  EXPECT_EQ(epoch_of(*sampler, 3), (Ids{0, 1, 2, 3, 4}));
  EXPECT_EQ(part_of(*sampler, 0, 2, 2), (Ids{2, 3}));
  EXPECT_FALSE(sampler->with_replacement());
  EXPECT_EQ(sampler->base_seed(), 0u);
  EXPECT_EQ(epoch_of(*native_sequential(0), 0), Ids{});
}

TEST(NativeSampler, RandomIsTheIndexCipher) {
  const SamplerPtr sampler = native_random({10, 42, false, {}});
  for (std::size_t epoch = 0; epoch < vectors::kTen.size(); ++epoch) {
    EXPECT_EQ(epoch_of(*sampler, static_cast<std::int64_t>(epoch)), vectors::kTen[epoch]);
  }
  EXPECT_FALSE(sampler->with_replacement());
}

TEST(NativeSampler, AnyEpochAtAnyTime) {
  const SamplerPtr sampler = native_random({1000, 1, false, {}});
  const Ids late = epoch_of(*sampler, 123456);
  const Ids first = epoch_of(*sampler, 0);
  EXPECT_NE(first, late);
  EXPECT_EQ(epoch_of(*sampler, 123456), late);
  EXPECT_EQ(epoch_of(*native_random({1000, 1, false, {}}), 123456), late);
  EXPECT_EQ(part_of(*sampler, 123456, 990, 10), Ids(late.end() - 10, late.end()));
}

TEST(NativeSampler, LongEpochsGoThroughSeveralPermutations) {
  const SamplerPtr sampler = native_random({7, 3, false, 17});
  const Ids ids = epoch_of(*sampler, 2);
  ASSERT_EQ(ids.size(), 17u);
  EXPECT_EQ(sorted(Ids(ids.begin(), ids.begin() + 7)), up_to(7));
  EXPECT_EQ(sorted(Ids(ids.begin() + 7, ids.begin() + 14)), up_to(7));
  EXPECT_NE(Ids(ids.begin(), ids.begin() + 7), Ids(ids.begin() + 7, ids.begin() + 14));
  EXPECT_TRUE(sampler->with_replacement());
  for (std::int64_t first = 0; first < 17; ++first) {
    EXPECT_EQ(part_of(*sampler, 2, first, 17 - first), Ids(ids.begin() + first, ids.end()));
  }
  EXPECT_FALSE(native_random({7, 3, false, 3})->with_replacement());
}

TEST(NativeSampler, ReplacementEqualsItsSpecification) {
  for (const auto& vector : vectors::kReplacement) {
    const SamplerPtr sampler = native_random({vector.bound, vector.seed, true, std::int64_t{1} << 50});
    EXPECT_EQ(part_of(*sampler, vector.epoch, vector.position, 1), Ids{vector.id}) << vector.bound;
    EXPECT_TRUE(sampler->with_replacement());
  }
}

TEST(NativeSampler, WeightedEqualsItsSpecification) {
  for (const auto& vector : vectors::kWeighted) {
    const auto samples = static_cast<std::int64_t>(vector.ids.size());
    EXPECT_EQ(epoch_of(*native_weighted({vector.weights, 42, samples}), 1), vector.ids);
  }
}

/// Within 5 standard deviations of what the weights promise; a sampler that ignores the weights is far
/// outside.
TEST(NativeSampler, WeightsAreShares) {
  const std::vector<double> weights{1, 0, 2, 5};
  constexpr std::int64_t kSamples = 80000;
  const auto worst = [&](const Ids& ids) {
    double far = 0;
    for (std::size_t record = 0; record < weights.size(); ++record) {
      const double p = weights[record] / 8;
      const auto count =
          static_cast<double>(std::count(ids.begin(), ids.end(), static_cast<std::int64_t>(record)));
      far = std::max(far, std::abs(count - kSamples * p) / std::sqrt(kSamples * p * (1 - p) + 1e-9));
    }
    return far;
  };
  EXPECT_LT(worst(epoch_of(*native_weighted({weights, 1, kSamples}), 0)), 5);
  EXPECT_GT(worst(epoch_of(*native_random({4, 1, true, kSamples}), 0)), 5);
}

TEST(NativeSampler, SubsetShufflesItsIndices) {
  const Ids indices{100, 7, 55, 3, 12, 1000};
  const SamplerPtr sampler = native_subset({indices, 9, true});
  EXPECT_EQ(sorted(epoch_of(*sampler, 0)), sorted(indices));
  EXPECT_NE(epoch_of(*sampler, 0), epoch_of(*sampler, 1));
  EXPECT_EQ(epoch_of(*native_subset({indices, 9, false}), 5), indices);
  EXPECT_FALSE(sampler->with_replacement());
  EXPECT_TRUE(native_subset({{1, 2, 1}, 9, true})->with_replacement());
}

TEST(NativeSampler, DescriptionsTellOptionsApart) {
  const std::vector<SamplerPtr> samplers{
      native_sequential(5),
      native_sequential(6),
      native_random({5, 1, false, {}}),
      native_random({5, 2, false, {}}),
      native_random({5, 1, true, {}}),
      native_random({5, 1, false, 9}),
      native_weighted({{1, 2}, 1, {}}),
      native_weighted({{2, 1}, 1, {}}),
      native_subset({{1, 2}, 1, true}),
      native_subset({{2, 1}, 1, true}),
      native_subset({{2, 1}, 1, false}),
  };
  std::vector<std::string> texts;
  for (const SamplerPtr& sampler : samplers) texts.push_back(sampler->describe());
  std::sort(texts.begin(), texts.end());
  EXPECT_EQ(std::adjacent_find(texts.begin(), texts.end()), texts.end());
}

TEST(NativeSampler, HasNoState) {
  const SamplerPtr sampler = native_random({5, 1, false, {}});
  EXPECT_EQ(sampler->state(), "");
  sampler->restore("");
  EXPECT_NE(refusal([&] { sampler->restore("bytes"); }).find("Restore with the sampler"), std::string::npos);
}

TEST(NativeSampler, RefusesWhatCannotWork) {
  EXPECT_NE(refusal([] { native_sequential(-1); }).find("records: expected 0 to 2^62, got -1"),
            std::string::npos);
  EXPECT_NE(refusal([] {
              native_random({0, 1, true, 5});
            }).find("dataset without records"),
            std::string::npos);
  EXPECT_NE(refusal([] { native_random({5, 1, true, -1}); }).find("samples"), std::string::npos);
  EXPECT_NE(refusal([] {
              native_random({1, 1, false, std::int64_t{1} << 40});
            }).find("2^32 times"),
            std::string::npos);
  EXPECT_NE(refusal([] { native_weighted({{1, -1}, 1, {}}); }).find("weight 1"), std::string::npos);
  EXPECT_NE(refusal([] {
              native_subset({{3, -2}, 1, true});
            }).find("index 1: expected 0 or more, got -2"),
            std::string::npos);
  EXPECT_NE(refusal([] { native_sequential(5)->begin_epoch(-1, {}); }).find("epoch"), std::string::npos);
}

TEST(Split, SizesFollowPyTorchsRule) {
  const auto sizes = [](std::int64_t records, std::vector<double> lengths) {
    return split_sizes(records, lengths);
  };
  EXPECT_EQ(sizes(10, {3, 7}), (Ids{3, 7}));
  EXPECT_EQ(sizes(10, {0.5, 0.5}), (Ids{5, 5}));
  EXPECT_EQ(sizes(11, {0.5, 0.25, 0.25}), (Ids{6, 3, 2}));
  EXPECT_EQ(sizes(5, {0, 1}), (Ids{0, 5}));
  EXPECT_EQ(sizes(0, {0, 0}), (Ids{0, 0}));
  EXPECT_EQ(sizes(1, {1}), (Ids{1}));
  EXPECT_NE(refusal([&] {
              sizes(10, {0.33, 0.56, 0.11});
            }).find("got 1.0000000000000002"),
            std::string::npos);
  EXPECT_NE(refusal([&] {
              sizes(10, {2.5, 7.5});
            }).find("part 0: expected a whole number"),
            std::string::npos);
  EXPECT_NE(refusal([&] { sizes(10, {3, 6}); }).find("sum of the lengths"), std::string::npos);
  EXPECT_NE(refusal([&] {
              sizes(10, {12, -2});
            }).find("part 0: expected at most the 10 records"),
            std::string::npos);
  EXPECT_NE(refusal([&] { sizes(10, {1.5, -0.5}); }).find("a fraction from 0 to 1"), std::string::npos);
}

TEST(Split, NativePartsHoldEveryRecordOnce) {
  const auto parts = native_random_split(1001, std::vector<double>{0.7, 0.2, 0.1}, 5);
  ASSERT_EQ(parts.size(), 3u);
  Ids all;
  for (const Ids& part : parts) all.insert(all.end(), part.begin(), part.end());
  EXPECT_EQ(sorted(all), up_to(1001));
  EXPECT_NE(all, up_to(1001));
  EXPECT_NE(parts, native_random_split(1001, std::vector<double>{0.7, 0.2, 0.1}, 6));
}

}  // namespace
}  // namespace lockstep::loader
