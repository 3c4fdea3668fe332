// Attention in the mode: one gradient, whatever the batch is cut into, whoever the neighbours are; and over
// packed samples.

#include "lockstep/torch/attention.h"

#include <ATen/Parallel.h>
#include <cmath>
#include <limits>
#include <optional>
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
constexpr std::int64_t kTokens = 70, kHeads = 4, kSize = 8, kWidth = kHeads * kSize;

struct Options {
  at::Tensor mask;
  bool is_causal = false, enable_gqa = false;
  double dropout = 0;
  std::optional<double> scale = std::nullopt;
};

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Options& of = {}) {
  const std::optional<at::Tensor> mask = of.mask.defined() ? std::optional(of.mask) : std::nullopt;
  return at::scaled_dot_product_attention(q, k, v, mask, of.dropout, of.is_causal, of.scale, of.enable_gqa);
}

/// softmax(scale q kᵀ + mask) v by LibTorch's ordinary operations.
at::Tensor written_out(const at::Tensor& q, const at::Tensor& given_k, const at::Tensor& given_v,
                       const Options& of = {}) {
  at::Tensor k = given_k, v = given_v;
  if (of.enable_gqa) {
    k = k.repeat_interleave(q.size(-3) / k.size(-3), -3);
    v = v.repeat_interleave(q.size(-3) / v.size(-3), -3);
  }
  at::Tensor s = at::matmul(q, k.transpose(-2, -1)) * of.scale.value_or(1 / std::sqrt(double(q.size(-1))));
  constexpr double kHidden = -std::numeric_limits<double>::infinity();
  if (of.is_causal) s = s.masked_fill(at::ones({s.size(-2), s.size(-1)}, at::kBool).triu(1), kHidden);
  if (of.mask.defined())
    s = of.mask.scalar_type() == at::kBool ? s.masked_fill(~of.mask, kHidden) : s + of.mask;
  return at::matmul(at::softmax(s, -1), v);
}

struct Inputs {
  at::Tensor q, k, v, gradient;

  Inputs() = default;
  explicit Inputs(at::IntArrayRef q_sizes, at::IntArrayRef k_sizes, int seed = 1) {
    torch::manual_seed(seed);
    q = torch::randn(q_sizes).requires_grad_(true);
    k = torch::randn(k_sizes).requires_grad_(true);
    v = torch::randn(k_sizes).requires_grad_(true);
    gradient = torch::randn(q_sizes);
  }
};

struct Outcome {
  at::Tensor o, q, k, v;
};

template <class Function>
Outcome run(const Inputs& x, Function function) {
  const at::Tensor o = function(x.q, x.k, x.v);
  const auto gradients = torch::autograd::grad({o}, {x.q, x.k, x.v}, {x.gradient.expand_as(o)});
  return {o.detach(), gradients[0], gradients[1], gradients[2]};
}

void expect_close(const Outcome& a, const Outcome& b) {
  EXPECT_TRUE(torch::allclose(a.o, b.o, 1e-4, 1e-5));
  EXPECT_TRUE(torch::allclose(a.q, b.q, 1e-4, 1e-5));
  EXPECT_TRUE(torch::allclose(a.k, b.k, 1e-4, 1e-5));
  EXPECT_TRUE(torch::allclose(a.v, b.v, 1e-4, 1e-5));
}

void expect_same(const Outcome& a, const Outcome& b, const std::string& what) {
  EXPECT_EQ(digest(a.o), digest(b.o)) << what;
  EXPECT_EQ(digest(a.q), digest(b.q)) << what;
  EXPECT_EQ(digest(a.k), digest(b.k)) << what;
  EXPECT_EQ(digest(a.v), digest(b.v)) << what;
}

void expect_near_libtorch(const Inputs& x, const Options& of = {}) {
  const Outcome expected = run(x, [&](auto& q, auto& k, auto& v) { return written_out(q, k, v, of); });
  const InvariantMode mode;
  expect_close(run(x, [&](auto& q, auto& k, auto& v) { return attend(q, k, v, of); }), expected);
}

