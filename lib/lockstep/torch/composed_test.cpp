// Operations that are made of others of ours, and LibTorch's transformer in eval mode: an element's or a
// row's result does not know its neighbours, and gradients are LibTorch's.

#include <cmath>
#include <functional>
#include <limits>
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

using Function = std::function<at::Tensor(const at::Tensor&)>;
struct Named {
  const char* name;
  Function function;
};

const std::vector<Named>& elementwise() {
  static const std::vector<Named> all = {
      {"mish", [](const at::Tensor& x) { return at::mish(x); }},
      {"log_sigmoid", [](const at::Tensor& x) { return at::log_sigmoid(x); }},
      {"elu", [](const at::Tensor& x) { return at::elu(x); }},
      {"elu(1.3, 0.7, 2)", [](const at::Tensor& x) { return at::elu(x, 1.3, 0.7, 2); }},
      {"selu", [](const at::Tensor& x) { return at::selu(x); }},
      {"celu", [](const at::Tensor& x) { return at::celu(x, 0.6); }},
      {"hardsigmoid", [](const at::Tensor& x) { return at::hardsigmoid(x); }},
      {"hardswish", [](const at::Tensor& x) { return at::hardswish(x); }},
      {"hardtanh", [](const at::Tensor& x) { return at::hardtanh(x); }},
      {"sqrt", [](const at::Tensor& x) { return at::sqrt(at::abs(x) + 0.1); }},
      {"softplus", [](const at::Tensor& x) { return at::softplus(x); }},
      {"exp2", [](const at::Tensor& x) { return at::exp2(x); }},
      {"pow 1.5", [](const at::Tensor& x) { return at::pow(at::abs(x) + 0.1, 1.5); }},
      {"pow 3", [](const at::Tensor& x) { return at::pow(x, 3); }},
  };
  return all;
}

const std::vector<Named>& rowwise() {
  static const std::vector<Named> all = {
      {"logsumexp", [](const at::Tensor& x) { return at::logsumexp(x, {-1}); }},
      {"logsumexp, kept", [](const at::Tensor& x) { return at::logsumexp(x, {1}, true); }},
      {"var", [](const at::Tensor& x) { return at::var(x, 1); }},
      {"var of all", [](const at::Tensor& x) { return at::var(x, {1}, at::Scalar(0), true); }},
      {"std", [](const at::Tensor& x) { return at::std(x, {-1}, true, true); }},
      {"var_mean",
       [](const at::Tensor& x) {
         const auto [variance, mean] = at::var_mean(x, {1}, at::Scalar(1), true);
         return (x - mean) / (variance + 1e-5).sqrt();
       }},
      {"amax", [](const at::Tensor& x) { return at::amax(x, {1}); }},
      {"max", [](const at::Tensor& x) { return std::get<0>(at::max(x, 1)); }},
  };
  return all;
}

struct Outcome {
  at::Tensor y, dx;
};
Outcome run(const Named& of, const at::Tensor& values) {
  const at::Tensor x = values.detach().clone().requires_grad_(true);
  const at::Tensor y = of.function(x.clone());  // computed, as what a layer is given
  return {y.detach(),
          torch::autograd::grad({y}, {x}, {torch::linspace(-1, 1, y.numel()).view(y.sizes())})[0]};
}

void expect_near_libtorch(const Named& of, const at::Tensor& x) {
  const Outcome expected = run(of, x);
  const InvariantMode mode;
  const Outcome got = run(of, x);
  EXPECT_TRUE(torch::allclose(got.y, expected.y, 1e-5, 1e-6, true)) << of.name;
  EXPECT_TRUE(torch::allclose(got.dx, expected.dx, 1e-4, 1e-5, true)) << of.name;
}

TEST(ComposedOperations, AreCloseToLibTorchs) {
  torch::manual_seed(1);
  const at::Tensor x = torch::randn({5, 37}) * 3;
  for (const Named& of : elementwise()) {
    expect_near_libtorch(of, x);
    expect_near_libtorch(of, torch::tensor({100.0f, -100.0f, 30.0f, -30.0f, 0.0f}));
  }
  for (const Named& of : rowwise()) expect_near_libtorch(of, x);
}

