// Models at random, trained for one step: on two devices, or with two numbers of threads where there is one,
// whole and in micro-batches. Every loss, output and gradient has the same bits. And what has not: LibTorch's
// own kernels, also in their deterministic mode.
//
//   LOCKSTEP_RANDOM_MODELS=1000   so many models, seeds 0, 1, …
//   LOCKSTEP_RANDOM_MODEL=17      the one of this seed

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/torch/device_test.h"
#include "lockstep/torch/environment.h"
#include "lockstep/torch/gradient_accumulator.h"
#include "lockstep/torch/invariant_mode.h"
#include "lockstep/torch/random_model_test.h"
#include "lockstep/torch/tensor_view.h"

namespace lockstep {
namespace {

using Cuts = std::vector<std::int64_t>;  ///< samples of each micro-batch

constexpr int kThreads = 2, kOtherThreads = 3;

/// Before cuBLAS is used: LibTorch's deterministic mode asks for it.
class FixCublasWorkspace final : public testing::Environment {
  void SetUp() override { setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0); }
};
[[maybe_unused]] auto* const fix_cublas_workspace = testing::AddGlobalTestEnvironment(new FixCublasWorkspace);

std::vector<std::uint64_t> seeds(std::uint64_t count) {
  const auto number = [](const char* text) { return std::strtoull(text, nullptr, 10); };
  if (const char* one = std::getenv("LOCKSTEP_RANDOM_MODEL")) return {number(one)};
  if (const char* some = std::getenv("LOCKSTEP_RANDOM_MODELS")) count = number(some);
  std::vector<std::uint64_t> all(count);
  for (std::uint64_t i = 0; i < count; ++i) all[i] = i;
  return all;
}

Cuts random_cuts(std::int64_t samples, std::uint64_t seed) {
  random::Generator generator(~seed);
  Cuts cuts;
  for (std::int64_t left = samples; left > 0; left -= cuts.back())
    cuts.push_back(1 + static_cast<std::int64_t>(generator.below(static_cast<std::uint64_t>(left))));
  return cuts;
}

/// What a step gives, on the CPU: a loss, an output, gradients.
struct Named {
  std::string name;
  at::Tensor value;
};
using Outcome = std::vector<Named>;

/// Forward and backward of a model, part by part.
class Step {
 public:
  Step(std::uint64_t seed, at::Device device) : model_(RandomModelMaker(seed, device).make()) {
    torch::manual_seed(seed);  // of dropout
  }
  const RandomModel& model() const { return model_; }

  /// The loss of a part, whose gradients are those of `share` times it.
  at::Tensor part(std::int64_t first, std::int64_t samples, double share = 1) {
    at::Tensor x = model_.input.narrow(0, first, samples);
    if (x.is_floating_point()) {
      inputs_.push_back(x.clone().requires_grad_(true));
      x = inputs_.back().clone();  // what a layer is given is no parameter
    }
    const at::Tensor output = model_.forward(x);
    const at::Tensor loss = model_.loss(output, model_.targets.narrow(0, first, samples));
    (share < 1 ? loss * share : loss).backward();
    outputs_.push_back(output.detach());
    return loss.detach() * share;
  }

  Outcome outcome(const at::Tensor& loss) const {
    Outcome all = {{"loss", loss.cpu()}, {"output", torch::cat(outputs_).cpu()}};
    std::vector<at::Tensor> of_inputs;
    for (const at::Tensor& input : inputs_) of_inputs.push_back(input.grad());
    if (!of_inputs.empty()) all.push_back({"gradient of the input", torch::cat(of_inputs).cpu()});
    for (std::size_t i = 0; i < model_.parameters.size(); ++i) {
      const at::Tensor& parameter = model_.parameters[i];
      all.push_back({fmt::format("gradient of parameter {} {}", i, fmt::join(parameter.sizes(), "x")),
                     parameter.grad().defined() ? parameter.grad().cpu() : at::Tensor()});
    }
    return all;
  }