at::Tensor right_padding(std::int64_t samples, std::int64_t tokens) {
  const at::Tensor lengths = torch::arange(samples).remainder(7).mul(-9).add(tokens);
  return torch::arange(tokens).lt(lengths.unsqueeze(1)).view({samples, 1, 1, tokens});
}

// ---- One gradient

struct Layer {
  at::Tensor qkv = leaf({3 * kWidth, kWidth}, 1), bias = leaf({3 * kWidth}, 2),
             out = leaf({kWidth, kWidth}, 3);
  at::Tensor x, target;

  Layer() {
    torch::manual_seed(4);
    x = torch::randn({kSamples, kTokens, kWidth});
    target = torch::randn({kSamples, kTokens, kWidth});
  }
  std::vector<at::Tensor> parameters() const { return {qkv, bias, out}; }
  at::Tensor loss(std::int64_t first, std::int64_t samples, const Options& of) const {
    const at::Tensor packed = torch::linear(x.narrow(0, first, samples), qkv, bias);
    const auto parts = packed.view({samples, kTokens, 3, kHeads, kSize}).permute({2, 0, 3, 1, 4}).unbind(0);
    const at::Tensor o =
        attend(parts[0], parts[1], parts[2], of).transpose(1, 2).reshape({samples, kTokens, kWidth});
    return F::mse_loss(torch::linear(o, out), target.narrow(0, first, samples));
  }
};

TEST(AttentionInTheMode, OneGradientHoweverTheBatchIsCut) {
  const Layer layer;
  const at::Tensor keep = right_padding(kSamples, kTokens);
  const at::Tensor add = torch::zeros({kSamples, 1, kTokens, kTokens})
                             .masked_fill(~keep, -std::numeric_limits<float>::infinity());
  expect_one_gradient(layer.parameters(),
                      [&](auto first, auto samples) { return layer.loss(first, samples, {}); });
  expect_one_gradient(layer.parameters(), [&](auto first, auto samples) {
    return layer.loss(first, samples, {{}, true});
  });
  expect_one_gradient(layer.parameters(), [&](auto first, auto samples) {
    return layer.loss(first, samples, {keep.narrow(0, first, samples)});
  });
  expect_one_gradient(layer.parameters(), [&](auto first, auto samples) {
    return layer.loss(first, samples, {add.narrow(0, first, samples)});
  });
}

TEST(AttentionInTheMode, DropoutIsDrawnBySample) {
  const Layer layer;
  const Loss loss = [&](std::int64_t first, std::int64_t samples) {
    return layer.loss(first, samples, {{}, true, false, 0.3});
  };
  const auto seeded = [&](auto gradients) {
    torch::manual_seed(5);
    return gradients();
  };
  const auto expected = seeded([&] { return whole(layer.parameters(), loss); });
  for (const Cuts& cuts : kCuts)
    EXPECT_EQ(seeded([&] { return cut(layer.parameters(), loss, cuts); }), expected) << cuts.size();
  EXPECT_NE(expected, whole(layer.parameters(), [&](auto first, auto samples) {
              return layer.loss(first, samples, {{}, true});
            }));
}

TEST(AttentionInTheMode, OneResultForAnyNumberOfThreads) {
  const Inputs x({3, 2, 150, 16}, {3, 2, 150, 16});
  const InvariantMode mode;
  const int before = at::get_num_threads();
  const auto with = [&](int threads) {
    at::set_num_threads(threads);
    return run(x, [](auto& q, auto& k, auto& v) { return attend(q, k, v, {{}, true}); });
  };
  const Outcome expected = with(1);
  for (const int threads : {2, 3, 16})
    expect_same(with(threads), expected, std::to_string(threads) + " threads");
  at::set_num_threads(before);
}

