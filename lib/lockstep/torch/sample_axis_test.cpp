// Layers that take time before samples: their gradients are those of the samples' order, whatever the cut.

#include "lockstep/torch/sample_axis.h"

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

constexpr std::int64_t kTime = 70, kWidth = 24, kHeads = 3;

at::Tensor sequences(int seed) {
  torch::manual_seed(seed);
  return torch::randn({kSamples, kTime, kWidth});
}

TEST(SampleAxis, LibTorchsTransformerLayers) {
  torch::manual_seed(1);
  torch::nn::TransformerEncoderLayer layer(
      torch::nn::TransformerEncoderLayerOptions(kWidth, kHeads).dim_feedforward(48).dropout(0));
  const at::Tensor x = sequences(2), y = sequences(3);
  expect_one_gradient(layer->parameters(), [&](std::int64_t first, std::int64_t samples) {
    const at::Tensor time_major = x.narrow(0, first, samples).transpose(0, 1);
    const SampleAxis second(1, {time_major});
    return F::mse_loss(layer(time_major).transpose(0, 1), y.narrow(0, first, samples));
  });
}

TEST(SampleAxis, ADecoderWithAMemoryOfAnotherLength) {
  torch::manual_seed(4);
  torch::nn::TransformerDecoderLayer layer(
      torch::nn::TransformerDecoderLayerOptions(kWidth, kHeads).dim_feedforward(48).dropout(0));
  const at::Tensor x = sequences(5).narrow(1, 0, 31), memory = sequences(6),
                   y = sequences(7).narrow(1, 0, 31);
  expect_one_gradient(layer->parameters(), [&](std::int64_t first, std::int64_t samples) {
    const at::Tensor target = x.narrow(0, first, samples).transpose(0, 1);
    const at::Tensor source = memory.narrow(0, first, samples).transpose(0, 1);
    const SampleAxis second(1, {target, source});
    return F::mse_loss(layer(target, source).transpose(0, 1), y.narrow(0, first, samples));
  });
}

/// Embedding, gain, norm and dropout, on tokens [T, N].
TEST(SampleAxis, DropoutAndBroadcastParameters) {
  const at::Tensor table = leaf({31, kWidth}, 8), gain = leaf({kWidth}, 9);
  torch::nn::LayerNorm norm(torch::nn::LayerNormOptions({kWidth}));
  torch::manual_seed(10);
  const at::Tensor tokens = torch::randint(31, {kSamples, kTime}, torch::kLong);
  const at::Tensor y = sequences(11);
  const std::vector<at::Tensor> parameters{table, gain, norm->weight, norm->bias};
  const auto loss = [&](bool time_major) {
    return [&, time_major](std::int64_t first, std::int64_t samples) {
      const at::Tensor ids = tokens.narrow(0, first, samples);
      const at::Tensor laid = time_major ? ids.t() : ids;
      at::Tensor hidden;
      {
        const SampleAxis second(1, {time_major ? laid : laid.unsqueeze(0)});
        hidden = F::dropout(norm(torch::embedding(table, laid)) * gain, F::DropoutFuncOptions().p(0.2));
      }
      return F::mse_loss(time_major ? hidden.transpose(0, 1) : hidden, y.narrow(0, first, samples));
    };
  };
  torch::manual_seed(12);
  const auto expected = whole(parameters, loss(false));
  torch::manual_seed(12);
  EXPECT_EQ(whole(parameters, loss(true)), expected) << "the bits of layers that take samples first";
  for (const Cuts& cuts : kCuts) {
    torch::manual_seed(12);
    EXPECT_EQ(cut(parameters, loss(true), cuts), expected) << cuts.size() << " micro-batches";
  }
}

// The twin that must fail: without the declaration, rows are summed in time's order.
TEST(SampleAxis, WithoutItTheSumIsAnother) {
  torch::nn::Linear layer(kWidth, kWidth);
  const at::Tensor x = sequences(13), y = sequences(14);
  const auto gradients = [&](bool declared) {
    return whole(layer->parameters(), [&](std::int64_t, std::int64_t) {
      const at::Tensor time_major = x.transpose(0, 1);
      at::Tensor hidden;
      if (declared) {
        const SampleAxis second(1, {time_major});
        hidden = layer(time_major);
      } else {
        hidden = layer(time_major);
      }
      return F::mse_loss(hidden.transpose(0, 1), y);
    });
  };
  const auto sample_major =
      whole(layer->parameters(), [&](std::int64_t, std::int64_t) { return F::mse_loss(layer(x), y); });
  EXPECT_EQ(gradients(true), sample_major);
  EXPECT_NE(gradients(false), sample_major);
}

TEST(SampleAxis, EndsWithItsObject) {
  torch::nn::Linear layer(kWidth, kWidth);
  const at::Tensor x = sequences(15).transpose(0, 1);
  const InvariantMode mode;
  GradientAccumulator accumulator(*layer);
  accumulator.begin(kSamples);
  const auto micro_batch = accumulator.micro_batch(0, kSamples);
  {
    const SampleAxis outer(1, {x});
    { const SampleAxis inner(2, {x}); }
    EXPECT_NO_THROW(layer(x));
  }
  expect_error(ErrorCode::invalid_argument, "sample axis first", [&] { layer(x); });
  accumulator.cancel();
}

TEST(SampleAxisErrors, AreClear) {
  torch::nn::Linear layer(kWidth, kWidth);
  const at::Tensor x = sequences(16).transpose(0, 1);
  expect_error(ErrorCode::invalid_argument, "1 or more", [&] { const SampleAxis axis(0, {x}); });
  expect_error(ErrorCode::invalid_argument, "at least one tensor", [] { const SampleAxis axis(1, {}); });
  expect_error(ErrorCode::invalid_argument, "has the sample axis", [&] { const SampleAxis axis(3, {x}); });
  expect_error(ErrorCode::invalid_argument, "has the sample axis",
               [&] { const SampleAxis axis(1, {at::Tensor()}); });
  const InvariantMode mode;
  const SampleAxis second(1, {x});
  expect_error(ErrorCode::invalid_argument, "flattened", [&] { layer(x.reshape({-1, kWidth})); });
}

}  // namespace
}  // namespace lockstep