 private:
  RandomModel model_;
  std::vector<at::Tensor> inputs_, outputs_;
};

Outcome whole(std::uint64_t seed, at::Device device) {
  Step step(seed, device);
  const at::Tensor loss = step.part(0, step.model().samples);
  return step.outcome(loss);
}

Outcome accumulated(std::uint64_t seed, at::Device device) {
  Step step(seed, device);
  GradientAccumulator accumulator(step.model().parameters);
  accumulator.begin(step.model().samples, step.model().counted);
  std::int64_t first = 0;
  for (const std::int64_t samples : random_cuts(step.model().samples, seed)) {
    const auto micro_batch = accumulator.micro_batch(first, samples);
    step.part(first, samples);
    first += samples;
  }
  const float loss = accumulator.finish();
  return step.outcome(torch::scalar_tensor(loss));
}

/// As everybody accumulates: each micro-batch's mean, weighted by its share of the batch.
Outcome summed(std::uint64_t seed, at::Device device) {
  Step step(seed, device);
  at::Tensor loss = torch::zeros({}, device);
  std::int64_t first = 0;
  for (const std::int64_t samples : random_cuts(step.model().samples, seed)) {
    loss +=
        step.part(first, samples, static_cast<double>(samples) / static_cast<double>(step.model().samples));
    first += samples;
  }
  return step.outcome(loss);
}

bool same(const Named& a, const Named& b) {
  if (!a.value.defined() || !b.value.defined()) return a.value.defined() == b.value.defined();
  return digest_of(a.value.contiguous()) == digest_of(b.value.contiguous());
}

/// Names of what differs.
std::vector<std::string> differences(const Outcome& a, const Outcome& b) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!same(a[i], b[i])) names.push_back(a[i].name);
  return names;
}

std::string context(std::uint64_t seed) {
  const RandomModel model = RandomModelMaker(seed, at::kCPU).make();
  return fmt::format("LOCKSTEP_RANDOM_MODEL={}: {}; micro-batches of {}", seed, model.description,
                     fmt::join(random_cuts(model.samples, seed), ", "));
}

bool draws_a_mask(std::uint64_t seed) {
  return RandomModelMaker(seed, at::kCPU).make().description.find("dropout") != std::string::npos;
}

class RandomModels : public OnEachDevice {
 protected:
  void SetUp() override {
    OnEachDevice::SetUp();
    at::set_num_threads(kThreads);
  }
  void TearDown() override { at::set_num_threads(threads_before_); }

 private:
  int threads_before_ = at::get_num_threads();
};

TEST_P(RandomModels, HaveOneOutcomeHoweverTheyAreComputed) {
  const InvariantMode mode;
  for (const std::uint64_t seed : seeds(device().is_cuda() ? 200 : 60)) {
    try {
      at::set_num_threads(kThreads);
      const Outcome expected = whole(seed, at::kCPU);
      EXPECT_TRUE(std::isfinite(expected[0].value.item<float>())) << context(seed);
      at::set_num_threads(kOtherThreads);
      for (const auto& [how, run] :
           {std::pair("whole", &whole), std::pair("in micro-batches", &accumulated)}) {
        const auto different = differences(run(seed, device()), expected);
        EXPECT_TRUE(different.empty())
            << context(seed) << "\n"
            << how << " on " << device() << ": " << fmt::format("{}", fmt::join(different, ", "));
      }
    } catch (const std::exception& error) {
      ADD_FAILURE() << context(seed) << "\n" << error.what();
    }
  }
}