TEST(AttentionInTheMode, ASampleKnowsNeitherItsNeighboursNorTheirLength) {
  const Inputs x({6, 2, 140, 16}, {6, 2, 140, 16});
  const at::Tensor keep = right_padding(6, 140);
  const InvariantMode mode;
  const Outcome all = run(x, [&](auto& q, auto& k, auto& v) { return attend(q, k, v, {keep}); });
  for (std::int64_t b = 0; b < 6; ++b) {
    const std::int64_t length = keep[b].sum().item<std::int64_t>();
    const auto part = [&](const at::Tensor& t) { return t.detach().narrow(0, b, 1).narrow(2, 0, length); };
    Inputs own;
    own.q = part(x.q).clone().requires_grad_(true);
    own.k = part(x.k).clone().requires_grad_(true);
    own.v = part(x.v).clone().requires_grad_(true);
    own.gradient = part(x.gradient);
    const Outcome alone = run(own, [](auto& q, auto& k, auto& v) { return attend(q, k, v); });
    EXPECT_EQ(digest(alone.o), digest(part(all.o))) << b;
    EXPECT_EQ(digest(alone.q), digest(part(all.q))) << b;
  }
}

TEST(AttentionInTheModeTwin, LibTorchsOwnGoesRed) {
  const Layer layer;
  const auto plain = [&](const Cuts& cuts) {
    std::int64_t first = 0;
    for (const std::int64_t samples : cuts) {
      (layer.loss(first, samples, {{}, true}) * (static_cast<double>(samples) / kSamples)).backward();
      first += samples;
    }
    return take_gradients(layer.parameters());
  };
  EXPECT_NE(plain(kCuts[2]), plain({kSamples}));
}

// ---- The values are LibTorch's

TEST(AttentionInTheMode, GradientsAreCloseToLibTorchs) {
  expect_near_libtorch(Inputs({2, 3, 40, 16}, {2, 3, 90, 16}));
  expect_near_libtorch(Inputs({2, 3, 90, 16}, {2, 3, 90, 16}), {{}, true});
  expect_near_libtorch(Inputs({2, 3, 20, 16}, {2, 3, 90, 16}), {{}, true, false, 0, 0.5});
  expect_near_libtorch(Inputs({2, 6, 40, 16}, {2, 2, 90, 16}), {{}, false, true});
  expect_near_libtorch(Inputs({40, 16}, {90, 16}));
  expect_near_libtorch(Inputs({5, 40, 16}, {5, 90, 16}), {{}, true});
  expect_near_libtorch(Inputs({2, 2, 3, 20, 8}, {2, 2, 3, 30, 8}));
}

TEST(AttentionInTheMode, MasksOfEveryShapeSpread) {
  torch::manual_seed(7);
  const std::vector<std::int64_t> shapes[] = {{40, 90},      {3, 40, 90},    {2, 1, 40, 90},
                                              {2, 1, 1, 90}, {2, 3, 40, 90}, {40, 1}};
  for (const auto& shape : shapes) {
    at::Tensor keep = torch::rand(shape) < 0.7;
    keep.select(-1, 0).fill_(true);
    expect_near_libtorch(Inputs({2, 3, 40, 16}, {2, 3, 90, 16}), {keep});
    expect_near_libtorch(Inputs({2, 3, 40, 16}, {2, 3, 90, 16}), {torch::randn(shape)});
  }
}

TEST(AttentionInTheMode, StridedAndExpandedOperands) {
  torch::manual_seed(8);
  const at::Tensor wide = torch::randn({2, 40, 3, 4, 16}).requires_grad_(true);  // [B, T, 3, H, D]
  const auto parts = [&](const at::Tensor& of) { return of.permute({2, 0, 3, 1, 4}).unbind(0); };
  const auto gradient = [&](auto function) {
    const auto p = parts(wide);
    return torch::autograd::grad({function(p[0], p[1], p[2]).sum()}, {wide})[0];
  };
  const at::Tensor expected = gradient([](auto& q, auto& k, auto& v) {
    return written_out(q, k, v, {{}, true});
  });
  const at::Tensor features_apart = torch::randn({2, 4, 16, 40}).transpose(2, 3);
  const at::Tensor one_sample = torch::randn({1, 4, 40, 16});
  const at::Tensor apart = written_out(features_apart, one_sample, one_sample);
  const InvariantMode mode;
  EXPECT_TRUE(torch::allclose(gradient([](auto& q, auto& k, auto& v) {
                                return attend(q, k, v, {{}, true});
                              }),
                              expected, 1e-4, 1e-5));
  EXPECT_TRUE(torch::allclose(attend(features_apart, one_sample, one_sample), apart, 1e-4, 1e-5));
}