/// LibTorch's vector library rounds six of a thousand roots wrongly.
TEST(ComposedOperations, RootsAreRoundedOnce) {
  torch::manual_seed(7);
  const at::Tensor x = torch::rand({10'000}) * 100;
  const at::Tensor expected = x.to(at::kDouble).sqrt().to(at::kFloat);
  const InvariantMode mode;
  EXPECT_TRUE(x.sqrt().equal(expected));
  EXPECT_TRUE(x.pow(0.5).equal(expected));
  EXPECT_TRUE(x.clone().sqrt_().equal(expected));
  at::Tensor out = torch::empty({0});
  EXPECT_TRUE(at::sqrt_out(out, x).equal(expected));
}

TEST(ComposedOperations, AnElementDoesNotKnowItsPlace) {
  torch::manual_seed(2);
  const at::Tensor x = torch::randn({37}) * 3;
  const InvariantMode mode;
  for (const Named& of : elementwise()) {
    const at::Tensor all = of.function(x), strided = of.function(torch::stack({x, x}, 1).select(1, 0));
    EXPECT_EQ(digest(strided), digest(all)) << of.name;
    for (std::int64_t i = 0; i < x.numel(); ++i)
      EXPECT_EQ(digest(of.function(x.narrow(0, i, 1))), digest(all.narrow(0, i, 1)))
          << of.name << " at " << i;
  }
}

TEST(ComposedOperations, ARowDoesNotKnowItsNeighbours) {
  torch::manual_seed(3);
  const at::Tensor x = torch::randn({9, 300});
  const InvariantMode mode;
  for (const Named& of : rowwise()) {
    const at::Tensor all = of.function(x);
    for (std::int64_t r = 0; r < 9; ++r)
      EXPECT_EQ(digest(of.function(x.narrow(0, r, 1))), digest(all.narrow(0, r, 1)))
          << of.name << " row " << r;
  }
}

TEST(ComposedOperations, OneGradientHoweverTheBatchIsCut) {
  const at::Tensor weight = leaf({24, 24}, 4), x = rows(24, 5), y = rows(24, 6);
  for (const auto* group : {&elementwise(), &rowwise()}) {
    for (const Named& of : *group) {
      SCOPED_TRACE(of.name);
      expect_one_gradient({weight}, [&](std::int64_t first, std::int64_t samples) {
        const at::Tensor hidden = torch::linear(x.narrow(0, first, samples), weight);
        const at::Tensor result = of.function(hidden);
        const at::Tensor target = y.narrow(0, first, samples);
        return F::mse_loss(
            result, result.sizes() == target.sizes() ? target : target.select(1, 0).view(result.sizes()));
      });
    }
  }
}

TEST(ComposedOperations, InPlaceFormsGiveTheSame) {
  torch::manual_seed(7);
  const at::Tensor x = torch::randn({40});
  const InvariantMode mode;
  at::Tensor a = x.clone(), b = x.clone(), c = x.clone(), d = x.clone(), e = x.clone();
  EXPECT_EQ(digest(at::mish_(d)), digest(at::mish(x)));
  EXPECT_EQ(digest(at::celu_(e, 0.6)), digest(at::celu(x, 0.6)));
  EXPECT_EQ(digest(at::elu_(a)), digest(at::elu(x)));
  EXPECT_EQ(digest(at::hardswish_(b)), digest(at::hardswish(x)));
  EXPECT_EQ(digest(at::hardsigmoid_(c)), digest(at::hardsigmoid(x)));
}

TEST(ComposedOperations, ALeafGetsItsGradientToo) {
  for (const Named& of : elementwise()) {
    if (std::string(of.name).find("pow") == 0) continue;
    const at::Tensor x = leaf({3, 5}, 8);
    of.function(x).sum().backward();
    const at::Tensor expected = x.grad().clone();
    x.mutable_grad() = at::Tensor();
    const InvariantMode mode;
    of.function(x).sum().backward();
    EXPECT_TRUE(torch::allclose(x.grad(), expected, 1e-4, 1e-5)) << of.name;
  }
}

TEST(ComposedOperations, SpecialRowsOfLogsumexp) {
  const InvariantMode mode;
  const float inf = std::numeric_limits<float>::infinity();
  const at::Tensor got = at::logsumexp(torch::tensor({{-inf, -inf}, {inf, 0.0f}, {0.0f, -inf}}), {1});
  EXPECT_TRUE(torch::equal(got, torch::tensor({-inf, inf, 0.0f})));
}

TEST(ComposedOperationsErrors, AVarianceOverSamples) {
  const InvariantMode mode;
  expect_error(ErrorCode::unsupported, "the samples", [&] { at::var(torch::ones({4, 3}), 0); });
  expect_error(ErrorCode::unsupported, "the samples", [&] { at::std(torch::ones({4, 3})); });
}

// ---- The operations of torch.nn's layers in eval mode

struct Encoder {
  static constexpr std::int64_t kWidth = 16, kHeads = 2, kInner = 24;
  at::Tensor in_weight = leaf({3 * kWidth, kWidth}, 1).detach(), in_bias = leaf({3 * kWidth}, 2).detach(),
             out_weight = leaf({kWidth, kWidth}, 3).detach(), out_bias = leaf({kWidth}, 4).detach(),
             up = leaf({kInner, kWidth}, 5).detach(), up_bias = leaf({kInner}, 6).detach(),
             down = leaf({kWidth, kInner}, 7).detach(), down_bias = leaf({kWidth}, 8).detach(),
             one = torch::ones({kWidth}), zero = torch::zeros({kWidth});
  at::Tensor x = torch::randn({4, 9, kWidth});

  at::Tensor layer(const at::Tensor& of, bool norm_first, const std::optional<at::Tensor>& mask = {},
                   std::optional<std::int64_t> mask_type = {}) const {
    return at::_transformer_encoder_layer_fwd(of, kWidth, kHeads, in_weight, in_bias, out_weight, out_bias,
                                              true, norm_first, 1e-5, one, zero, one, zero, up, up_bias, down,
                                              down_bias, mask, mask_type);
  }
  std::tuple<at::Tensor, at::Tensor> attention(const at::Tensor& of, bool need_weights, bool average,
                                               const std::optional<at::Tensor>& mask = {},
                                               std::optional<std::int64_t> mask_type = {}) const {
    return at::_native_multi_head_attention(of, of, of, kWidth, kHeads, in_weight, in_bias, out_weight,
                                            out_bias, mask, need_weights, average, mask_type);
  }
};

TEST(TransformerInEval, LayersAreLibTorchs) {
  torch::manual_seed(9);
  const Encoder of;
  const torch::NoGradGuard no_grad;
  const at::Tensor padding = torch::arange(9).ge(torch::tensor({9, 5, 7, 1}).unsqueeze(1));
  const at::Tensor causal = torch::ones({9, 9}, at::kBool).triu(1);
  struct Mask {
    std::optional<at::Tensor> mask;
    std::optional<std::int64_t> type;
  };
  for (const Mask& mask : {Mask{}, Mask{padding, 1}, Mask{causal, 0}}) {
    for (const bool norm_first : {false, true}) {
      const at::Tensor expected = of.layer(of.x, norm_first, mask.mask, mask.type);
      const InvariantMode mode;
      const at::Tensor got = of.layer(of.x, norm_first, mask.mask, mask.type);
      EXPECT_TRUE(torch::allclose(got, expected, 1e-4, 1e-5));
      const auto own = mask.type == 1 ? Mask{padding.narrow(0, 2, 1), 1} : mask;
      EXPECT_EQ(digest(of.layer(of.x.narrow(0, 2, 1), norm_first, own.mask, own.type)),
                digest(got.narrow(0, 2, 1)));
    }
    for (const bool average : {false, true}) {
      const auto [expected, expected_weights] = of.attention(of.x, true, average, mask.mask, mask.type);
      const InvariantMode mode;
      const auto [got, weights] = of.attention(of.x, true, average, mask.mask, mask.type);
      EXPECT_TRUE(torch::allclose(got, expected, 1e-4, 1e-5));
      EXPECT_TRUE(torch::allclose(weights, expected_weights, 1e-4, 1e-5));
      EXPECT_FALSE(std::get<1>(of.attention(of.x, false, average, mask.mask, mask.type)).defined());
    }
  }
}

TEST(TransformerInEvalErrors, SayWhatIsWrong) {
  const Encoder of;
  const InvariantMode mode;
  expect_error(ErrorCode::invalid_argument, "mask_type", [&] { of.layer(of.x, true, torch::zeros({9, 9})); });
  expect_error(ErrorCode::unsupported, "self-attention", [&] {
    at::_native_multi_head_attention(of.x, of.x.clone(), of.x, of.kWidth, of.kHeads, of.in_weight, of.in_bias,
                                     of.out_weight, of.out_bias);
  });
}

}  // namespace
}  // namespace lockstep
