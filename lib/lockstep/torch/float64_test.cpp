// float64 in the mode, for tests of derivatives: LibTorch's gradients, within rounding; other mixtures of
// dtypes are refused.

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/torch/attention.h"
#include "lockstep/torch/gradient_accumulator.h"
#include "lockstep/torch/invariant_mode.h"
#include "lockstep/torch/one_gradient_test.h"

namespace lockstep {
namespace {

namespace F = torch::nn::functional;
using Loss = std::function<at::Tensor()>;

constexpr double kTolerance = 1e-12;  // of the largest element

at::Tensor leaf(at::IntArrayRef shape) {
  return (torch::randn(shape, at::kDouble) * 0.5).requires_grad_(true);
}

std::vector<at::Tensor> gradients_of(const std::vector<at::Tensor>& leaves, const Loss& loss) {
  loss().backward();
  std::vector<at::Tensor> gradients;
  for (at::Tensor variable : leaves) {
    gradients.push_back(variable.grad());
    variable.mutable_grad() = at::Tensor();
  }
  return gradients;
}

void expect_gradients_of_libtorch(const std::vector<at::Tensor>& leaves, const Loss& loss) {
  const std::vector<at::Tensor> expected = gradients_of(leaves, loss);
  const InvariantMode mode;
  const std::vector<at::Tensor> found = gradients_of(leaves, loss), again = gradients_of(leaves, loss);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    ASSERT_EQ(found[i].scalar_type(), at::kDouble) << i;
    EXPECT_LT((found[i] - expected[i]).abs().max().item<double>(),
              kTolerance * expected[i].abs().max().item<double>())
        << i;
    EXPECT_TRUE(torch::equal(found[i], again[i])) << i;
  }
}

TEST(InvariantFloat64, LinearNormAndCrossEntropy) {
  torch::manual_seed(5);
  constexpr std::int64_t kRows = 2500;  // more than two chunks of a fold
  torch::nn::Sequential net(torch::nn::Linear(9, 13), torch::nn::LayerNorm(torch::nn::LayerNormOptions({13})),
                            torch::nn::GELU(), torch::nn::Linear(13, 5));
  net->to(at::kDouble);
  const at::Tensor x = leaf({kRows, 9}), y = torch::randint(5, {kRows}, at::kLong);
  std::vector<at::Tensor> leaves = net->parameters();
  leaves.push_back(x);
  const auto options = F::CrossEntropyFuncOptions()
                           .weight(torch::rand({5}, at::kDouble) + 0.5)
                           .label_smoothing(0.1)
                           .ignore_index(2);
  expect_gradients_of_libtorch(leaves, [&] { return F::cross_entropy(net->forward(x), y, options); });
}

TEST(InvariantFloat64, ConvolutionNormAndPooling) {
  torch::manual_seed(7);
  torch::nn::Conv2d conv(torch::nn::Conv2dOptions(4, 6, 3).stride(2).padding(1).groups(2));
  torch::nn::GroupNorm norm(torch::nn::GroupNormOptions(3, 6));
  conv->to(at::kDouble);
  norm->to(at::kDouble);
  const at::Tensor x = leaf({7, 4, 17, 15}), target = torch::randn({7, 6, 4, 3}, at::kDouble);
  const auto loss = [&] {
    return F::mse_loss(torch::avg_pool2d(torch::max_pool2d(norm(conv(x)), 2, 1), 2, 2), target);
  };
  expect_gradients_of_libtorch({conv->weight, conv->bias, norm->weight, norm->bias, x}, loss);
}

TEST(InvariantFloat64, EmbeddingPositionsAndAttention) {
  torch::manual_seed(11);
  const at::Tensor table = leaf({20, 8}), positions = leaf({6, 8}), scale = leaf({8});
  const at::Tensor ids = torch::randint(20, {5, 6}, at::kLong);
  const at::Tensor mask = torch::randn({5, 1, 6, 6}, at::kDouble);
  const auto loss = [&] {
    const at::Tensor x = (torch::embedding(table, ids, 3) + positions) * scale;
    const at::Tensor heads = x.view({5, 6, 2, 4}).transpose(1, 2);
    return torch::scaled_dot_product_attention(heads, heads.sin(), heads, mask).square().sum();
  };
  expect_gradients_of_libtorch({table, positions, scale}, loss);
}

TEST(InvariantFloat64, PackedAttentionIsAttention) {
  torch::manual_seed(13);
  const at::Tensor q = leaf({7, 2, 4}), ends = torch::tensor({0, 7});
  const auto heads_first = [](const at::Tensor& t) { return t.transpose(0, 1).unsqueeze(0); };
  const InvariantMode mode;
  const at::Tensor o = nn::packed_attention(q, q, q, ends, {/*is_causal=*/true});
  const at::Tensor expected = torch::scaled_dot_product_attention(heads_first(q), heads_first(q),
                                                                  heads_first(q), {}, 0, /*is_causal=*/true);
  EXPECT_TRUE(torch::equal(heads_first(o), expected));
}

// The accumulator's parameters are float32, but a loss may be computed in float64.
TEST(InvariantFloat64, ALossInFloat64IsCutAnywhere) {
  const at::Tensor x = one_gradient::rows(6, 17), weight = one_gradient::leaf({4, 6}, 19);
  const at::Tensor y = torch::arange(one_gradient::kSamples).remainder(4);
  one_gradient::expect_one_gradient({weight}, [&](std::int64_t first, std::int64_t samples) {
    const at::Tensor logits = torch::linear(x.narrow(0, first, samples), weight);
    return F::cross_entropy(logits.to(at::kDouble), y.narrow(0, first, samples));
  });
}

TEST(InvariantFloat64Errors, MixedDtypesAreRefused) {
  const at::Tensor x = torch::ones({4, 4}), wide = x.to(at::kDouble), image = torch::ones({1, 1, 4, 4});
  const at::Tensor parameter = leaf({4});
  const at::Tensor row = torch::ones({4}), wide_row = row.to(at::kDouble),
                   index = torch::zeros({4}, at::kLong);
  const std::vector<std::function<at::Tensor()>> calls = {
      [&] { return torch::mm(x, wide); },
      [&] { return torch::mm(wide, x); },
      [&] { return torch::addmm(x, wide, wide, 0.5); },
      [&] { return torch::bmm(x.unsqueeze(0), wide.unsqueeze(0)); },
      [&] { return torch::linear(wide, wide, row); },
      [&] { return torch::linear(x, wide); },
      [&] { return torch::layer_norm(x, {4}, wide_row); },
      [&] { return torch::rms_norm(wide, {4}, row); },
      [&] { return torch::group_norm(image, 1, torch::ones({1}, at::kDouble)); },
      [&] { return torch::batch_norm(x, wide_row, {}, row, row, false, 0, 1e-5, false); },
      [&] { return torch::conv2d(image, image.to(at::kDouble)); },
      [&] { return torch::conv2d(image, image, torch::ones({1}, at::kDouble)); },
      [&] { return torch::scaled_dot_product_attention(image, image.to(at::kDouble), image); },
      [&] { return torch::scaled_dot_product_attention(image, image, image, wide); },
      [&] {
        return nn::packed_attention(image[0], image[0].to(at::kDouble), image[0], torch::tensor({0, 1}));
      },
      [&] { return torch::add(x, wide, 2); },
      [&] { return torch::add(x, torch::ones({1}, at::kDouble), 2); },
      [&] { return torch::add(x, parameter); },
      [&] { return torch::mul(x, parameter); },
      [&] { return torch::addcmul(x, wide, x); },
      [&] { return torch::lerp(wide, x, 0.3); },
      [&] { return torch::mse_loss(x, wide); },
      [&] { return torch::cross_entropy_loss(x, index, wide_row); },
      [&] { return torch::nll_loss(wide, index, row); },
      [&] { return torch::binary_cross_entropy_with_logits(x, x, wide); },
  };
  const InvariantMode mode;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    try {
      calls[i]();
      ADD_FAILURE() << "call " << i << " was accepted";
    } catch (const std::exception& error) {
      const std::string text = error.what();
      EXPECT_TRUE(text.find("expected") != std::string::npos || text.find("type") != std::string::npos)
          << text;
    }
  }
  EXPECT_EQ(torch::add(x, torch::tensor(1.0, at::kDouble), 2).scalar_type(), at::kFloat) << "a number";
}

TEST(InvariantFloat64Errors, TheAccumulatorTakesFloat32Alone) {
  expect_error(ErrorCode::invalid_argument, "float32, got Double",
               [] { const GradientAccumulator accumulator(std::vector<at::Tensor>{leaf({3})}); });
}

}  // namespace
}  // namespace lockstep