TEST(AttentionInTheMode, AQueryThatSeesNothingIsZero) {
  const Inputs x({1, 2, 5, 8}, {1, 2, 9, 8});
  at::Tensor keep = torch::ones({5, 9}, at::kBool);
  keep[3].fill_(false);
  const InvariantMode mode;
  const Outcome got = run(x, [&](auto& q, auto& k, auto& v) { return attend(q, k, v, {keep}); });
  EXPECT_EQ(got.o.select(2, 3).abs().sum().item<float>(), 0);
  EXPECT_EQ(got.q.select(2, 3).abs().sum().item<float>(), 0);
  EXPECT_TRUE(torch::isfinite(got.k).all().item<bool>());
  const at::Tensor rows = torch::tensor({{-INFINITY, -INFINITY}, {0.0f, 0.0f}});
  EXPECT_TRUE(torch::equal(at::_safe_softmax(rows, -1), torch::tensor({{0.0f, 0.0f}, {0.5f, 0.5f}})));
}

TEST(AttentionInTheMode, EmptyOperands) {
  const InvariantMode mode;
  EXPECT_EQ(attend(torch::ones({0, 2, 5, 4}), torch::ones({0, 2, 7, 4}), torch::ones({0, 2, 7, 4})).numel(),
            0);
  const at::Tensor none =
      attend(torch::ones({1, 2, 5, 4}), torch::ones({1, 2, 0, 4}), torch::ones({1, 2, 0, 4}));
  EXPECT_TRUE(torch::equal(none, torch::zeros({1, 2, 5, 4})));
}

TEST(AttentionInTheMode, RunsInNoGradAndInference) {
  const Inputs x({2, 2, 70, 8}, {2, 2, 70, 8});
  const InvariantMode mode;
  const std::string expected = digest(attend(x.q, x.k, x.v, {{}, true}));
  {
    const torch::NoGradGuard no_grad;
    const at::Tensor o = attend(x.q, x.k, x.v, {{}, true});
    EXPECT_FALSE(o.requires_grad());
    EXPECT_EQ(digest(o), expected);
  }
  const c10::InferenceMode inference;
  EXPECT_EQ(digest(attend(x.q, x.k, x.v, {{}, true}).clone()), expected);
}

// ---- torch::nn's layers

template <class Module, class Forward>
void expect_layer_near_libtorch(Module& layer, const at::Tensor& x, Forward forward) {
  const auto gradients = [&] {
    layer->zero_grad();
    const at::Tensor y = forward(x);
    y.pow(2).sum().backward();
    std::vector<at::Tensor> to{y.detach()};
    for (const at::Tensor& parameter : layer->parameters()) to.push_back(parameter.grad().clone());
    for (at::Tensor parameter : layer->parameters()) parameter.mutable_grad() = at::Tensor();
    return to;
  };
  const auto expected = gradients();
  const InvariantMode mode;
  const auto got = gradients();
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_TRUE(torch::allclose(got[i], expected[i], 1e-3, 1e-4)) << i;
}

TEST(AttentionInTheMode, MultiheadAttentionOfTorchNn) {
  torch::manual_seed(9);
  torch::nn::MultiheadAttention layer(torch::nn::MultiheadAttentionOptions(kWidth, kHeads));
  const at::Tensor x = torch::randn({20, 3, kWidth});
  expect_layer_near_libtorch(layer, x, [&](const at::Tensor& of) { return std::get<0>(layer(of, of, of)); });
  expect_layer_near_libtorch(layer, x, [&](const at::Tensor& of) {
    const at::Tensor padding = torch::zeros({3, 20}, at::kBool);
    return std::get<0>(layer(of, of, of, padding, false));
  });
}

