#include "lockstep/torch/optimizer.h"

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/optimizer/optimizer.h"
#include "lockstep/torch/serialize.h"
#include "lockstep/torch/tensor_view.h"

namespace lockstep {
namespace {

using Parameters = std::vector<at::Tensor>;
using Optimizer = torch::optim::Optimizer;

Parameters make_parameters() {
  torch::manual_seed(4);
  Parameters parameters;
  for (const std::vector<std::int64_t>& sizes : {std::vector<std::int64_t>{40, 33}, {33}, {1}, {0}})
    parameters.push_back(torch::randn(sizes).requires_grad_());
  return parameters;
}

void set_gradients(const Parameters& parameters, std::int64_t step) {
  torch::manual_seed(100 + step);
  for (const at::Tensor& parameter : parameters) parameter.mutable_grad() = torch::randn(parameter.sizes());
}

void run(Optimizer& optimizer, const Parameters& parameters, std::int64_t first, std::int64_t last) {
  for (std::int64_t step = first; step < last; ++step) {
    set_gradients(parameters, step);
    optimizer.step();
  }
}

std::string digest(const Parameters& parameters) {
  std::string all;
  for (const at::Tensor& parameter : parameters) all += digest_of(parameter).hex();
  return all;
}

struct Pair {
  std::string name;
  std::function<std::unique_ptr<Optimizer>(const Parameters&)> ours, torchs;
};

template <class Ours, class Torchs, class Options>
Pair pair_of(const std::string& name, const Options& options) {
  return {name, [options](const Parameters& p) { return std::make_unique<Ours>(p, options); },
          [options](const Parameters& p) { return std::make_unique<Torchs>(p, options); }};
}

std::vector<Pair> pairs() {
  using torch::optim::AdamOptions, torch::optim::AdamWOptions, torch::optim::SGDOptions;
  return {pair_of<Sgd, torch::optim::SGD>("Sgd", SGDOptions(0.1)),
          pair_of<Sgd, torch::optim::SGD>("SgdNesterov",
                                          SGDOptions(0.1).momentum(0.9).nesterov(true).weight_decay(0.01)),
          pair_of<Sgd, torch::optim::SGD>("SgdDampened", SGDOptions(0.1).momentum(0.9).dampening(0.5)),
          pair_of<Adam, torch::optim::Adam>("Adam", AdamOptions(0.01).weight_decay(0.1)),
          pair_of<Adam, torch::optim::Adam>("AdamAmsgrad", AdamOptions(0.01).amsgrad(true)),
          pair_of<AdamW, torch::optim::AdamW>("AdamW", AdamWOptions(0.01).betas({0.8, 0.95}))};
}

class TorchOptimizer : public testing::TestWithParam<Pair> {};
INSTANTIATE_TEST_SUITE_P(Kinds, TorchOptimizer, testing::ValuesIn(pairs()),
                         [](const auto& instance) { return instance.param.name; });

// 20 steps of a few roundings each; the elements are about 1.
constexpr double kRelative = 2e-5, kAbsolute = 2e-6;

TEST_P(TorchOptimizer, DoesWhatTorchsDoes) {
  const Parameters a = make_parameters(), b = make_parameters();
  const auto ours = GetParam().ours(a), torchs = GetParam().torchs(b);
  run(*ours, a, 0, 20);
  run(*torchs, b, 0, 20);
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(torch::allclose(a[i], b[i], kRelative, kAbsolute)) << i;
    EXPECT_FALSE(a[0].equal(make_parameters()[0])) << "it moved";
  }
}

TEST_P(TorchOptimizer, GoesOnFromItsBytesWithTheSameBits) {
  const Parameters whole = make_parameters(), parts = make_parameters();
  const auto one = GetParam().ours(whole), before = GetParam().ours(parts), after = GetParam().ours(parts);
  run(*one, whole, 0, 9);
  run(*before, parts, 0, 4);
  load_optimizer(*after, optimizer_bytes(*before));
  run(*after, parts, 4, 9);
  EXPECT_EQ(digest(parts), digest(whole));
}

TEST_P(TorchOptimizer, TorchsTakesOverInTheMiddle) {
  const Parameters a = make_parameters(), b = make_parameters();
  const auto ours = GetParam().ours(a), torchs = GetParam().torchs(b), next = GetParam().torchs(a);
  run(*ours, a, 0, 4);
  load_optimizer(*next, optimizer_bytes(*ours));
  run(*next, a, 4, 9);
  run(*torchs, b, 0, 9);
  for (std::size_t i = 0; i < a.size(); ++i)
    EXPECT_TRUE(torch::allclose(a[i], b[i], kRelative, kAbsolute)) << i;
}

TEST_P(TorchOptimizer, LeavesAParameterWithoutAGradientAlone) {
  const Parameters parameters = make_parameters(), whole = make_parameters();
  const auto optimizer = GetParam().ours(parameters);
  set_gradients(parameters, 0);
  parameters[0].mutable_grad() = at::Tensor();
  optimizer->step();
  EXPECT_TRUE(parameters[0].equal(whole[0]));
  EXPECT_FALSE(parameters[1].equal(whole[1]));
  run(*optimizer, parameters, 0, 3);  // its first step is the others' second
  const auto late = GetParam().ours(whole);
  run(*late, whole, 0, 3);
  EXPECT_TRUE(parameters[0].equal(whole[0]));
  EXPECT_FALSE(parameters[1].equal(whole[1]));
}

TEST(TorchOptimizers, AreTheRoomsArithmetic) {
  const Parameters parameters = make_parameters();
  AdamW optimizer(parameters, torch::optim::AdamWOptions(0.01).weight_decay(0.1));
  set_gradients(parameters, 0);
  const at::Tensor own = parameters[0].detach().clone(), mean = torch::zeros_like(own),
                   square = torch::zeros_like(own);
  const AdamParameter one{own.mutable_data_ptr<float>(),
                          parameters[0].grad().const_data_ptr<float>(),
                          mean.mutable_data_ptr<float>(),
                          square.mutable_data_ptr<float>(),
                          nullptr,
                          own.numel()};
  adam({&one, 1}, {.lr = 0.01, .weight_decay = 0.1, .decoupled_weight_decay = true}, 1);
  optimizer.step();
  EXPECT_EQ(digest_of(parameters[0]).hex(), digest_of(own).hex());
}

TEST(TorchOptimizers, HonourGroups) {
  const Parameters parameters = make_parameters(), before = make_parameters();
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(Parameters{parameters[0]}, std::make_unique<torch::optim::SGDOptions>(0.5));
  groups.emplace_back(Parameters{parameters[1]}, std::make_unique<torch::optim::SGDOptions>(0.0));
  Sgd optimizer(groups, torch::optim::SGDOptions(1));
  run(optimizer, {parameters[0], parameters[1]}, 0, 1);
  EXPECT_TRUE(torch::allclose(parameters[0], before[0] - 0.5 * parameters[0].grad(), 1e-6, 1e-6));
  EXPECT_TRUE(parameters[1].equal(before[1]));
}

TEST(TorchOptimizers, CallTheClosureWithGradientsOnAndReturnItsLoss) {
  const Parameters parameters = make_parameters();
  Sgd optimizer(parameters, 0.1);
  const at::Tensor loss = optimizer.step([&] {
    EXPECT_TRUE(at::GradMode::is_enabled());
    const at::Tensor sum = parameters[0].sum();
    sum.backward();
    return sum;
  });
  EXPECT_TRUE(loss.defined());
  EXPECT_FALSE(optimizer.step().defined());
}

TEST(TorchOptimizers, AutogradSeesThatAParameterChanged) {
  const Parameters parameters = make_parameters();
  Sgd optimizer(parameters, 0.1);
  const at::Tensor product = parameters[1] * parameters[1];
  run(optimizer, parameters, 0, 1);
  EXPECT_THROW(product.sum().backward(), c10::Error);
}

TEST(TorchOptimizers, TakeGradientsThatAreNotContiguous) {
  const Parameters a = make_parameters(), b = make_parameters();
  Sgd of_a({a[0]}, 0.1), of_b({b[0]}, 0.1);
  a[0].mutable_grad() = torch::randn({33, 40}).t();
  b[0].mutable_grad() = a[0].grad().contiguous();
  of_a.step();
  of_b.step();
  EXPECT_TRUE(a[0].equal(b[0]));
}

TEST(ClipGradientNorm, IsTorchsClipGradNorm) {
  const Parameters a = make_parameters(), b = make_parameters();
  for (const double most : {0.5, 1e6}) {
    set_gradients(a, 1);
    set_gradients(b, 1);
    a[2].mutable_grad() = b[2].mutable_grad() = at::Tensor();
    a[0].mutable_grad() = a[0].grad().t().contiguous().t();
    const float ours = clip_gradient_norm(a, most);
    EXPECT_NEAR(ours, torch::nn::utils::clip_grad_norm_(b, most), 1e-5 * ours);
    for (const std::size_t i : {0, 1, 3})
      EXPECT_TRUE(torch::allclose(a[i].grad(), b[i].grad(), 1e-5, 0)) << i;
  }
  EXPECT_EQ(clip_gradient_norm(make_parameters(), 1), 0);
}

TEST(TorchOptimizerErrors, SayWhatIsWrong) {
  const auto refuses = [](const at::Tensor& parameter, const at::Tensor& gradient, ErrorCode code,
                          const std::string& words) {
    const at::Tensor good = torch::ones({2}), before = parameter.clone();
    good.mutable_grad() = torch::ones({2});
    parameter.mutable_grad() = gradient;
    for (const auto& pair : pairs()) {
      const auto optimizer = pair.ours({good, parameter});
      expect_error(code, words, [&] { optimizer->step(); });
    }
    EXPECT_TRUE(good.equal(torch::ones({2}))) << "nothing is written";
  };
  refuses(torch::ones({3}, torch::kDouble), torch::ones({3}, torch::kDouble), ErrorCode::unsupported,
          "parameter");
  refuses(torch::ones({3, 2}).t(), torch::ones({2, 3}), ErrorCode::invalid_argument, "contiguous");
  refuses(torch::ones({3}), torch::ones({3}).to_sparse(), ErrorCode::unsupported, "gradient");
  const Parameters parameters = make_parameters();
  set_gradients(parameters, 0);
  expect_refusal([&] { clip_gradient_norm(parameters, -1); }, "max_norm");
  expect_refusal([&] { clip_gradient_norm(parameters, std::numeric_limits<double>::quiet_NaN()); },
                 "max_norm");
}

}  // namespace
}  // namespace lockstep
