// The mode on a CUDA device: the CPU's bits, operation by operation and through trainings; what is refused;
// nobody waits. Suites of each device run on the CPU too.

#include "lockstep/torch/device_test.h"

#include <c10/core/Stream.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/torch/attention.h"
#include "lockstep/torch/batch_invariant_config.h"
#include "lockstep/torch/gradient_accumulator.h"
#include "lockstep/torch/initialize.h"
#include "lockstep/torch/invariant_mode.h"
#include "lockstep/torch/optimizer.h"
#include "lockstep/torch/serialize.h"
#include "lockstep/torch/tensor_view.h"

namespace lockstep {
namespace {

namespace F = torch::nn::functional;
using Tensors = std::vector<at::Tensor>;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Before any test asks LibTorch for CUDA.
class AskForCuda final : public testing::Environment {
  void SetUp() override { no_cuda_tensors(); }
};
[[maybe_unused]] auto* const ask_for_cuda = testing::AddGlobalTestEnvironment(new AskForCuda);

std::string digest(const at::Tensor& tensor) { return digest_of(tensor.detach()).hex(); }

std::vector<std::string> digests(const Tensors& tensors) {
  std::vector<std::string> all;
  for (const at::Tensor& tensor : tensors) all.push_back(tensor.defined() ? digest(tensor) : "none");
  return all;
}

// ---- Operations

/// y of leaves, which need gradients, and of what does not.
struct Operation {
  std::string name;
  Tensors leaves, others;
  std::function<at::Tensor(const Tensors& leaves, const Tensors& others)> function;
};

/// The result and the gradients of the leaves.
Tensors outcome(const Operation& of, at::Device device) {
  Tensors leaves, others;
  for (const at::Tensor& leaf : of.leaves)
    leaves.push_back(leaf.detach().clone().to(device).requires_grad_(true));
  for (const at::Tensor& other : of.others) others.push_back(other.to(device));
  torch::manual_seed(7);  // of dropout
  const InvariantMode mode;
  const at::Tensor y = of.function(leaves, others);
  Tensors all = {y};
  if (y.requires_grad()) y.backward(torch::linspace(-1, 1, y.numel()).view(y.sizes()).to(device));
  for (const at::Tensor& leaf : leaves) all.push_back(leaf.grad());
  return all;
}

/// Numbers of all sizes, and in the first rows what functions have their edges at.
at::Tensor numbers(at::IntArrayRef shape, int seed = 1) {
  torch::manual_seed(seed);
  return torch::randn(shape);
}
at::Tensor edges() {
  at::Tensor x = numbers({1037}, 3) * 4;
  const std::vector<double> special = {
      0.0,   -0.0,   1,         -1,         3,    -3,   6,
      1e-40, -1e-40, kInfinity, -kInfinity, NAN,  88.8, -104,
      1e30,  -1e30,  0.5,       2.5,        -0.3, 20,   std::nextafterf(20, 21)};
  for (std::size_t i = 0; i < special.size(); ++i) x[static_cast<std::int64_t>(i * 11)] = special[i];
  return x;
}

std::vector<Operation> element_operations() {
  using Function = at::Tensor (*)(const at::Tensor&);
  const std::vector<std::pair<const char*, Function>> functions = {
      {"sigmoid", [](const at::Tensor& x) { return x.sigmoid(); }},
      {"tanh", [](const at::Tensor& x) { return x.tanh(); }},
      {"tanh_", [](const at::Tensor& x) { return x.clone().tanh_(); }},
      {"silu", [](const at::Tensor& x) { return at::silu(x); }},
      {"gelu", [](const at::Tensor& x) { return at::gelu(x); }},
      {"gelu tanh", [](const at::Tensor& x) { return at::gelu(x, "tanh"); }},
      {"softplus", [](const at::Tensor& x) { return at::softplus(x, 1.5, 10); }},
      {"exp", [](const at::Tensor& x) { return x.exp(); }},
      {"exp2", [](const at::Tensor& x) { return x.exp2(); }},
      {"expm1", [](const at::Tensor& x) { return x.expm1(); }},
      {"log", [](const at::Tensor& x) { return x.log(); }},
      {"log2", [](const at::Tensor& x) { return x.log2(); }},
      {"log1p", [](const at::Tensor& x) { return x.log1p(); }},
      {"erf", [](const at::Tensor& x) { return x.erf(); }},
      {"rsqrt", [](const at::Tensor& x) { return x.rsqrt(); }},
      {"sin", [](const at::Tensor& x) { return x.sin(); }},
      {"cos", [](const at::Tensor& x) { return x.cos(); }},
      {"pow 2", [](const at::Tensor& x) { return x.pow(2); }},
      {"pow 3", [](const at::Tensor& x) { return x.pow(3); }},
      {"pow 0.5", [](const at::Tensor& x) { return x.pow(0.5); }},
      {"pow -1", [](const at::Tensor& x) { return x.pow(-1); }},
      {"pow 1.7", [](const at::Tensor& x) { return x.pow(1.7); }},
      {"mish", [](const at::Tensor& x) { return at::mish(x); }},
      {"log_sigmoid", [](const at::Tensor& x) { return at::log_sigmoid(x); }},
      {"elu", [](const at::Tensor& x) { return at::elu(x, 1.3, 0.7, 2); }},
      {"selu", [](const at::Tensor& x) { return at::selu(x); }},
      {"celu", [](const at::Tensor& x) { return at::celu(x, 0.6); }},
      {"hardsigmoid", [](const at::Tensor& x) { return at::hardsigmoid(x); }},
      {"hardswish", [](const at::Tensor& x) { return at::hardswish(x); }},
      {"hardtanh", [](const at::Tensor& x) { return at::hardtanh(x); }},
      {"relu", [](const at::Tensor& x) { return x.relu(); }},
      {"relu_", [](const at::Tensor& x) { return x.clone().relu_(); }},
      {"relu6", [](const at::Tensor& x) { return at::relu6(x); }},
      {"leaky_relu", [](const at::Tensor& x) { return at::leaky_relu(x, 0.03); }},
      {"threshold", [](const at::Tensor& x) { return at::threshold(x, 0, 0); }},
      {"clamp", [](const at::Tensor& x) { return x.clamp(-0.0, 2.0); }},
      {"clamp_min_", [](const at::Tensor& x) { return x.clone().clamp_min_(0); }},
      {"clamp_max", [](const at::Tensor& x) { return x.clamp_max(0); }},
      {"abs", [](const at::Tensor& x) { return x.abs(); }},
      {"sqrt", [](const at::Tensor& x) { return x.sqrt(); }},
      {"reciprocal", [](const at::Tensor& x) { return x.reciprocal(); }},
      {"sign", [](const at::Tensor& x) { return x.sign(); }},
      {"round", [](const at::Tensor& x) { return x.round(); }},
      {"by a number", [](const at::Tensor& x) { return x / 3 + x * 0.1 - (2.7 - x); }},
      {"a number by", [](const at::Tensor& x) { return 3.3 / x; }},
      {"by a number in place", [](const at::Tensor& x) { return x.clone().div_(7).mul_(1.1).sub_(0.3); }},
      {"add 0.3 x", [](const at::Tensor& x) { return at::add(x, x.sin(), 0.3); }},
      {"sub 0.3 x_", [](const at::Tensor& x) { return x.clone().sub_(x, 0.3); }},
      {"quotient", [](const at::Tensor& x) { return x / x.exp(); }},
      {"addcmul", [](const at::Tensor& x) { return at::addcmul(x, x.exp(), x, 0.7); }},
      {"addcdiv", [](const at::Tensor& x) { return at::addcdiv(x, x, x.exp(), 0.7); }},
      {"addcmul of a number", [](const at::Tensor& x) { return at::addcmul(x, x.select(0, 5), x, 0.7); }},
      {"lerp", [](const at::Tensor& x) { return at::lerp(x, x.exp(), 0.3); }},
      {"sum", [](const at::Tensor& x) { return x.nan_to_num(1, 2, 3).sum(); }},
      {"mean", [](const at::Tensor& x) { return x.nan_to_num(1, 2, 3).mean(); }},
      {"norm", [](const at::Tensor& x) { return at::linalg_vector_norm(x.nan_to_num(1, 2, 3)); }},
      {"largest norm",
       [](const at::Tensor& x) { return at::linalg_vector_norm(x.nan_to_num(1, 2, 3), kInfinity); }},
  };
  std::vector<Operation> all;
  for (const auto& [name, function] : functions)
    all.push_back({name, {edges()}, {}, [function](const Tensors& leaves, const Tensors&) {
                     return function(leaves[0].clone());
                   }});
  return all;
}

std::vector<Operation> row_operations() {
  using Function = at::Tensor (*)(const at::Tensor&);
  const std::vector<std::pair<const char*, Function>> functions = {
      {"softmax", [](const at::Tensor& x) { return x.softmax(-1); }},
      {"softmax 1", [](const at::Tensor& x) { return x.softmax(1); }},
      {"log_softmax", [](const at::Tensor& x) { return x.log_softmax(-1); }},
      {"logsumexp", [](const at::Tensor& x) { return x.logsumexp({-1}); }},
      {"var", [](const at::Tensor& x) { return x.var({1}); }},
      {"std", [](const at::Tensor& x) { return x.std({-1}, true, true); }},
      {"sum 1", [](const at::Tensor& x) { return x.sum(1); }},
      {"sum 1, 2",
       [](const at::Tensor& x) {
         return x.sum({1, 2}, true);
       }},
      {"sum 0", [](const at::Tensor& x) { return x.sum(0); }},
      {"sum 0, 2",
       [](const at::Tensor& x) {
         return x.sum(at::IntArrayRef({0, 2}));
       }},
      {"mean -1", [](const at::Tensor& x) { return x.mean(-1, true); }},
      {"norm -1", [](const at::Tensor& x) { return at::linalg_vector_norm(x, 2, {-1}); }},
      {"amax", [](const at::Tensor& x) { return x.amax({-1}); }},
      {"transposed softmax", [](const at::Tensor& x) { return x.transpose(0, 2).softmax(0); }},
      {"dropout", [](const at::Tensor& x) { return at::dropout(x, 0.3, true); }},
      {"feature_dropout", [](const at::Tensor& x) { return at::feature_dropout(x, 0.3, true); }},
  };
  std::vector<Operation> all;
  for (const auto& [name, function] : functions)
    all.push_back({name, {numbers({37, 5, 67})}, {}, [function](const Tensors& leaves, const Tensors&) {
                     return function(leaves[0].clone());
                   }});
  return all;
}

at::Tensor classes(std::int64_t count, at::IntArrayRef shape) {
  torch::manual_seed(5);
  return torch::randint(count, shape, torch::kLong);
}

/// Leaves are parameters here: their gradients are folds over rows.
std::vector<Operation> parameter_operations() {
  constexpr std::int64_t kRows = 1500;  // more than a chunk of a fold
  const at::Tensor x = numbers({kRows, 40}), image = numbers({9, 6, 11, 10});
  const auto norm = [](const char* name, auto function) {
    return Operation{name, {numbers({kRows, 40}), numbers({40}, 2), numbers({40}, 3)}, {}, function};
  };
  return {
      {"linear",
       {x, numbers({33, 40}, 2), numbers({33}, 3)},
       {},
       [](const Tensors& p, const Tensors&) { return at::linear(p[0].clone(), p[1], p[2]); }},
      {"linear of samples",
       {numbers({4, 9, 40}), numbers({33, 40}, 2)},
       {},
       [](const Tensors& p, const Tensors&) { return at::linear(p[0].clone(), p[1]); }},
      {"addmm",
       {numbers({33}), numbers({40, 33}, 2)},
       {x},
       [](const Tensors& p, const Tensors& o) { return at::addmm(p[0], o[0], p[1]); }},
      {"addmm of computed ones",
       {numbers({40, 33}, 2)},
       {x, numbers({33})},
       [](const Tensors& p, const Tensors& o) { return at::addmm(o[1], o[0], p[0].clone(), 0.5, 1.7); }},
      {"mm",
       {x, numbers({40, 33}, 2)},
       {},
       [](const Tensors& p, const Tensors&) { return at::mm(p[0].clone(), p[1].clone()); }},
      {"bmm",
       {numbers({3, 20, 30}), numbers({3, 30, 25}, 2)},
       {},
       [](const Tensors& p, const Tensors&) { return at::bmm(p[0], p[1]); }},
      {"baddbmm",
       {numbers({3, 20, 30}), numbers({3, 30, 25}, 2)},
       {numbers({3, 1, 25}, 3)},
       [](const Tensors& p, const Tensors& o) { return at::baddbmm(o[0], p[0], p[1], 0.3, 0.7); }},
      {"mv, dot",
       {numbers({30, 40}), numbers({40}, 2)},
       {numbers({30})},
       [](const Tensors& p, const Tensors& o) { return at::dot(at::mv(p[0].clone(), p[1].clone()), o[0]); }},
      {"matmul",
       {numbers({4, 3, 20, 30}), numbers({4, 3, 30, 5}, 2)},
       {},
       [](const Tensors& p, const Tensors&) { return at::matmul(p[0], p[1]); }},
      {"add a row",
       {x, numbers({40}, 2)},
       {},
       [](const Tensors& p, const Tensors&) { return at::add(p[0].clone(), p[1]); }},
      {"subtract a row",
       {x, numbers({40}, 2)},
       {},
       [](const Tensors& p, const Tensors&) { return at::sub(p[0].clone(), p[1]); }},
      {"multiply by a row",
       {x, numbers({40}, 2)},
       {},
       [](const Tensors& p, const Tensors&) { return at::mul(p[1], p[0].clone()); }},
      {"multiply by a row in place",
       {x, numbers({40}, 2)},
       {},
       [](const Tensors& p, const Tensors&) { return p[0].clone().mul_(p[1]); }},
      norm("layer_norm",
           [](const Tensors& p, const Tensors&) { return at::layer_norm(p[0].clone(), {40}, p[1], p[2]); }),
      norm("rms_norm",
           [](const Tensors& p, const Tensors&) { return at::rms_norm(p[0].clone(), {40}, p[1]) + p[2]; }),
      {"embedding",
       {numbers({50, 24})},
       {classes(50, {70, 20})},
       [](const Tensors& p, const Tensors& o) { return at::embedding(p[0], o[0], 3); }},
      {"embedding of positions",
       {numbers({50, 24}), numbers({20, 24}, 2)},
       {classes(50, {70, 20})},
       [](const Tensors& p, const Tensors& o) {
         return at::embedding(p[0], o[0]) +
                at::embedding(p[1], torch::arange(20, o[0].device()).view({1, 20}));
       }},
      {"conv2d",
       {image, numbers({8, 3, 3, 3}, 2), numbers({8}, 3)},
       {},
       [](const Tensors& p, const Tensors&) { return at::conv2d(p[0].clone(), p[1], p[2], 2, 1, 1, 2); }},
      {"conv1d",
       {numbers({9, 6, 40}), numbers({8, 6, 5}, 2), numbers({8}, 3)},
       {},
       [](const Tensors& p, const Tensors&) { return at::conv1d(p[0].clone(), p[1], p[2], 1, 2, 2); }},
      {"group_norm",
       {image, numbers({6}, 2), numbers({6}, 3)},
       {},
       [](const Tensors& p, const Tensors&) { return at::group_norm(p[0].clone(), 3, p[1], p[2]); }},
      {"max_pool2d",
       {image},
       {},
       [](const Tensors& p, const Tensors&) { return at::max_pool2d(p[0].clone(), 3, 2, 1); }},
      {"max_pool1d",
       {numbers({9, 6, 40})},
       {},
       [](const Tensors& p, const Tensors&) { return at::max_pool1d(p[0].clone(), 3, 2); }},
      {"avg_pool2d",
       {image},
       {},
       [](const Tensors& p, const Tensors&) {
         return at::avg_pool2d(p[0].clone(), {3, 2}, 2, 1);
       }},
      {"adaptive_avg_pool2d",
       {image},
       {},
       [](const Tensors& p, const Tensors&) {
         return at::adaptive_avg_pool2d(p[0].clone(), {3, 4});
       }},
  };
}

std::vector<Operation> attention_operations() {
  const Tensors heads = {numbers({2, 4, 33, 16}), numbers({2, 4, 33, 16}, 2), numbers({2, 4, 33, 16}, 3)};
  const at::Tensor keep = numbers({2, 1, 33, 33}, 4).gt(0).index_fill(3, torch::zeros({1}, at::kLong), true);
  const auto plain = [](const Tensors& p, const std::optional<at::Tensor>& mask, bool causal) {
    return at::scaled_dot_product_attention(p[0].clone(), p[1].clone(), p[2].clone(), mask, 0, causal);
  };
  return {
      {"attention",
       heads,
       {},
       [plain](const Tensors& p, const Tensors&) { return plain(p, std::nullopt, false); }},
      {"causal attention",
       heads,
       {},
       [plain](const Tensors& p, const Tensors&) { return plain(p, std::nullopt, true); }},
      {"attention with a mask",
       heads,
       {keep},
       [plain](const Tensors& p, const Tensors& o) { return plain(p, o[0], false); }},
      {"attention with a bias",
       heads,
       {numbers({33, 33}, 5)},
       [plain](const Tensors& p, const Tensors& o) { return plain(p, o[0], false); }},
      {"attention of groups",
       {heads[0], numbers({2, 2, 33, 16}, 2), numbers({2, 2, 33, 16}, 3)},
       {},
       [](const Tensors& p, const Tensors&) {
         return at::scaled_dot_product_attention(p[0].clone(), p[1].clone(), p[2].clone(), {}, 0, true,
                                                 std::nullopt, true);
       }},
      {"attention with dropout",
       heads,
       {},
       [](const Tensors& p, const Tensors&) {
         return at::scaled_dot_product_attention(p[0].clone(), p[1].clone(), p[2].clone(), {}, 0.2, true);
       }},
      {"packed attention",
       {numbers({31, 2, 16})},
       {},
       [](const Tensors& p, const Tensors&) {
         const at::Tensor q = p[0].clone();
         return nn::packed_attention(q, q, q, torch::tensor({0, 5, 5, 20, 31}), {/*is_causal=*/true});
       }},
  };
}

std::vector<Operation> loss_operations() {
  const at::Tensor logits = numbers({1300, 11}), target = classes(11, {1300});
  const Tensors weighted = {target, numbers({11}, 2).abs() + 0.1};
  const auto entropy = [](const char* name, const Tensors& others, at::Reduction::Reduction how,
                          double smoothing) {
    return Operation{
        name, {numbers({1300, 11})}, others, [how, smoothing](const Tensors& p, const Tensors& o) {
          const at::Tensor weight = o.size() > 1 ? o[1] : at::Tensor();
          return at::cross_entropy_loss(p[0].clone(), o[0], weight, how, 4, smoothing);
        }};
  };
  const auto pair = [](const char* name, auto function) {
    return Operation{name,
                     {numbers({130, 11})},
                     {numbers({130, 11}, 2), numbers({130, 11}, 3).sign()},
                     [function](const Tensors& p, const Tensors& o) { return function(p[0].clone(), o); }};
  };
  return {
      entropy("cross_entropy", {target}, at::Reduction::Mean, 0),
      entropy("cross_entropy, smoothed", {target}, at::Reduction::Mean, 0.1),
      entropy("cross_entropy, weighted", weighted, at::Reduction::Mean, 0.1),
      entropy("cross_entropy, summed", weighted, at::Reduction::Sum, 0),
      entropy("cross_entropy of rows", {target}, at::Reduction::None, 0),
      {"nll_loss",
       {logits},
       {target},
       [](const Tensors& p, const Tensors& o) { return at::nll_loss(p[0].log_softmax(-1), o[0]); }},
      {"nll_loss, weighted",
       {logits},
       weighted,
       [](const Tensors& p, const Tensors& o) {
         return at::nll_loss(p[0].log_softmax(-1), o[0], o[1], at::Reduction::Sum);
       }},
      pair("mse_loss", [](const at::Tensor& x, const Tensors& o) { return at::mse_loss(x, o[0]); }),
      pair("mse_loss, summed",
           [](const at::Tensor& x, const Tensors& o) { return at::mse_loss(x, o[0], at::Reduction::Sum); }),
      pair("l1_loss", [](const at::Tensor& x, const Tensors& o) { return at::l1_loss(x, o[0]); }),
      pair("l1_loss of elements",
           [](const at::Tensor& x, const Tensors& o) { return at::l1_loss(x, o[0], at::Reduction::None); }),
      pair("binary_cross_entropy_with_logits",
           [](const at::Tensor& x, const Tensors& o) {
             return at::binary_cross_entropy_with_logits(x, o[0].sigmoid(), o[1], o[1][0].abs());
           }),
      pair("margin_ranking_loss",
           [](const at::Tensor& x, const Tensors& o) { return at::margin_ranking_loss(x, o[0], o[1], 0.3); }),
  };
}

class OperationsOnEachDevice : public OnEachDevice {
 protected:
  static void expect_the_cpus_bits(const std::vector<Operation>& operations) {
    for (const Operation& of : operations) {
      const auto expected = digests(outcome(of, at::kCPU));
      try {
        const Tensors found = outcome(of, device());
        EXPECT_EQ(found[0].device().type(), device().type()) << of.name;
        EXPECT_EQ(digests(found), expected) << of.name;
      } catch (const std::exception& error) {
        ADD_FAILURE() << of.name << ": " << error.what();
      }
    }
  }
};

TEST_P(OperationsOnEachDevice, OfElements) { expect_the_cpus_bits(element_operations()); }
TEST_P(OperationsOnEachDevice, OfRows) { expect_the_cpus_bits(row_operations()); }
TEST_P(OperationsOnEachDevice, OfParameters) { expect_the_cpus_bits(parameter_operations()); }
TEST_P(OperationsOnEachDevice, OfAttention) { expect_the_cpus_bits(attention_operations()); }
TEST_P(OperationsOnEachDevice, OfLosses) { expect_the_cpus_bits(loss_operations()); }

INSTANTIATE_TEST_SUITE_P(Cpu, OperationsOnEachDevice, testing::Values("cpu"));
INSTANTIATE_TEST_SUITE_P(Gpu, OperationsOnEachDevice, testing::Values("cuda"));

// ---- Trainings

constexpr std::int64_t kSamples = 12, kClasses = 7, kTokens = 9, kVocabulary = 31, kWidth = 24;

struct Mlp : torch::nn::Module {
  Mlp() {
    for (const auto& [name, layer] : {std::pair("up", up), std::pair("down", down)})
      register_module(name, layer);
  }
  static at::Tensor input() { return numbers({kSamples, 40}); }
  static at::Tensor targets() { return classes(kClasses, {kSamples}); }
  at::Tensor loss(const at::Tensor& x, const at::Tensor& y) {
    const at::Tensor hidden = torch::dropout(torch::relu(up(x)), 0.2, is_training());
    return F::cross_entropy(down(hidden), y);
  }
  torch::nn::Linear up{40, 50}, down{50, kClasses};
};

struct Transformer : torch::nn::Module {
  Transformer() {
    register_module("tokens", tokens);
    register_module("positions", positions);
    register_module("before", before);
    register_module("mix", mix);
    register_module("project", project);
    register_module("after", after);
    register_module("up", up);
    register_module("down", down);
  }
  static at::Tensor input() { return classes(kVocabulary, {kSamples, kTokens}); }
  static at::Tensor targets() { return classes(kVocabulary, {kSamples, kTokens}).flip(1); }
  at::Tensor loss(const at::Tensor& ids, const at::Tensor& next) {
    const at::Tensor places = torch::arange(kTokens, ids.device()).expand({ids.size(0), kTokens});
    at::Tensor x = tokens(ids) + positions(places);
    const auto parts = mix(before(x)).view({ids.size(0), kTokens, 3, 4, kWidth / 4}).permute({2, 0, 3, 1, 4});
    const at::Tensor o =
        torch::scaled_dot_product_attention(parts[0], parts[1], parts[2], {}, 0, /*is_causal=*/true);
    x = x + project(o.transpose(1, 2).flatten(2));
    x = x + down(torch::gelu(up(after(x)), "tanh"));
    const at::Tensor logits = torch::linear(x, tokens->weight);  // tied
    return F::cross_entropy(logits.flatten(0, 1), next.flatten());
  }
  torch::nn::Embedding tokens{kVocabulary, kWidth}, positions{kTokens, kWidth};
  torch::nn::LayerNorm before{torch::nn::LayerNormOptions({kWidth})},
      after{torch::nn::LayerNormOptions({kWidth})};
  torch::nn::Linear mix{kWidth, 3 * kWidth}, project{kWidth, kWidth}, up{kWidth, 4 * kWidth},
      down{4 * kWidth, kWidth};
};

struct Cnn : torch::nn::Module {
  Cnn() {
    register_module("conv", conv);
    register_module("norm", norm);
    register_module("head", head);
  }
  static at::Tensor input() { return numbers({kSamples, 3, 12, 12}); }
  static at::Tensor targets() { return classes(kClasses, {kSamples}); }
  at::Tensor loss(const at::Tensor& x, const at::Tensor& y) {
    const at::Tensor maps = torch::max_pool2d(torch::relu(norm(conv(x))), 2);
    return F::cross_entropy(head(torch::adaptive_avg_pool2d(maps, {2, 2}).flatten(1)), y);
  }
  torch::nn::Conv2d conv{torch::nn::Conv2dOptions(3, 8, 3).padding(1)};
  torch::nn::GroupNorm norm{torch::nn::GroupNormOptions(4, 8)};
  torch::nn::Linear head{32, kClasses};
};

struct History {
  std::vector<float> losses;
  std::string parameters;