TEST(AttentionInTheMode, TransformerLayersOfTorchNn) {
  torch::manual_seed(10);
  torch::nn::TransformerEncoderLayer encoder(
      torch::nn::TransformerEncoderLayerOptions(kWidth, kHeads).dim_feedforward(40).dropout(0));
  torch::nn::TransformerDecoderLayer decoder(torch::nn::TransformerDecoderLayerOptions(kWidth, kHeads)
                                                 .dim_feedforward(40)
                                                 .dropout(0)
                                                 .activation(torch::kGELU));
  const at::Tensor x = torch::randn({20, 3, kWidth}), memory = torch::randn({30, 3, kWidth});
  expect_layer_near_libtorch(encoder, x, [&](const at::Tensor& of) { return encoder(of); });
  expect_layer_near_libtorch(decoder, x, [&](const at::Tensor& of) { return decoder(of, memory); });
}

// ---- Refusals

TEST(AttentionInTheModeErrors, SayWhatIsWrong) {
  const at::Tensor q = torch::ones({2, 2, 5, 4}), k = torch::ones({2, 2, 6, 4});
  const InvariantMode mode;
  const auto refuses = [&](const std::string& words, auto call, ErrorCode code = ErrorCode::unsupported) {
    expect_error(code, words, call);
  };
  const at::Tensor bias = torch::zeros({5, 6}).requires_grad_(true);
  refuses("a mask without a gradient", [&] { attend(q, k, k, {bias}); });
  at::Tensor left = torch::ones({2, 1, 1, 6}, at::kBool);
  left[1].narrow(-1, 0, 2).fill_(false);
  refuses("padding on the left", [&] { attend(q, k, k, {left}); });
  refuses("padding on the left", [&] {
    attend(q, k, k, {torch::zeros({2, 1, 1, 6}).masked_fill(~left, std::numeric_limits<float>::lowest())});
  });
  EXPECT_NO_THROW(attend(q, k, k, {torch::zeros({2, 1, 1, 6}, at::kBool)}));
  refuses("bool or float32", [&] { attend(q, k, k, {torch::ones({5, 6}, at::kInt)}); });
  refuses("float16", [&] { attend(q.to(at::kHalf), k.to(at::kHalf), k.to(at::kHalf)); });
  const auto wrong = ErrorCode::invalid_argument;
  refuses(
      "no mask beside is_causal",
      [&] {
        attend(q, k, k, {torch::ones({5, 6}), true});
      },
      wrong);
  refuses(
      "spreads over [2, 2, 5, 6]",
      [&] {
        attend(q, k, k, {torch::ones({5, 7})});
      },
      wrong);
  refuses(
      "the 4 features of the query",
      [&] {
        attend(q, torch::ones({2, 2, 6, 3}), k);
      },
      wrong);
  refuses(
      "the 6 tokens of the key", [&] { attend(q, k, q); }, wrong);
  refuses(
      "a divisor of its 2 heads",
      [&] {
        attend(q, torch::ones({2, 3, 6, 4}), torch::ones({2, 3, 6, 4}), {{}, false, true});
      },
      wrong);
  refuses(
      "a probability",
      [&] {
        attend(q, k, k, {{}, false, false, 2});
      },
      wrong);
  const at::Tensor grown = torch::ones({2, 2, 5, 4}).requires_grad_(true);
  const at::Tensor o = attend(grown, k, k);
  refuses("create_graph", [&] { torch::autograd::grad({o.sum()}, {grown}, {}, true, true); });
  const at::Tensor computed = torch::ones({1, 2, 6, 4}).requires_grad_(true) * 2;
  EXPECT_THROW(attend(q, computed, k), Error) << "its gradient would be a sum over the samples";
}

// ---- Packed samples

struct Packed {
  std::vector<std::int64_t> lengths{70, 0, 1, 64, 130};
  at::Tensor ends = torch::tensor({0, 70, 70, 71, 135, 265}, at::kInt);
  Inputs x{{265, 4, 16}, {265, 2, 16}};
};