/// A gradient can be the same on two devices, and wrong.
TEST_P(RandomModels, AreCloseToLibTorchs) {
  constexpr double kTolerance = 1e-3;
  const auto ours = [&](std::uint64_t seed) {
    const InvariantMode mode;
    return whole(seed, device());
  };
  for (const std::uint64_t seed : seeds(40)) {
    if (draws_a_mask(seed)) continue;
    const Outcome got = ours(seed), expected = whole(seed, at::kCPU);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const at::Tensor a = got[i].value.to(torch::kDouble), b = expected[i].value.to(torch::kDouble);
      EXPECT_LE((a - b).norm().item<double>(), kTolerance * b.norm().item<double>() + 1e-6)
          << context(seed) << "\n"
          << got[i].name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, RandomModels, testing::Values("cpu"));
INSTANTIATE_TEST_SUITE_P(Gpu, RandomModels, testing::Values("cuda"));

// ---- What is not so without the mode

/// LibTorch's own kernels, as deterministic as LibTorch can make them.
class LibTorchsDeterministicMode : public OnEachDevice {
 protected:
  void SetUp() override {
    OnEachDevice::SetUp();
    enforce_determinism(/*seed=*/0, kThreads);
  }
  void TearDown() override {
    at::globalContext().setDeterministicAlgorithms(false, false);
    at::globalContext().setDeterministicFillUninitializedMemory(true);
    at::set_num_threads(threads_before_);
  }

 private:
  int threads_before_ = at::get_num_threads();
};

TEST_P(LibTorchsDeterministicMode, HasOtherGradientsForOtherMicroBatches) {
  std::size_t compared = 0, differing = 0, repeated = 0;
  for (const std::uint64_t seed : seeds(device().is_cuda() ? 60 : 30)) {
    if (draws_a_mask(seed) || random_cuts(RandomModelMaker(seed, at::kCPU).make().samples, seed).size() < 2)
      continue;
    if (RandomModelMaker(seed, at::kCPU).make().counted) continue;  // shares are not those of the samples
    try {
      const Outcome once = whole(seed, device()), again = whole(seed, device()),
                    pieces = summed(seed, device());
      ++compared;
      repeated += differences(again, once).empty();
      const auto names = differences(pieces, once);
      differing += std::any_of(names.begin(), names.end(), [](const std::string& name) {
        return name.starts_with("gradient of parameter");
      });
    } catch (const c10::Error& error) {
      ASSERT_NE(std::string(error.what()).find("deterministic"), std::string::npos) << error.what();
    }
  }
  fmt::print("{} of {} models the same when repeated, {} differ when cut\n", repeated, compared, differing);
  EXPECT_GT(compared, 10u);
  EXPECT_GT(2 * repeated, compared);
  EXPECT_GT(2 * differing, compared) << "the comparison must be able to see a difference";
}

/// Rows of a product: alone, and among 1,024.
TEST_P(LibTorchsDeterministicMode, HasOtherRowsInOtherBatches) {
  const std::int64_t size = device().is_cuda() ? 4096 : 512;
  torch::manual_seed(1);
  const at::Tensor x = torch::randn({1024, size}).to(device()), w = torch::randn({size, size}).to(device());
  const auto different_batches = [&] {
    const at::Tensor all = torch::mm(x, w);
    std::vector<std::int64_t> sizes;
    for (const std::int64_t rows : {1, 2, 8, 33, 64, 128, 256, 512})
      if (!torch::mm(x.narrow(0, 0, rows), w).equal(all.narrow(0, 0, rows))) sizes.push_back(rows);
    return sizes;
  };
  const auto theirs = different_batches();
  fmt::print("rows that differ from those of 1,024: batches of {}\n", fmt::join(theirs, ", "));
  EXPECT_FALSE(theirs.empty()) << "the comparison must be able to see a difference";
  const InvariantMode mode;
  EXPECT_TRUE(different_batches().empty());
}

/// The gradient of a weight over 4,096 rows: in one backward, and as the sum of eight.
TEST_P(LibTorchsDeterministicMode, HasOtherGradientsOfAWeightInEightPieces) {
  constexpr std::int64_t kRows = 4096, kPieces = 8, kInputs = 96, kOutputs = 80;
  torch::manual_seed(2);
  const at::Tensor x = torch::randn({kRows, kInputs}).to(device()),
                   g = torch::randn({kRows, kOutputs}).to(device());
  const at::Tensor weight = torch::randn({kOutputs, kInputs}).to(device()).requires_grad_(true);
  const auto backward = [&](std::int64_t first, std::int64_t rows) {
    torch::linear(x.narrow(0, first, rows), weight).backward(g.narrow(0, first, rows));
  };
  const auto take = [&] { return std::exchange(weight.mutable_grad(), at::Tensor()); };
  backward(0, kRows);
  const at::Tensor whole = take();
  for (std::int64_t first = 0; first < kRows; first += kRows / kPieces) backward(first, kRows / kPieces);
  EXPECT_FALSE(take().equal(whole)) << "the comparison must be able to see a difference";

  const InvariantMode mode;
  backward(0, kRows);
  const at::Tensor folded = take();
  GradientAccumulator accumulator({weight});
  accumulator.begin(kRows);
  for (std::int64_t first = 0; first < kRows; first += kRows / kPieces) {
    const auto micro_batch = accumulator.micro_batch(first, kRows / kPieces);
    backward(first, kRows / kPieces);
  }
  accumulator.finish();
  EXPECT_TRUE(take().equal(folded));
}

INSTANTIATE_TEST_SUITE_P(Cpu, LibTorchsDeterministicMode, testing::Values("cpu"));
INSTANTIATE_TEST_SUITE_P(Gpu, LibTorchsDeterministicMode, testing::Values("cuda"));

}  // namespace
}  // namespace lockstep