  bool operator==(const History& other) const {
    return parameters == other.parameters && losses == other.losses;
  }
};

/// 5 steps of AdamW with clipping.
template <class Model>
History train(at::Device device, const std::vector<std::int64_t>& cuts) {
  Model model;
  initialize_parameters(model, 11);
  model.to(device);
  const at::Tensor x = Model::input().to(device), y = Model::targets().to(device);
  AdamW optimizer(model.parameters(), torch::optim::AdamWOptions(1e-2));
  GradientAccumulator accumulator(model);
  torch::manual_seed(13);
  History history;
  const InvariantMode mode;
  for (int step = 0; step < 5; ++step) {
    optimizer.zero_grad();
    accumulator.begin(kSamples);
    std::int64_t first = 0;
    for (const std::int64_t samples : cuts) {
      const auto micro_batch = accumulator.micro_batch(first, samples);
      model.loss(x.narrow(0, first, samples), y.narrow(0, first, samples)).backward();
      first += samples;
    }
    history.losses.push_back(accumulator.finish());
    clip_gradients(model.parameters(), 0.5);
    optimizer.step();
  }
  history.parameters = digest_of(model).hex();
  return history;
}

class TrainingsOnEachDevice : public OnEachDevice {
 protected:
  template <class Model>
  static void expect_one_history() {
    const History expected = train<Model>(at::kCPU, {kSamples});
    EXPECT_EQ(train<Model>(device(), {kSamples}), expected);
    EXPECT_EQ(train<Model>(device(), {5, 7}), expected);
    EXPECT_EQ(train<Model>(device(), std::vector<std::int64_t>(kSamples, 1)), expected);
  }
};

TEST_P(TrainingsOnEachDevice, Mlp) { expect_one_history<Mlp>(); }
TEST_P(TrainingsOnEachDevice, Transformer) { expect_one_history<Transformer>(); }
TEST_P(TrainingsOnEachDevice, Cnn) { expect_one_history<Cnn>(); }

INSTANTIATE_TEST_SUITE_P(Cpu, TrainingsOnEachDevice, testing::Values("cpu"));
INSTANTIATE_TEST_SUITE_P(Gpu, TrainingsOnEachDevice, testing::Values("cuda"));

// ---- What is around the operations

class PartsOnEachDevice : public OnEachDevice {};

Tensors with_gradients(at::Device device) {
  Tensors parameters;
  for (const int seed : {1, 2, 3}) {
    parameters.push_back(numbers({40 * seed, 33}, seed).to(device).requires_grad_(true));
    parameters.back().mutable_grad() = numbers({40 * seed, 33}, seed + 10).to(device);
  }
  return parameters;
}

TEST_P(PartsOnEachDevice, OptimizersHaveTheCpusBits) {
  const auto stepped = [](at::Device where) {
    std::vector<std::string> all;
    const auto run = [&](auto&& optimizer, const Tensors& parameters) {
      for (int step = 0; step < 3; ++step) {
        all.push_back(digest(clip_gradients(parameters, 0.7)));
        optimizer.step();
      }
      for (const std::string& one : digests(parameters)) all.push_back(one);
    };
    Tensors parameters = with_gradients(where);
    run(Sgd(parameters, torch::optim::SGDOptions(0.1).momentum(0.9).weight_decay(0.01)), parameters);
    parameters = with_gradients(where);
    run(Adam(parameters, torch::optim::AdamOptions(0.01).amsgrad(true)), parameters);
    parameters = with_gradients(where);
    run(AdamW(parameters, torch::optim::AdamWOptions(0.01)), parameters);
    return all;
  };
  EXPECT_EQ(stepped(device()), stepped(at::kCPU));
}

// LibTorch's own classes go through lists and single operations, which the mode looks at.
TEST_P(PartsOnEachDevice, ListsHaveTheCpusBits) {
  const auto outcome_of = [](at::Device where) {
    const Tensors parameters = with_gradients(where);
    Tensors gradients;
    for (const at::Tensor& parameter : parameters) gradients.push_back(parameter.grad().clone());
    const InvariantMode mode;
    const torch::NoGradGuard no_grad;
    at::_foreach_div_(gradients, 3);
    at::_foreach_lerp_(parameters, gradients, 0.3);
    at::_foreach_addcmul_(parameters, gradients, gradients, 0.7);
    at::_foreach_addcdiv_(parameters, gradients, at::_foreach_add(gradients, 9), -0.3);
    at::_foreach_add_(parameters, gradients, -0.1);
    return digests(parameters);
  };
  EXPECT_EQ(outcome_of(device()), outcome_of(at::kCPU));
}

TEST_P(PartsOnEachDevice, InitialParametersAreTheCpus) {
  const auto filled = [](at::Device where) {
    const at::Tensor uniform = torch::empty({1111, 3}, where), normal = torch::empty({77}, where);
    fill_uniform(uniform, -2, 3, {5, 1});
    fill_normal(normal, 1, 0.3, {5, 2});
    return digests({uniform, normal});
  };
  EXPECT_EQ(filled(device()), filled(at::kCPU));
}

TEST_P(PartsOnEachDevice, CheckpointsMoveBetweenDevices) {
  Mlp there, here;
  there.to(device());
  AdamW writer(there.parameters());
  there.loss(Mlp::input().to(device()), Mlp::targets().to(device())).backward();
  writer.step();
  load_module(here, module_bytes(there));
  EXPECT_EQ(digest_of(here).hex(), digest_of(there).hex());
  EXPECT_TRUE(here.up->weight.is_cpu());
  load_module(there, module_bytes(here));
  EXPECT_EQ(there.up->weight.device().type(), device().type());
  AdamW reader(here.parameters());
  load_optimizer(reader, optimizer_bytes(writer));
  here.loss(Mlp::input(), Mlp::targets()).backward();
  EXPECT_NO_THROW(reader.step());
}

TEST_P(PartsOnEachDevice, AMeanThatCountsNothing) {
  const at::Tensor logits = torch::ones({3, 4}, device()).requires_grad_(true),
                   targets = torch::full({3}, -100, torch::TensorOptions(device()).dtype(torch::kLong));
  const InvariantMode mode;
  const auto loss = [&] { return F::cross_entropy(logits, targets); };
  if (device().is_cpu())
    expect_error(ErrorCode::invalid_argument, "at least one target that counts", loss);
  else
    EXPECT_TRUE(loss().isnan().item<bool>());
}

TEST_P(PartsOnEachDevice, AMaskThatHidesTheFirstKey) {
  at::Tensor mask = torch::ones({2, 1, 1, 4}, torch::kBool);
  mask[1][0][0][0] = false;
  mask = mask.to(device());
  const at::Tensor q = torch::ones({2, 1, 4, 8}, device());
  const InvariantMode mode;
  const auto attend = [&] { return torch::scaled_dot_product_attention(q, q, q, mask); };
  if (device().is_cpu()) {
    expect_error(ErrorCode::unsupported, "whose first key is seen", attend);
  } else {
    const at::Tensor o = attend();
    EXPECT_TRUE(o[1].isnan().all().item<bool>());
    EXPECT_FALSE(o[0].isnan().any().item<bool>());
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, PartsOnEachDevice, testing::Values("cpu"));
INSTANTIATE_TEST_SUITE_P(Gpu, PartsOnEachDevice, testing::Values("cuda"));

// ---- What is refused

TEST_F(GpuTensors, OtherDtypesAreRefused) {
  const at::Tensor x = torch::ones({4, 4}, at::kCUDA);
  const InvariantMode mode;
  for (const at::ScalarType type : {at::kDouble, at::kBFloat16, at::kHalf}) {
    const at::Tensor other = x.to(type);
    expect_error(ErrorCode::unsupported, "float32", [&] { torch::mm(other, other); });
    expect_error(ErrorCode::unsupported, "float32", [&] { other.exp(); });
  }
}

TEST_F(GpuTensors, OnTwoDevicesAreRefused) {
  const at::Tensor here = torch::ones({4, 4}), there = here.to(at::kCUDA), row = torch::ones({4});
  const at::Tensor index = torch::zeros({4}, torch::kLong);
  const std::vector<std::function<at::Tensor()>> calls = {
      [&] { return torch::mm(there, here); },
      [&] { return torch::mm(here, there); },
      [&] { return torch::linear(there, here); },
      [&] { return torch::linear(there, there, row); },
      [&] { return torch::bmm(there.unsqueeze(0), here.unsqueeze(0)); },
      [&] { return torch::layer_norm(there, {4}, row); },
      [&] { return torch::embedding(there, index); },
      [&] { return torch::add(there, here, 2); },
      [&] { return torch::lerp(there, here, 0.3); },
      [&] { return torch::cross_entropy_loss(there, index); },
      [&] { return torch::mse_loss(there, here); },
      [&] {
        const at::Tensor q = there.view({1, 1, 4, 4});
        return torch::scaled_dot_product_attention(q, here.view({1, 1, 4, 4}), q);
      },
      [&] {
        return torch::conv1d(there.unsqueeze(0), torch::ones({2, 4, 1}));
      },
  };
  const Tensors both = {numbers({3}).requires_grad_(true), numbers({3}).to(at::kCUDA).requires_grad_(true)};
  for (at::Tensor parameter : both) parameter.mutable_grad() = parameter.detach().clone();
  const InvariantMode mode;
  for (const auto& call : calls) expect_error(ErrorCode::invalid_argument, "one device", call);
  expect_error(ErrorCode::invalid_argument, "one device", [&] { clip_gradients(both, 1); });
}

/// A result that fits no device, in the middle of a training: LibTorch's own error, and nothing is lost.
TEST_F(GpuTensors, ThatFitNoDeviceAreAnErrorThatHarmsNothing) {
  const at::Tensor x = numbers({1 << 20, 1}).to(at::kCUDA).requires_grad_(true);
  const at::Tensor row = numbers({1, 4}).to(at::kCUDA);
  const InvariantMode mode;
  const auto gradient = [&] {
    torch::mm(x, row).sum().backward();
    return digest(std::exchange(x.mutable_grad(), at::Tensor()));
  };
  const auto expected = gradient();
  EXPECT_THROW(torch::mm(x, x.t()), c10::OutOfMemoryError);  // 4 TB
  EXPECT_EQ(gradient(), expected);
}

TEST_F(GpuTensors, WhereTheCpuIsForcedAreRefused) {
  const at::Tensor x = torch::ones({4, 4}, at::kCUDA);
  {
    const BatchInvariantConfig config({.force_cpu = true});
    expect_error(ErrorCode::unsupported, "force_cpu", [&] { x.exp(); });
  }
  const BatchInvariantConfig config({.force_cpu = false});
  EXPECT_NO_THROW(x.exp());
}

TEST_F(GpuTensors, ScatteredOverEachOtherAreRefused) {
  const at::Tensor x = torch::zeros({4}, at::kCUDA), index = torch::zeros({4}, torch::kLong).to(at::kCUDA);
  const InvariantMode mode;
  expect_error(ErrorCode::unsupported, "scatter", [&] { x.scatter(0, index, x); });
}

TEST(CudaDeviceErrors, SayWhatIsMissing) {
  expect_error(ErrorCode::invalid_argument, "0 or more", [] { cuda_device(-1); });
  if (cuda_device_count() == 0)
    expect_error(ErrorCode::unsupported, "a CUDA device, got none", [] { cuda_device(); });
  else
    expect_error(ErrorCode::unsupported, "counted from 0", [] { cuda_device(1000); });
}

// ---- Nobody waits

TEST_F(GpuTensors, AreComputedWithoutWaiting) {
  Transformer model;
  initialize_parameters(model, 11);
  model.to(at::kCUDA);
  const at::Tensor ids = Transformer::input().to(at::kCUDA), next = Transformer::targets().to(at::kCUDA);
  const c10::impl::VirtualGuardImpl guard(at::kCUDA);
  const c10::StreamGuard stream(guard.getNewStream({at::kCUDA, 0}));
  const InvariantMode mode;
  const auto step = [&] {
    model.zero_grad();
    model.loss(ids, next).backward();
    clip_gradients(model.parameters(), 0.5);
  };
  for (int warm_up = 0; warm_up < 3; ++warm_up) step();
  stream.current_stream().synchronize();
  const auto gradients = [&] {
    Tensors all;
    for (const at::Tensor& parameter : model.parameters()) all.push_back(parameter.grad());
    return all;
  };
  const auto expected = digests(gradients());

  GraphCapture capture(stream.current_stream().native_handle());
  capture.begin();
  step();
  capture.end();
  {
    const InvariantMode off(false);
    for (const at::Tensor& gradient : gradients()) gradient.fill_(NAN);
  }
  capture.launch();
  EXPECT_EQ(digests(gradients()), expected);
}

}  // namespace
}  // namespace lockstep