TEST(PackedAttention, ASampleHasTheBitsThatItHasAlone) {
  const Packed p;
  const Outcome all =
      run(p.x, [&](auto& q, auto& k, auto& v) { return nn::packed_attention(q, k, v, p.ends, {true}); });
  const InvariantMode mode;
  expect_same(
      run(p.x, [&](auto& q, auto& k, auto& v) { return nn::packed_attention(q, k, v, p.ends, {true}); }), all,
      "in the mode");
  std::int64_t start = 0;
  for (const std::int64_t length : p.lengths) {
    const auto part = [&](const at::Tensor& t) {
      return t.detach().narrow(0, start, length).transpose(0, 1).unsqueeze(0);
    };
    Inputs own;
    own.q = part(p.x.q).clone().requires_grad_(true);
    own.k = part(p.x.k).clone().requires_grad_(true);
    own.v = part(p.x.v).clone().requires_grad_(true);
    own.gradient = part(p.x.gradient);
    const Outcome alone = run(own, [](auto& q, auto& k, auto& v) {
      return attend(q, k, v, {{}, true, true});
    });
    expect_same(alone, {part(all.o), part(all.q), part(all.k), part(all.v)},
                std::to_string(length) + " tokens");
    start += length;
  }
}

TEST(PackedAttention, OneResultForAnyNumberOfThreads) {
  const Packed p;
  const int before = at::get_num_threads();
  const auto with = [&](int threads) {
    at::set_num_threads(threads);
    return run(p.x, [&](auto& q, auto& k, auto& v) { return nn::packed_attention(q, k, v, p.ends); });
  };
  const Outcome expected = with(1);
  for (const int threads : {2, 3, 16})
    expect_same(with(threads), expected, std::to_string(threads) + " threads");
  at::set_num_threads(before);
}

TEST(PackedAttention, QueriesAndKeysOfDifferentLengths) {
  const Inputs x({7, 2, 8}, {12, 2, 8});
  const at::Tensor queries = torch::tensor({0, 3, 7}, at::kLong),
                   keys = torch::tensor({0, 10, 12}, at::kLong);
  const Outcome got = run(x, [&](auto& q, auto& k, auto& v) {
    return nn::packed_attention(q, k, v, queries, keys, {false, 0.3});
  });
  const auto by_sample = [&](auto& q, auto& k, auto& v) {
    const auto one = [&](std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) {
      const auto heads_first = [](const at::Tensor& t) { return t.transpose(0, 1); };
      return heads_first(written_out(heads_first(q.narrow(0, a, b)), heads_first(k.narrow(0, c, d)),
                                     heads_first(v.narrow(0, c, d)), {{}, false, false, 0, 0.3}));
    };
    return torch::cat({one(0, 3, 0, 10), one(3, 4, 10, 2)});
  };
  expect_close(got, run(x, by_sample));
}

TEST(PackedAttentionErrors, SayWhatIsWrong) {
  const at::Tensor q = torch::ones({7, 2, 8}), ends = torch::tensor({0, 3, 7});
  const auto refuses = [&](const std::string& words, auto call,
                           ErrorCode code = ErrorCode::invalid_argument) { expect_error(code, words, call); };
  refuses("[tokens, heads, features]", [&] { nn::packed_attention(q[0], q, q, ends); });
  refuses("0 at the beginning and the 7 tokens at the end", [&] {
    nn::packed_attention(q, q, q, torch::tensor({0, 3, 6}));
  });
  refuses("ends that ascend", [&] { nn::packed_attention(q, q, q, torch::tensor({0, 8, 7})); });
  refuses("int32 or int64", [&] { nn::packed_attention(q, q, q, torch::ones({3})); });
  refuses("the 2 samples of query_ends", [&] { nn::packed_attention(q, q, q, ends, torch::tensor({0, 7})); });
  refuses("a divisor of the query's 2 heads", [&] {
    nn::packed_attention(q, torch::ones({7, 3, 8}), torch::ones({7, 3, 8}), ends);
  });
  refuses("the 8 features of the query", [&] { nn::packed_attention(q, torch::ones({7, 2, 4}), q, ends); });
  refuses("7 tokens and 2 heads", [&] { nn::packed_attention(q, q, torch::ones({6, 2, 8}), ends); });
  refuses(
      "float64 on the CPU) in the invariant mode, got float16",
      [&] { nn::packed_attention(q.to(at::kHalf), q, q, ends); }, ErrorCode::unsupported);
}

}  // namespace
}  // namespace lockstep
