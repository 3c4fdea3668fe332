#include "lockstep_loader/order/torch_draws.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep/checksum/sha256.h"
#include "lockstep_loader/order/torch_vectors.h"
#include "lockstep_loader/order/worker_seed.h"

namespace lockstep::loader {
namespace {

using Ids = std::vector<std::int64_t>;

Ids numbers(const TorchPermutation& permutation) {
  Ids all;
  for (std::int64_t i = 0; i < permutation.size(); ++i) all.push_back(permutation[i]);
  return all;
}

std::string sha256(const Ids& ids) {
  checksum::Sha256 hash;
  hash.update(ids.data(), ids.size() * sizeof(std::int64_t));
  return hash.hex();
}

/// Whether `generator` has moved `outputs` outputs away from a fresh `seed`.
void expect_outputs(const TorchGenerator& generator, std::uint64_t seed, std::uint64_t outputs) {
  TorchGenerator expected(seed);
  expected.discard(outputs);
  EXPECT_EQ(generator.state(), expected.state());
}

TEST(TorchDraws, PermutationsEqualPyTorch) {
  for (const auto& vector : vectors::kPermutations) {
    TorchGenerator generator(vector.seed);
    EXPECT_EQ(sha256(numbers(TorchPermutation(vector.size, generator))), vector.sha256) << vector.size;
    expect_outputs(generator, vector.seed, TorchPermutation::outputs(vector.size));
  }
}

TEST(TorchDraws, KnownPermutation) {
  TorchGenerator generator(0);
  EXPECT_EQ(numbers(TorchPermutation(10, generator)), (Ids{4, 1, 7, 5, 3, 9, 0, 8, 6, 2}));
  EXPECT_THROW(TorchPermutation(-1, generator), Error);
}

/// 0.9 GB and some seconds: the form that PyTorch takes from this size on.
TEST(TorchDraws, SlowLargePermutation) {
  TorchGenerator generator(9);
  const TorchPermutation permutation(kLargePermutation, generator);
  EXPECT_EQ(permutation[0], 42849823);
  EXPECT_EQ(permutation[1], 142754008);
  EXPECT_EQ(permutation[2], 144913577);
  expect_outputs(generator, 9, 2 * std::uint64_t{kLargePermutation});
}

TEST(TorchDraws, RangesEqualPyTorch) {
  for (const auto& vector : vectors::kRanges) {
    TorchGenerator generator(9);
    Ids drawn(vector.ids.size());
    torch_randint(vector.range, drawn, generator);
    EXPECT_EQ(drawn, vector.ids) << vector.range;
    expect_outputs(generator, 9, drawn.size() * torch_randint_outputs(vector.range));
  }
}

TEST(TorchDraws, MultinomialEqualsPyTorch) {
  for (const auto& vector : vectors::kMultinomial) {
    TorchGenerator generator(1);
    EXPECT_EQ(torch_multinomial(vector.weights, vector.samples, vector.replacement, generator), vector.ids)
        << vector.weights.size() << " weights, " << vector.samples << " samples";
    const auto weights = static_cast<std::int64_t>(vector.weights.size());
    expect_outputs(generator, 1, torch_multinomial_outputs(weights, vector.samples, vector.replacement));
  }
}

/// The rule for several draws, used for one, gives another id: the two forms are told apart.
TEST(TorchDraws, OneDrawHasItsOwnRule) {
  const std::vector<double> weights{0.1, 0.9, 0.4, 2.5, 0.7, 0.2, 3.0};
  TorchGenerator one(1), several(1);
  EXPECT_EQ(torch_multinomial(weights, 1, true, one), Ids{3});
  EXPECT_NE(torch_multinomial(weights, 2, true, several)[0], 3);
}

TEST(TorchDraws, RefusesWhatPyTorchRefuses) {
  TorchGenerator generator(1);
  const auto words = [&](std::vector<double> weights, std::int64_t samples, bool replacement) -> std::string {
    try {
      torch_multinomial(weights, samples, replacement, generator);
      return "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      return error.what();
    }
  };
  EXPECT_NE(words({1, -1}, 2, true).find("weight 1: expected a finite number, 0 or more, got -1"),
            std::string::npos);
  EXPECT_NE(words({1, 1.0 / 0.0}, 2, true).find("weight 1"), std::string::npos);
  EXPECT_NE(words({0, 0}, 2, true).find("at least one above 0, got 2 zeros"), std::string::npos);
  EXPECT_NE(words({}, 1, true).find("none"), std::string::npos);
  EXPECT_NE(words({1}, 0, true).find("samples"), std::string::npos);
  EXPECT_NE(words({1, 2}, 3, false).find("at most the 2 weights"), std::string::npos);
  EXPECT_NE(words(std::vector<double>((1 << 24) + 1, 1.0), 2, true).find("2^24"), std::string::npos);
  EXPECT_EQ(words({1, 2}, 3, true), "accepted");
}

TEST(WorkerSeed, EqualsPyTorch) {
  for (const auto& vector : vectors::kWorkers) {
    const WorkerSeed seed = worker_seed(vector.base_seed, vector.worker);
    EXPECT_EQ(seed.numpy, vector.numpy) << vector.base_seed << " worker " << vector.worker;
    EXPECT_EQ(seed.torch, vector.base_seed + vector.worker);
  }
  EXPECT_NE(worker_seed(1, 0).numpy, worker_seed(0, 1).numpy);
}

}  // namespace
}  // namespace lockstep::loader
