#include "lockstep/torch/initialize.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/random/philox.h"
#include "lockstep/torch/serialize.h"
#include "lockstep/torch/tensor_view.h"

namespace lockstep {
namespace {

constexpr InitialDraw kDraw{0x0123456789abcdef, 7};

std::uint32_t word_of(std::int64_t element) {
  const random::Block block = random::philox4x32(
      kDraw.seed,
      {0x80000000U + static_cast<std::uint32_t>(kDraw.site), 0, 0, static_cast<std::uint32_t>(element / 4)});
  return block[static_cast<std::size_t>(element % 4)];
}

double unit_of(std::int64_t element) { return static_cast<double>(word_of(element) >> 8) / (1 << 24); }

at::Tensor normal(std::vector<std::int64_t> sizes) {
  at::Tensor tensor = torch::empty(sizes);
  fill_normal(tensor, 0, 1, kDraw);
  return tensor;
}

TEST(Initialize, UniformIsTheWordsOfPhilox) {
  const at::Tensor tensor = torch::empty({5000});
  fill_uniform(tensor, -0.25, 0.75, kDraw);
  for (const std::int64_t e : {0, 1, 2, 3, 4, 1023, 1024, 4097, 4999})
    EXPECT_EQ(tensor[e].item<float>(), static_cast<float>(unit_of(e) - 0.25)) << e;
  EXPECT_GE(tensor.min().item<float>(), -0.25F);
  EXPECT_LT(tensor.max().item<float>(), 0.75F);
}

// 2 ulp of the largest radius, for the logarithm, the root and the angle in float32.
constexpr double kNormalError = 4e-6;

TEST(Initialize, NormalIsBoxAndMuller) {
  const at::Tensor tensor = normal({5000});
  for (const std::int64_t e : {0, 2, 1022, 1024, 4096, 4998}) {
    const double radius = std::sqrt(-2 * std::log(1 - unit_of(e))), angle = 2 * M_PI * unit_of(e + 1);
    EXPECT_NEAR(tensor[e].item<float>(), radius * std::cos(angle), kNormalError) << e;
    EXPECT_NEAR(tensor[e + 1].item<float>(), radius * std::sin(angle), kNormalError) << e;
  }
}

TEST(Initialize, BitsThatEveryMachineHas) {
  const at::Tensor tensor = normal({100'001});
  EXPECT_EQ(digest_of(tensor).hex(), "ed8ca8c635da4ec529f5f1b64c54ec3f");
  fill_uniform(tensor, -1, 1, kDraw);
  EXPECT_EQ(digest_of(tensor).hex(), "cfefbaa367322240bc39388b833a8df8");
}

TEST(Initialize, NormalHasItsMoments) {
  const at::Tensor tensor = torch::empty({1'000'000});
  fill_normal(tensor, 3, 0.5, kDraw);
  const at::Tensor z = (tensor.to(torch::kDouble) - 3) / 0.5;
  // Five standard errors: 1, sqrt(2), sqrt(15) and sqrt(96) over sqrt(n).
  EXPECT_NEAR(z.mean().item<double>(), 0, 5e-3);
  EXPECT_NEAR(z.pow(2).mean().item<double>(), 1, 7.1e-3);
  EXPECT_NEAR(z.pow(3).mean().item<double>(), 0, 1.94e-2);
  EXPECT_NEAR(z.pow(4).mean().item<double>(), 3, 4.9e-2);
}

TEST(Initialize, AnElementDependsOnNothingElse) {
  const at::Tensor large = normal({300, 100});
  for (const std::int64_t count : {1, 2, 3, 1023, 1025, 29'999}) {
    const at::Tensor small = normal({count});
    EXPECT_TRUE(torch::equal(small, large.view({-1}).narrow(0, 0, count))) << count;
  }
  EXPECT_EQ(normal({0, 4}).numel(), 0);
}

TEST(Initialize, ThreadsChangeNothing) {
  const std::string expected = digest_of(normal({200, 999})).hex();
  for (const int threads : {1, 2, 3}) {
    parallel::set_thread_count(threads);
    EXPECT_EQ(digest_of(normal({200, 999})).hex(), expected) << threads;
  }
  parallel::set_thread_count(0);
}

TEST(Initialize, SitesAndSeedsAreApart) {
  const at::Tensor a = torch::empty({64}), b = torch::empty({64});
  fill_normal(a, 0, 1, {1, 2});
  for (const InitialDraw other : {InitialDraw{1, 3}, InitialDraw{2, 2}, InitialDraw{2, 1}}) {
    fill_normal(b, 0, 1, other);
    EXPECT_FALSE(torch::any(a == b).item<bool>());
  }
}

struct Net : torch::nn::Module {
  explicit Net(bool with_tail = false) {
    register_module("table", table);
    register_module("conv", conv);
    register_module("norm", norm);
    register_module("first", first);
    if (with_tail) register_module("tail", tail);
  }
  torch::nn::Embedding table{torch::nn::EmbeddingOptions(11, 6).padding_idx(3)};
  torch::nn::Conv2d conv{4, 8, 3};
  torch::nn::GroupNorm norm{2, 8};
  torch::nn::Linear first{16, 5}, tail{5, 2};
};

TEST(InitializeParameters, TakesTheDistributionsOfTorch) {
  Net net;
  initialize_parameters(net, 5);
  EXPECT_EQ(net.table->weight[3].abs().sum().item<float>(), 0);
  EXPECT_GT(net.table->weight.abs().max().item<float>(), 1);
  EXPECT_TRUE(torch::equal(net.norm->weight, torch::ones({8})));
  EXPECT_TRUE(torch::equal(net.norm->bias, torch::zeros({8})));
  const float conv = net.conv->weight.abs().max().item<float>(),
              linear = net.first->weight.abs().max().item<float>();
  EXPECT_LE(conv, 1.0F / 6);
  EXPECT_GT(conv, 0.95F / 6);
  EXPECT_LE(linear, 0.25F);
  EXPECT_GT(linear, 0.22F);
  EXPECT_LE(net.first->bias.abs().max().item<float>(), 0.25F);
  EXPECT_NE(net.first->bias[0].item<float>(), net.first->weight[0][0].item<float>());
}

TEST(InitializeParameters, DependsOnSeedAndPlaceAlone) {
  torch::manual_seed(1);
  Net a;
  torch::manual_seed(2);
  Net b(/*with_tail=*/true);
  const std::string generator = generator_bytes();
  initialize_parameters(a, 5);
  initialize_parameters(b, 5);
  EXPECT_EQ(generator_bytes(), generator) << "torch's generator is left alone";
  const auto of_b = b.named_parameters();
  for (const auto& parameter : a.named_parameters())
    EXPECT_TRUE(torch::equal(parameter.value(), of_b[parameter.key()])) << parameter.key();
  initialize_parameters(b, 6);
  EXPECT_FALSE(torch::equal(a.first->weight, b.first->weight));
}

TEST(InitializeErrors, SayWhatIsWrong) {
  const at::Tensor tensor = torch::empty({4, 4});
  const auto refuses = [](const at::Tensor& wrong) {
    expect_refusal([&] { fill_normal(wrong, 0, 1, {}); }, "contiguous float32");
  };
  refuses(tensor.t().narrow(0, 0, 2));
  refuses(tensor.to(torch::kDouble));
  refuses(at::Tensor());
  expect_refusal([&] { fill_normal(tensor, 0, -1, {}); }, "deviation");
  expect_refusal([&] { fill_normal(tensor, std::numeric_limits<double>::infinity(), 1, {}); }, "mean");
  expect_refusal([&] { fill_uniform(tensor, 1, 0, {}); }, "not below low");
  expect_refusal([&] { fill_uniform(tensor, 0, 1, {0, -1}); }, "2^31 - 1");
  torch::nn::BatchNorm1d other(3);
  expect_refusal([&] { initialize_parameters(*other, 1); }, "BatchNorm1d", ErrorCode::unsupported);
}

}  // namespace
}  // namespace lockstep
