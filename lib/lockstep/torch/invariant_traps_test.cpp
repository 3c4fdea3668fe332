// What models do that a simple accumulator gets wrong: tied weights, modules that run twice, views of
// parameters, broadcast parameters, hooks, other engines of gradients; and a small transformer with its
// optimizer, whatever the cut.

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/torch/one_gradient_test.h"

namespace lockstep {
namespace {

namespace F = torch::nn::functional;
using namespace one_gradient;
constexpr std::int64_t kTokens = 90, kVocabulary = 31, kWidth = 24, kHeads = 3;

// ---- Parameters in several places
// -------------------------------------------------------------------------------------

TEST(InvariantTraps, TiedWeights) {
  const at::Tensor table = leaf({kVocabulary, kWidth}, 1);
  torch::manual_seed(2);
  const at::Tensor tokens = torch::randint(kVocabulary, {kSamples, kTokens}, torch::kLong);
  expect_one_gradient({table}, [&](std::int64_t first, std::int64_t samples) {
    const at::Tensor ids = tokens.narrow(0, first, samples);
    const at::Tensor hidden = torch::gelu(torch::embedding(table, ids));  // [B, T, C]
    const at::Tensor logits = torch::matmul(hidden, table.t());           // [B, T, V]
    return F::cross_entropy(logits.reshape({-1, kVocabulary}), ids.roll(1, 1).reshape({-1}));
  });
}

TEST(InvariantTraps, AModuleUsedTwice) {
  torch::nn::Linear layer(kWidth, kWidth);
  const at::Tensor x = rows(kWidth, 3), y = rows(kWidth, 4);
  expect_one_gradient(layer->parameters(), [&](std::int64_t first, std::int64_t samples) {
    const at::Tensor once = torch::tanh(layer(x.narrow(0, first, samples)));
    return F::mse_loss(layer(once), y.narrow(0, first, samples));
  });
}

TEST(InvariantTraps, InputsOfThreeAxesAddTheirBiasInPlace) {
  torch::nn::Linear layer(kWidth, 5);
  torch::manual_seed(5);
  const at::Tensor x = torch::randn({kSamples, 60, kWidth}), y = torch::randn({kSamples, 60, 5});
  expect_one_gradient(layer->parameters(), [&](std::int64_t first, std::int64_t samples) {
    return F::mse_loss(layer(x.narrow(0, first, samples)), y.narrow(0, first, samples));
  });
}

TEST(InvariantTraps, PartsOfOneParameter) {
  const at::Tensor packed = leaf({3 * kWidth, kWidth}, 6), bias = leaf({3 * kWidth}, 7);
  const at::Tensor x = rows(kWidth, 8), y = rows(kWidth, 9);
  expect_one_gradient({packed, bias}, [&](std::int64_t first, std::int64_t samples) {
    const auto weights = packed.chunk(3, 0), offsets = bias.chunk(3, 0);
    at::Tensor sum = torch::zeros({samples, kWidth});
    for (std::size_t i = 0; i < 3; ++i)
      sum = sum + torch::sigmoid(torch::addmm(offsets[i], x.narrow(0, first, samples), weights[i].t()));
    return F::mse_loss(sum, y.narrow(0, first, samples));
  });
}

TEST(InvariantTraps, BroadcastGainAndOffset) {
  const at::Tensor gain = leaf({kWidth}, 10), offset = leaf({1, kWidth}, 11);
  const at::Tensor x = rows(kWidth, 12), y = rows(kWidth, 13);
  expect_one_gradient({gain, offset}, [&](std::int64_t first, std::int64_t samples) {
    return F::mse_loss(x.narrow(0, first, samples) * gain + offset, y.narrow(0, first, samples));
  });
}

TEST(InvariantTraps, PaddingIndexGetsNothing) {
  const at::Tensor table = leaf({kVocabulary, kWidth}, 14);
  torch::manual_seed(15);
  const at::Tensor tokens = torch::randint(4, {kSamples, kTokens}, torch::kLong);
  const InvariantMode mode;
  torch::embedding(table, tokens, /*padding_idx=*/2).sum().backward();
  EXPECT_EQ(table.grad()[2].abs().sum().item<float>(), 0);
  EXPECT_NE(table.grad()[1].abs().sum().item<float>(), 0);
}

// ---- A transformer, its optimizer and its clipping
// ------------------------------------------------------------------

struct Block : torch::nn::Module {
  Block() {
    register_module("norm1", norm1);
    register_module("norm2", norm2);
    register_module("qkv", qkv);
    register_module("out", out);
    register_module("up", up);
    register_module("down", down);
  }
  at::Tensor attend(const at::Tensor& x) {
    const std::int64_t B = x.size(0), T = x.size(1);
    const auto parts = qkv(x).view({B, T, 3, kHeads, kWidth / kHeads}).permute({2, 0, 3, 1, 4}).unbind(0);
    const at::Tensor causal = torch::ones({T, T}, torch::kBool).tril();
    const at::Tensor scores =
        torch::matmul(parts[0], parts[1].transpose(-2, -1)) / std::sqrt(8.0);  // [B, H, T, T]
    const at::Tensor p = torch::softmax(scores.masked_fill(causal.logical_not(), -1e9), -1);
    return out(torch::matmul(p, parts[2]).transpose(1, 2).reshape({B, T, kWidth}));
  }
  at::Tensor forward(at::Tensor x) {
    x = x + attend(norm1(x));
    return x + down(torch::gelu(up(norm2(x)), "tanh"));
  }
  torch::nn::LayerNorm norm1{torch::nn::LayerNormOptions({kWidth})},
      norm2{torch::nn::LayerNormOptions({kWidth})};
  torch::nn::Linear qkv{kWidth, 3 * kWidth}, out{kWidth, kWidth}, up{kWidth, 4 * kWidth},
      down{4 * kWidth, kWidth};
};

struct Gpt : torch::nn::Module {
  Gpt() {
    register_module("tokens", tokens);
    register_module("positions", positions);
    register_module("first", first);
    register_module("second", second);
    register_module("norm", norm);
  }
  at::Tensor loss(const at::Tensor& ids) {
    const at::Tensor place = torch::arange(ids.size(1)).expand({ids.size(0), -1});
    const at::Tensor x = norm(second->forward(first->forward(tokens(ids) + positions(place))));
    const at::Tensor logits = torch::matmul(x, tokens->weight.t());  // tied head
    return F::cross_entropy(logits.narrow(1, 0, ids.size(1) - 1).reshape({-1, kVocabulary}),
                            ids.narrow(1, 1, ids.size(1) - 1).reshape({-1}));
  }
  torch::nn::Embedding tokens{kVocabulary, kWidth}, positions{kTokens, kWidth};
  std::shared_ptr<Block> first = std::make_shared<Block>(), second = std::make_shared<Block>();
  torch::nn::LayerNorm norm{torch::nn::LayerNormOptions({kWidth})};
};

struct Training {
  std::vector<float> losses;
  std::string parameters;
  bool operator==(const Training& other) const {
    return losses.size() == other.losses.size() && parameters == other.parameters &&
           std::memcmp(losses.data(), other.losses.data(), losses.size() * sizeof(float)) == 0;
  }
};

Training train(const Cuts& cuts) {
  torch::manual_seed(21);
  const auto model = std::make_shared<Gpt>();
  const at::Tensor tokens = torch::randint(kVocabulary, {kSamples, kTokens}, torch::kLong);
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(1e-2).weight_decay(0.1));
  const InvariantMode mode;
  GradientAccumulator accumulator(*model);
  Training result;
  for (int step = 0; step < 4; ++step) {
    optimizer.zero_grad();
    accumulator.begin(kSamples);
    std::int64_t first = 0;
    for (const std::int64_t samples : cuts) {
      const auto micro_batch = accumulator.micro_batch(first, samples);
      model->loss(tokens.narrow(0, first, samples)).backward();
      first += samples;
    }
    result.losses.push_back(accumulator.finish());
    optimizer.step();
  }
  result.parameters = digest_of(*model).hex();
  return result;
}

TEST(InvariantTraps, ATransformerTrainsTheSameHoweverItsBatchesAreCut) {
  const Training expected = train({kSamples});
  EXPECT_LT(expected.losses.back(), expected.losses.front());
  for (const Cuts& cuts : kCuts) EXPECT_EQ(train(cuts), expected) << cuts.size() << " micro-batches";
}

TEST(InvariantTraps, ARowOfATransformerDoesNotKnowItsNeighbours) {
  torch::manual_seed(22);
  const auto model = std::make_shared<Gpt>();
  const at::Tensor tokens = torch::randint(kVocabulary, {kSamples, kTokens}, torch::kLong);
  const auto hidden = [&](const at::Tensor& ids) {
    const at::Tensor place = torch::arange(ids.size(1)).expand({ids.size(0), -1});
    return model->first->forward(model->tokens(ids) + model->positions(place));
  };
  const torch::NoGradGuard no_grad;
  const InvariantMode mode;
  const at::Tensor together = hidden(tokens);
  for (const std::int64_t row : {0, 9, 22})
    EXPECT_EQ(digest(hidden(tokens.narrow(0, row, 1))), digest(together.narrow(0, row, 1)));
}

// ---- Other ways to a gradient
// -----------------------------------------------------------------------------------------

struct Small {
  torch::nn::Linear layer{kWidth, 4};
  at::Tensor x = rows(kWidth, 31), y = rows(4, 32);
  at::Tensor loss() { return F::mse_loss(torch::tanh(layer(x)), y); }
};

TEST(InvariantTraps, AutogradGradReturnsTheSameBits) {
  Small small;
  const auto expected =
      whole(small.layer->parameters(), [&](std::int64_t, std::int64_t) { return small.loss(); });
  const InvariantMode mode;
  const auto returned = torch::autograd::grad({small.loss()}, small.layer->parameters());
  ASSERT_EQ(returned.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(digest(returned[i]), expected[i]);
  EXPECT_FALSE(small.layer->weight.grad().defined());
}

TEST(InvariantTraps, TensorHooksSeeTheGradient) {
  Small small;
  const auto expected =
      whole(small.layer->parameters(), [&](std::int64_t, std::int64_t) { return small.loss(); });
  std::string seen;
  small.layer->weight.register_hook([&](const at::Tensor& gradient) { seen = digest(gradient); });
  const InvariantMode mode;
  small.loss().backward();
  EXPECT_EQ(seen, expected[0]);
  EXPECT_EQ(digest(small.layer->weight.grad()), expected[0]);
  small.layer->zero_grad();
  GradientAccumulator accumulator(*small.layer);
  accumulator.begin(kSamples);
  const auto micro_batch = accumulator.micro_batch(0, kSamples);
  expect_error(ErrorCode::unsupported, "without tensor hooks", [&] { small.loss().backward(); });
}

TEST(InvariantTraps, DoubleBackwardIsRight) {
  const at::Tensor weight = leaf({4, kWidth}, 33), x = rows(kWidth, 34).requires_grad_(true);
  const auto penalty = [&] {
    const at::Tensor y = torch::tanh(torch::matmul(x, weight.t())).sum();
    const at::Tensor gradient = torch::autograd::grad({y}, {x}, {}, true, true)[0];
    return torch::autograd::grad({(gradient * gradient).sum()}, {weight})[0];
  };
  const at::Tensor expected = penalty();
  const InvariantMode mode;
  EXPECT_TRUE(torch::allclose(penalty(), expected, 1e-4, 1e-5));
}

TEST(InvariantTraps, InferenceModeAndNoGradGiveTheSameRows) {
  Small small;
  const InvariantMode mode;
  const std::string expected = digest(small.layer(small.x));
  {
    const torch::NoGradGuard no_grad;
    EXPECT_EQ(digest(small.layer(small.x)), expected);
  }
  const c10::InferenceMode inference;
  EXPECT_EQ(digest(small.layer(small.x).clone()), expected);
}

TEST(InvariantTraps, AnExceptionInsideLeavesEverythingAsItWas) {
  Small small;
  EXPECT_THROW(
      {
        const InvariantMode mode;
        torch::cumsum(small.x, 0);
      },
      Error);
  EXPECT_FALSE(invariant_mode_enabled());
  const at::Tensor plain = small.loss();
  {
    const InvariantMode mode;
    EXPECT_THROW(torch::cumsum(small.loss(), 0).backward(), Error);
  }
  plain.backward();
  EXPECT_TRUE(small.layer->weight.grad().defined());
}

TEST(InvariantTraps, ABackwardThatFailedDoesNotSpoilTheNext) {
  Small small;
  const auto expected =
      whole(small.layer->parameters(), [&](std::int64_t, std::int64_t) { return small.loss(); });
  at::Tensor x = small.x.clone().requires_grad_(true);
  x.register_hook([](const at::Tensor&) { throw std::runtime_error("a hook fails"); });
  {
    const InvariantMode mode;
    EXPECT_THROW(F::mse_loss(torch::tanh(small.layer(x)), small.y).backward(), std::runtime_error);
  }
  take_gradients(small.layer->parameters());
  EXPECT_EQ(whole(small.layer->parameters(), [&](std::int64_t, std::int64_t) { return small.loss(); }),
            expected);
}

// ---- Refused
// ----------------------------------------------------------------------------------------------------------

TEST(InvariantTrapsErrors, ASecondBackwardIntoALiveGradient) {
  Small small;
  const InvariantMode mode;
  small.loss().backward();
  expect_error(ErrorCode::invalid_argument, "zero_grad()", [&] { small.loss().backward(); });
  small.layer->zero_grad(/*set_to_none=*/false);
  EXPECT_NO_THROW(small.loss().backward()) << "zeros are no gradient";
}

TEST(InvariantTrapsErrors, APenaltyOnWeightsInTheBatchsBackward) {
  Small small;
  const InvariantMode mode;
  const at::Tensor penalised = small.loss() + (small.layer->weight * small.layer->weight.detach()).sum();
  expect_error(ErrorCode::unsupported, "penalty",
               [&] { (penalised + small.layer->weight.transpose(0, 1).reshape({-1}).sum()).backward(); });
}

TEST(InvariantTrapsErrors, ComputedBroadcastsOverTheBatch) {
  Small small;
  const at::Tensor source = leaf({kWidth}, 41), divisor = leaf({kWidth}, 42);
  const InvariantMode mode;
  const at::Tensor computed = torch::tanh(source);
  expect_error(ErrorCode::unsupported, "broadcast", [&] { small.x + computed; });
  expect_error(ErrorCode::unsupported, "broadcast", [&] { small.x* computed; });
  expect_error(ErrorCode::unsupported, "broadcast", [&] { small.x / divisor; });
}

TEST(InvariantTrapsErrors, WhatDependsOnTheCut) {
  Small small;
  const at::Tensor table = leaf({kTokens, kWidth}, 44), left = leaf({4, kWidth}, 45);
  const InvariantMode mode;
  GradientAccumulator accumulator(
      std::vector<at::Tensor>{small.layer->weight, small.layer->bias, table, left});
  accumulator.begin(kSamples);
  const auto micro_batch = accumulator.micro_batch(0, kSamples);
  expect_error(ErrorCode::unsupported, "not such a sum",
               [&] { torch::matmul(left, small.x.t()).sum().backward(); });
  expect_error(ErrorCode::unsupported, "mean over samples", [&] { small.layer(small.x).mean(); });
  expect_error(ErrorCode::unsupported, "Expand them",
               [&] { torch::embedding(table, torch::arange(kTokens).unsqueeze(0)).sum().backward(); });
  const at::Tensor time_major = small.x.new_zeros({kTokens, kSamples, kWidth});
  expect_error(ErrorCode::invalid_argument, "sample axis first", [&] { small.layer(time_major); });
}

}  // namespace
}  // namespace lockstep
