// The mode and the accumulator on a small network: one gradient, whatever the cut.

#include <ATen/Parallel.h>
#include <cmath>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/expect_error_test.h"
#include "lockstep/torch/gradient_accumulator.h"
#include "lockstep/torch/invariant_mode.h"
#include "lockstep/torch/tensor_view.h"

namespace lockstep {
namespace {

using Cuts = std::vector<std::int64_t>;  ///< samples of each micro-batch

constexpr std::int64_t kSamples = 150, kFeatures = 70, kClasses = 10;

struct Net : torch::nn::Module {
  Net() {
    register_module("first", first);
    register_module("second", second);
  }
  at::Tensor forward(const at::Tensor& x) { return second(torch::relu(first(x))); }
  torch::nn::Linear first{kFeatures, 33}, second{33, kClasses};
};

struct Problem {
  Problem() {
    torch::manual_seed(3);
    net = std::make_shared<Net>();
    x = torch::randn({kSamples, kFeatures});
    y = torch::randint(kClasses, {kSamples}, torch::kLong);
  }
  std::shared_ptr<Net> net;
  at::Tensor x, y;
};

struct Outcome {
  float loss = 0;
  std::vector<std::string> gradients;  ///< digests, by parameter

  bool operator==(const Outcome& other) const {
    return std::memcmp(&loss, &other.loss, sizeof loss) == 0 && gradients == other.gradients;
  }
};

std::vector<std::string> take_gradients(torch::nn::Module& module) {
  std::vector<std::string> digests;
  for (auto& parameter : module.parameters()) {
    digests.push_back(digest_of(parameter.grad()).hex());
    parameter.mutable_grad() = at::Tensor();
  }
  return digests;
}

Outcome whole(Problem& problem) {
  const InvariantMode mode;
  const at::Tensor loss = torch::nn::functional::cross_entropy(problem.net->forward(problem.x), problem.y);
  loss.backward();
  return {loss.item<float>(), take_gradients(*problem.net)};
}

Outcome cut(Problem& problem, const Cuts& cuts) {
  const InvariantMode mode;
  GradientAccumulator accumulator(*problem.net);
  accumulator.begin(kSamples);
  std::int64_t first = 0;
  for (const std::int64_t samples : cuts) {
    const auto micro_batch = accumulator.micro_batch(first, samples);
    torch::nn::functional::cross_entropy(problem.net->forward(problem.x.narrow(0, first, samples)),
                                         problem.y.narrow(0, first, samples))
        .backward();
    first += samples;
  }
  Outcome outcome;
  outcome.loss = accumulator.finish();
  outcome.gradients = take_gradients(*problem.net);
  return outcome;
}

const std::vector<Cuts> kCuts = {{kSamples},       {1, 149},          {75, 75},
                                 {7, 16, 100, 27}, Cuts(kSamples, 1), Cuts(10, 15)};

TEST(InvariantMode, OneGradientHoweverTheBatchIsCut) {
  Problem problem;
  const Outcome expected = whole(problem);
  for (const Cuts& cuts : kCuts) EXPECT_EQ(cut(problem, cuts), expected) << cuts.size() << " micro-batches";
}

TEST(InvariantMode, OneGradientForAnyNumberOfThreads) {
  Problem problem;
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Outcome expected = whole(problem);
  for (const int threads : {2, 3}) {
    at::set_num_threads(threads);
    EXPECT_EQ(whole(problem), expected) << threads << " threads";
  }
  at::set_num_threads(before);
}

/// Bytes that the accumulator holds between two micro-batches, over those of the sums: the weight's in
/// float32, the bias's in float64.
std::vector<double> copies_held(std::int64_t samples, const Cuts& cuts) {
  torch::nn::Linear linear(24, 10);
  const at::Tensor x = torch::randn({samples, 24}), y = torch::randint(0, 10, {samples}, torch::kLong);
  const InvariantMode mode;
  GradientAccumulator accumulator(*linear);
  accumulator.begin(samples);
  std::vector<double> copies;
  std::int64_t first = 0;
  for (const std::int64_t count : cuts) {
    const auto micro_batch = accumulator.micro_batch(first, count);
    torch::nn::functional::cross_entropy(linear->forward(x.narrow(0, first, count)),
                                         y.narrow(0, first, count))
        .backward();
    first += count;
    copies.push_back(static_cast<double>(accumulator.bytes()) / (4.0 * 24 * 10 + 8.0 * 10));
  }
  accumulator.finish();
  copies.push_back(static_cast<double>(accumulator.bytes()));
  return copies;
}

TEST(GradientAccumulator, HoldsACopyOnTheGridAndASecondOneOffIt) {
  EXPECT_EQ(copies_held(3000, {1024, 1024, 952}), (std::vector<double>{1, 1, 1, 0}));
  EXPECT_EQ(copies_held(3000, {1024, 500, 1476}), (std::vector<double>{1, 2, 2, 0}));
}

// The twin that must fail: the same cuts by LibTorch's own kernels, scaled as everybody does.
TEST(InvariantModeTwin, PlainAccumulationGoesRed) {
  Problem problem;
  const auto plain = [&](const Cuts& cuts) {
    std::int64_t first = 0;
    for (const std::int64_t samples : cuts) {
      const at::Tensor loss = torch::nn::functional::cross_entropy(
          problem.net->forward(problem.x.narrow(0, first, samples)), problem.y.narrow(0, first, samples));
      (loss * (static_cast<double>(samples) / kSamples)).backward();
      first += samples;
    }
    return take_gradients(*problem.net);
  };
  EXPECT_NE(plain(kCuts[3]), plain(kCuts[0]));
}

TEST(InvariantMode, ARowDoesNotKnowItsNeighbours) {
  Problem problem;
  const InvariantMode mode;
  const torch::NoGradGuard no_grad;
  const at::Tensor together = problem.net->forward(problem.x);
  for (const std::int64_t row : {0, 1, 77, 149}) {
    const at::Tensor alone = problem.net->forward(problem.x.narrow(0, row, 1));
    EXPECT_EQ(digest_of(alone.contiguous()).hex(), digest_of(together.narrow(0, row, 1).contiguous()).hex());
  }
}

TEST(InvariantMode, GradientsAreCloseToLibTorchs) {
  Problem problem;
  torch::nn::functional::cross_entropy(problem.net->forward(problem.x), problem.y).backward();
  std::vector<at::Tensor> expected;
  for (auto& parameter : problem.net->parameters()) {
    expected.push_back(parameter.grad().clone());
    parameter.mutable_grad() = at::Tensor();
  }
  {
    const InvariantMode mode;
    torch::nn::functional::cross_entropy(problem.net->forward(problem.x), problem.y).backward();
  }
  const auto parameters = problem.net->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i)
    EXPECT_TRUE(torch::allclose(parameters[i].grad(), expected[i], 1e-5, 1e-7)) << i;
}

/// The logits of a language model are its largest tensors: they and their gradient are not there both, unless
/// somebody still looks at them.
TEST(InvariantMode, TheGradientOfLogitsTakesTheirMemory) {
  torch::manual_seed(3);
  const at::Tensor x = torch::randn({12, 8}), target = torch::randint(50, {12});
  const at::Tensor weight = torch::randn({50, 8}).requires_grad_(true);
  const InvariantMode mode;
  const void *logits = nullptr, *gradient = nullptr;
  const auto loss_of = [&](const at::Tensor& of) {
    logits = of.const_data_ptr();
    of.register_hook([&](const at::Tensor& g) { gradient = g.const_data_ptr(); });
    return torch::cross_entropy_loss(of, target);
  };
  const auto gradient_of_weight = [&] {
    return digest_of(std::exchange(weight.mutable_grad(), at::Tensor())).hex();
  };

  const at::Tensor of_nobodys = loss_of(torch::linear(x, weight));
  of_nobodys.backward();  // in a statement of its own: a temporary lives as long as the one that it stands in
  EXPECT_EQ(gradient, logits);
  const std::string expected = gradient_of_weight();

  const at::Tensor held = torch::linear(x, weight), before = held.detach().clone();
  loss_of(held).backward();
  EXPECT_NE(gradient, logits);
  EXPECT_TRUE(held.equal(before));
  EXPECT_EQ(gradient_of_weight(), expected);

  loss_of(torch::linear(x, weight).view({3, 4, 50}).flatten(0, 1)).backward();
  EXPECT_EQ(gradient_of_weight(), expected);

  const at::Tensor loss = loss_of(torch::linear(x, weight));
  loss.backward({}, /*retain_graph=*/true);
  EXPECT_NE(gradient, logits);
  EXPECT_EQ(gradient_of_weight(), expected);
  loss.backward();
  EXPECT_EQ(gradient, logits);
  EXPECT_EQ(gradient_of_weight(), expected);
  EXPECT_THROW(loss.backward(), c10::Error);
}

TEST(InvariantMode, LeavesEverythingAsItWas) {
  Problem problem;
  const auto plain = [&] { return digest_of(problem.net->forward(problem.x).detach()).hex(); };
  const std::string before = plain();
  EXPECT_FALSE(invariant_mode_enabled());
  {
    const InvariantMode mode;
    EXPECT_TRUE(invariant_mode_enabled());
    {
      const InvariantMode off(false);
      EXPECT_FALSE(invariant_mode_enabled());
      EXPECT_EQ(plain(), before);
    }
    EXPECT_TRUE(invariant_mode_enabled());
    EXPECT_THROW(torch::cumsum(problem.x, 0), Error);
    std::thread([] { EXPECT_FALSE(invariant_mode_enabled()) << "a thread's own"; }).join();
  }
  EXPECT_FALSE(invariant_mode_enabled());
  EXPECT_EQ(plain(), before);
}

TEST(InvariantModeErrors, UnknownOperationsAreRefusedByName) {
  const InvariantMode mode;
  const at::Tensor x = torch::ones({4, 4});
  expect_error(ErrorCode::unsupported, "aten::cumprod", [&] { torch::cumprod(x, 0); });
  expect_error(ErrorCode::unsupported, "float16", [&] { torch::mm(x.to(torch::kHalf), x.to(torch::kHalf)); });
  allow_operation("aten::cumprod");
  EXPECT_NO_THROW(torch::cumprod(x, 0));
  EXPECT_EQ(operation_class("aten::cumprod"), "allowed");
  EXPECT_EQ(operation_class("aten::addmm"), "ours");
  EXPECT_EQ(operation_class("aten::relu"), "exact");
  EXPECT_EQ(operation_class("aten::view"), "exact");
  EXPECT_EQ(operation_class("aten::linear"), "ours");
  EXPECT_EQ(operation_class("aten::cumsum"), "refused");
  expect_error(ErrorCode::invalid_argument, "aten::no_such", [] { allow_operation("aten::no_such"); });
}

TEST(GradientAccumulatorErrors, SayWhatIsWrong) {
  Problem problem;
  const InvariantMode mode;
  GradientAccumulator accumulator(*problem.net);
  const auto refuses = [](const std::string& words, const std::function<void()>& call) {
    expect_error(ErrorCode::invalid_argument, words, call);
  };
  const auto step = [&](std::int64_t first, std::int64_t samples) {
    const auto micro_batch = accumulator.micro_batch(first, samples);
    torch::nn::functional::cross_entropy(problem.net->forward(problem.x.narrow(0, first, samples)),
                                         problem.y.narrow(0, first, samples))
        .backward();
  };
  refuses("Call begin() first", [&] { step(0, 1); });
  refuses("Call begin() first", [&] { accumulator.finish(); });
  refuses("above 0", [&] { accumulator.begin(0); });
  accumulator.begin(10);
  refuses("Call finish(), or cancel()", [&] { accumulator.begin(10); });
  refuses("without a gap", [&] { step(1, 1); });
  step(0, 4);
  refuses("without a gap", [&] { step(0, 4); });
  refuses("at most 6", [&] { step(4, 7); });
  refuses("all 10", [&] { accumulator.finish(); });
  EXPECT_FALSE(problem.net->first->weight.grad().defined()) << "a batch that failed leaves nothing";
  accumulator.begin(10, 9);
  step(0, 10);
  refuses("targets counted", [&] { accumulator.finish(); });
  accumulator.begin(10);
  {
    const auto micro_batch = accumulator.micro_batch(0, 10);
    refuses("no open micro-batch", [&] { (void)accumulator.micro_batch(0, 1); });
  }
  refuses("'first.weight'", [&] { accumulator.finish(); });
  accumulator.begin(10);
  {
    const auto micro_batch = accumulator.micro_batch(0, 10);
    const at::Tensor loss = torch::nn::functional::cross_entropy(
        problem.net->forward(problem.x.narrow(0, 0, 10)), problem.y.narrow(0, 0, 10));
    loss.backward({}, true);
    refuses("a second one", [&] { loss.backward(); });
  }
  accumulator.cancel();
}

}  // namespace
}  // namespace lockstep
