// Dropout in the mode: a row is dropped alike whatever else the batch holds, however it is cut, and when a
// forward is computed again.

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/torch/environment.h"
#include "lockstep/torch/one_gradient_test.h"
#include "lockstep/torch/serialize.h"

namespace lockstep {
namespace {

namespace F = torch::nn::functional;
using namespace one_gradient;

constexpr std::int64_t kWidth = 24;

/// Two layers with dropout between and behind, as programs write it. `loss` seeds as a training step would.
struct Network {
  torch::nn::Linear first{kWidth, 40}, second{40, kWidth};
  torch::nn::Dropout dropout{0.3};
  at::Tensor x = rows(kWidth, 1), y = rows(kWidth, 2);

  at::Tensor loss(std::int64_t from, std::int64_t samples) {
    const at::Tensor hidden = dropout(torch::gelu(first(x.narrow(0, from, samples))));
    return F::mse_loss(F::dropout(second(hidden), F::DropoutFuncOptions().p(0.5)),
                       y.narrow(0, from, samples));
  }
  std::vector<at::Tensor> parameters() { return {first->weight, first->bias, second->weight, second->bias}; }
};

std::vector<std::string> seeded_whole(Network& network) {
  torch::manual_seed(5);
  return whole(network.parameters(),
               [&](std::int64_t from, std::int64_t samples) { return network.loss(from, samples); });
}
std::vector<std::string> seeded_cut(Network& network, const Cuts& cuts) {
  torch::manual_seed(5);
  return cut(
      network.parameters(),
      [&](std::int64_t from, std::int64_t samples) { return network.loss(from, samples); }, cuts);
}

TEST(InvariantDropout, OneGradientHoweverTheBatchIsCut) {
  Network network;
  const auto expected = seeded_whole(network);
  const std::string after = generator_bytes();
  for (const Cuts& cuts : kCuts) {
    EXPECT_EQ(seeded_cut(network, cuts), expected) << cuts.size() << " micro-batches";
    EXPECT_EQ(generator_bytes(), after) << "the generator advances as in one forward";
  }
}

// The twin that must fail: LibTorch's own masks go by the place in the micro-batch.
TEST(InvariantDropout, LibTorchsOwnMasksDependOnTheCut) {
  const at::Tensor x = torch::ones({kSamples, kWidth});
  const auto dropped = [&](std::int64_t first, std::int64_t samples) {
    torch::manual_seed(5);
    return torch::dropout(x.narrow(0, first, samples), 0.5, true);
  };
  EXPECT_FALSE(torch::equal(dropped(0, kSamples).narrow(0, 7, 16), dropped(7, 16)));
  {
    const InvariantMode mode;
    EXPECT_TRUE(torch::equal(dropped(0, kSamples).narrow(0, 0, 7), dropped(0, 7)));
  }
}

TEST(InvariantDropout, TheNextStepDropsOthers) {
  Network network;
  torch::manual_seed(5);
  const auto loss = [&](std::int64_t from, std::int64_t samples) { return network.loss(from, samples); };
  const auto first = whole(network.parameters(), loss);
  const auto second = whole(network.parameters(), loss);
  EXPECT_NE(first, second);
  torch::manual_seed(5);
  EXPECT_EQ(cut(network.parameters(), loss, {7, 16}), first);
  EXPECT_EQ(cut(network.parameters(), loss, {1, 20, 2}), second);
}

TEST(InvariantDropout, SequencesMayBeFlattened) {
  const at::Tensor x = torch::ones({4, 6, 8});
  const InvariantMode mode;
  const auto in_parts = [&](bool flat) {
    const at::Tensor parameter = torch::ones({1}).requires_grad_(true);
    GradientAccumulator accumulator(std::vector<at::Tensor>{parameter});
    torch::manual_seed(6);
    accumulator.begin(4);
    std::vector<at::Tensor> parts;
    for (const std::int64_t first : {0, 1}) {
      const std::int64_t samples = first == 0 ? 1 : 3;
      const auto micro_batch = accumulator.micro_batch(first, samples);
      const at::Tensor part = x.narrow(0, first, samples);
      parts.push_back(torch::dropout(flat ? part.reshape({-1, 8}) : part, 0.5, true).reshape({-1, 6, 8}));
    }
    accumulator.cancel();
    return torch::cat(parts);
  };
  torch::manual_seed(6);
  const at::Tensor whole_batch = torch::dropout(x, 0.5, true);
  EXPECT_TRUE(torch::equal(in_parts(false), whole_batch));
  torch::manual_seed(6);
  const at::Tensor flat_batch = torch::dropout(x.reshape({-1, 8}), 0.5, true).reshape({4, 6, 8});
  EXPECT_TRUE(torch::equal(in_parts(true), flat_batch));
}

TEST(InvariantDropout, PackedSamplesGoByTheirRows) {
  const std::vector<std::int64_t> lengths = {3, 1, 1, 5, 2};
  const at::Tensor x = torch::ones({12, 8});
  const InvariantMode mode;
  torch::manual_seed(7);
  const at::Tensor whole_batch = torch::dropout(x, 0.5, true);
  const at::Tensor parameter = torch::ones({1}).requires_grad_(true);
  GradientAccumulator accumulator(std::vector<at::Tensor>{parameter});
  torch::manual_seed(7);
  accumulator.begin(5);
  std::vector<at::Tensor> parts;
  {
    const auto micro_batch = accumulator.micro_batch(0, 1, {3});
    parts.push_back(torch::dropout(x.narrow(0, 0, 3), 0.5, true));
  }
  {
    const auto micro_batch = accumulator.micro_batch(1, 2, {1, 1});
    expect_error(ErrorCode::invalid_argument, "samples or packed rows",
                 [&] { torch::dropout(x.narrow(0, 3, 2), 0.5, true); });
  }
  accumulator.cancel();
  torch::manual_seed(7);
  accumulator.begin(5);
  parts.clear();
  {
    const auto micro_batch = accumulator.micro_batch(0, 2, {3, 1});
    parts.push_back(torch::dropout(x.narrow(0, 0, 4), 0.5, true));
  }
  {
    const auto micro_batch = accumulator.micro_batch(2, 3, {1, 5, 2});
    parts.push_back(torch::dropout(x.narrow(0, 4, 8), 0.5, true));
  }
  accumulator.cancel();
  EXPECT_TRUE(torch::equal(torch::cat(parts), whole_batch));
}

TEST(InvariantDropout, AForwardThatIsRepeatedFromTheSameGeneratorDropsTheSame) {
  const at::Tensor x = torch::ones({kSamples, kWidth});
  const InvariantMode mode;
  const std::string before = generator_bytes();
  const at::Tensor first = torch::dropout(x, 0.5, true);
  load_generator(before);
  EXPECT_TRUE(torch::equal(torch::dropout(x, 0.5, true), first));
}

TEST(InvariantDropout, KeepsAboutItsShareAndScalesIt) {
  const at::Tensor x = torch::ones({200, 500});
  const InvariantMode mode;
  torch::manual_seed(8);
  const at::Tensor y = torch::dropout(x, 0.25, true);
  const double kept = y.ne(0).to(torch::kFloat).sum().item<float>() / 1e5;
  EXPECT_NEAR(kept, 0.75, 5 * std::sqrt(0.25 * 0.75 / 1e5));
  EXPECT_TRUE(torch::equal(y.max(), torch::tensor(static_cast<float>(1 / 0.75))));
}

TEST(InvariantDropout, GradientsOfGradients) {
  const at::Tensor x = leaf({5, 4}, 9);
  const InvariantMode mode;
  const at::Tensor scale = torch::ones({5, 4}).requires_grad_(true);
  torch::manual_seed(9);
  const at::Tensor y = torch::dropout(x, 0.5, true);
  const at::Tensor first = torch::autograd::grad({y}, {x}, {scale}, true, true).front();
  EXPECT_TRUE(torch::equal(first, torch::where(y.ne(0), torch::full({}, 2.0f), torch::zeros({}))));
  const at::Tensor second = torch::autograd::grad({first}, {scale}, {torch::ones({5, 4})}).front();
  EXPECT_TRUE(torch::equal(second, first.detach()));
}

TEST(InvariantDropout, InPlaceAndByChannel) {
  const at::Tensor x = leaf({6, 4, 3, 3}, 10);
  const InvariantMode mode;
  torch::manual_seed(11);
  const at::Tensor expected = torch::dropout(x, 0.5, true);
  torch::manual_seed(11);
  at::Tensor in_place = x * 1;
  torch::dropout_(in_place, 0.5, true);
  EXPECT_TRUE(torch::equal(in_place, expected));
  in_place.sum().backward();
  EXPECT_TRUE(torch::equal(x.grad().ne(0), expected.ne(0)));

  const at::Tensor by_channel = torch::feature_dropout(torch::ones({6, 4, 3, 3}), 0.5, true);
  const at::Tensor flat = by_channel.reshape({24, 9});
  EXPECT_TRUE(torch::equal(flat, flat.narrow(1, 0, 1).expand({24, 9}))) << "whole channels";
  EXPECT_TRUE(flat.eq(0).any().item<bool>());
  EXPECT_TRUE(flat.ne(0).any().item<bool>());
}

TEST(InvariantDropout, WhatDropsNothingDrawsNothing) {
  const InvariantMode mode;
  const std::string before = generator_bytes();
  const at::Tensor x = torch::ones({3, 4});
  EXPECT_TRUE(torch::equal(torch::dropout(x, 0.5, false), x));
  EXPECT_TRUE(torch::equal(torch::dropout(x, 0, true), x));
  EXPECT_EQ(torch::dropout(torch::empty({0, 4}), 0.5, true).numel(), 0);
  EXPECT_EQ(generator_bytes(), before);
  EXPECT_TRUE(torch::equal(torch::dropout(x, 1, true), torch::zeros({3, 4})));
}

TEST(InvariantDropoutErrors, AreClear) {
  const InvariantMode mode;
  const at::Tensor x = torch::ones({3, 4});
  expect_error(ErrorCode::invalid_argument, "a probability", [&] { torch::dropout(x, 1.5, true); });
  expect_error(ErrorCode::unsupported, "float16",
               [&] { torch::dropout(torch::ones({3}, torch::kHalf), 0.5, true); });
  expect_error(ErrorCode::invalid_argument, "samples and channels",
               [&] { torch::feature_dropout(torch::ones({3}), 0.5, true); });
  expect_error(ErrorCode::unsupported, "bernoulli", [&] { torch::alpha_dropout(x, 0.5, true); });
}

}  // namespace
}  // namespace lockstep
