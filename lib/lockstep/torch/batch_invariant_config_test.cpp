#include "lockstep/torch/batch_invariant_config.h"

#include <ATen/autocast_mode.h>
#include <stdexcept>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/device.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/torch/environment.h"

namespace lockstep {
namespace {

using Settings = std::map<std::string, std::string>;

/// Everything that the configuration may touch, as text.
Settings settings() {
  Settings all = torch_environment();
  const at::Context& context = at::globalContext();
  const auto precision = [&](const char* name, at::Float32Backend backend, at::Float32Op op) {
    all[name] = at::precision2str(context.float32Precision(backend, op));
  };
  precision("generic", at::Float32Backend::GENERIC, at::Float32Op::ALL);
  precision("cuda", at::Float32Backend::CUDA, at::Float32Op::ALL);
  precision("cuda.conv", at::Float32Backend::CUDA, at::Float32Op::CONV);
  precision("cuda.rnn", at::Float32Backend::CUDA, at::Float32Op::RNN);
  precision("cuda.matmul", at::Float32Backend::CUDA, at::Float32Op::MATMUL);
  precision("mkldnn", at::Float32Backend::MKLDNN, at::Float32Op::ALL);
  precision("mkldnn.conv", at::Float32Backend::MKLDNN, at::Float32Op::CONV);
  precision("mkldnn.rnn", at::Float32Backend::MKLDNN, at::Float32Op::RNN);
  precision("mkldnn.matmul", at::Float32Backend::MKLDNN, at::Float32Op::MATMUL);
  all["mode"] = invariant_mode_enabled() ? "on" : "off";
  return all;
}

/// The default generator, and what it would draw next.
at::Tensor generator_state() {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  return generator.get_state();
}

/// Takes numbers from it, which the mode refuses.
at::Tensor draw(std::int64_t count) {
  const InvariantMode off(false);
  return torch::randn({count});
}

/// Puts LibTorch into a state that differs from its defaults in every switch; puts the defaults back.
class Unusual {
 public:
  Unusual() {
    context_.setDeterministicAlgorithms(true, /*warn_only=*/true);
    context_.setDeterministicFillUninitializedMemory(false);
    context_.setDeterministicMkldnn(false);
    context_.setBenchmarkCuDNN(true);
    context_.setFloat32MatmulPrecision("medium");
    at::autocast::set_autocast_enabled(at::kCPU, true);
    torch::set_default_dtype(caffe2::TypeMeta::Make<double>());
    at::set_num_threads(3);
    torch::manual_seed(7);
    draw(3);  // leaves half of a pair of normal numbers in the generator
  }
  ~Unusual() {
    context_.setDeterministicAlgorithms(false, false);
    context_.setDeterministicFillUninitializedMemory(true);
    context_.setBenchmarkCuDNN(false);
    context_.setFloat32MatmulPrecision("highest");
    at::autocast::set_autocast_enabled(at::kCPU, false);
    torch::set_default_dtype(caffe2::TypeMeta::Make<float>());
    at::set_num_threads(threads_);
  }

 private:
  at::Context& context_ = at::globalContext();
  int threads_ = at::get_num_threads();
};

void expect_set(int threads) {
  const Settings now = settings();
  EXPECT_EQ(now.at("torch.deterministic_algorithms"), "on");
  EXPECT_EQ(now.at("torch.fill_uninitialized_memory"), "on");
  EXPECT_EQ(now.at("torch.deterministic_onednn"), "on");
  EXPECT_EQ(now.at("torch.cudnn.deterministic"), "on");
  EXPECT_EQ(now.at("torch.cudnn.benchmark"), "off");
  EXPECT_EQ(now.at("torch.tf32.cublas"), "off");
  EXPECT_EQ(now.at("torch.tf32.cudnn"), "off");
  EXPECT_EQ(now.at("torch.float32_matmul_precision"), "highest");
  EXPECT_EQ(now.at("torch.fp16_reduced_sums"), "off");
  EXPECT_EQ(now.at("torch.bf16_reduced_sums"), "off");
  EXPECT_EQ(now.at("torch.autocast.cpu"), "off");
  EXPECT_EQ(now.at("torch.default_dtype"), "float");
  EXPECT_EQ(now.at("torch.threads"), std::to_string(threads));
  EXPECT_EQ(now.at("mode"), "on");
  for (const char* name :
       {"generic", "cuda.conv", "cuda.rnn", "cuda.matmul", "mkldnn.conv", "mkldnn.matmul"}) {
    EXPECT_NE(now.at(name), "tf32") << name;
    EXPECT_NE(now.at(name), "bf16") << name;
  }
}

const BatchInvariantOptions kOptions{true, "fp32", 42, true, 2};

TEST(BatchInvariantConfig, SetsEverySwitchAndRestoresItExactly) {
  const Unusual unusual;
  const Settings before = settings();
  const at::Tensor state = generator_state();
  {
    const BatchInvariantConfig config(kOptions);
    expect_set(2);
    EXPECT_EQ(config.options().manual_seed, 42);
    draw(100);
  }
  EXPECT_EQ(settings(), before);
  EXPECT_TRUE(generator_state().equal(state));
}

TEST(BatchInvariantConfig, RestoresAfterAnException) {
  const Unusual unusual;
  const Settings before = settings();
  const at::Tensor state = generator_state();
  EXPECT_THROW(
      {
        const BatchInvariantConfig config(kOptions);
        draw(100);
        throw std::runtime_error("from the inside");
      },
      std::runtime_error);
  EXPECT_EQ(settings(), before);
  EXPECT_TRUE(generator_state().equal(state));
}

TEST(BatchInvariantConfig, Nests) {
  const Unusual unusual;
  const Settings before = settings();
  const at::Tensor state = generator_state();
  {
    const BatchInvariantConfig outer({.threads = 1});
    const Settings between = settings();
    const at::Tensor inner_state = generator_state();
    {
      const BatchInvariantConfig inner(kOptions);
      expect_set(2);
      draw(5);
    }
    EXPECT_EQ(settings(), between);
    EXPECT_TRUE(generator_state().equal(inner_state));
    expect_set(1);
  }
  EXPECT_EQ(settings(), before);
  EXPECT_TRUE(generator_state().equal(state));
}

TEST(BatchInvariantConfig, SeedsAsManualSeedDoes) {
  torch::manual_seed(42);
  const at::Tensor expected = draw(8);
  const BatchInvariantConfig config({.manual_seed = 42});
  EXPECT_TRUE(draw(8).equal(expected));
}

TEST(BatchInvariantConfig, LeavesAloneWhatIsNotAskedFor) {
  const Settings before = settings();
  const at::Tensor state = generator_state();
  const BatchInvariantConfig config({.enforce_deterministic_algorithms = false});
  const Settings now = settings();
  for (const char* name : {"torch.deterministic_algorithms", "torch.deterministic_onednn", "torch.threads"})
    EXPECT_EQ(now.at(name), before.at(name)) << name;
  EXPECT_TRUE(generator_state().equal(state));
}

TEST(BatchInvariantConfig, APrecisionThatFollowsItsParentFollowsItAgain) {
  at::Context& context = at::globalContext();
  const auto mkldnn = [&] {
    return context.float32Precision(at::Float32Backend::MKLDNN, at::Float32Op::CONV);
  };
  context.setFloat32Precision(at::Float32Backend::MKLDNN, at::Float32Op::CONV, at::Float32Precision::NONE);
  context.setFloat32Precision(at::Float32Backend::MKLDNN, at::Float32Op::ALL, at::Float32Precision::BF16);
  {
    const BatchInvariantConfig config;
    EXPECT_EQ(mkldnn(), at::Float32Precision::IEEE);
  }
  EXPECT_EQ(mkldnn(), at::Float32Precision::BF16);
  context.setFloat32Precision(at::Float32Backend::MKLDNN, at::Float32Op::ALL, at::Float32Precision::NONE);
  EXPECT_EQ(mkldnn(), at::Float32Precision::NONE);
}

TEST(BatchInvariantConfig, OlderAndNewerSwitchesThatDisagreeStayAsTheyAre) {
  at::Context& context = at::globalContext();
  context.setFloat32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL, at::Float32Precision::TF32);
  EXPECT_THROW(context.allowTF32CuBLAS(), c10::Error);
  {
    const BatchInvariantConfig config;
    EXPECT_FALSE(context.allowTF32CuBLAS());
  }
  EXPECT_THROW(context.allowTF32CuBLAS(), c10::Error);
  context.setFloat32MatmulPrecision("highest");
}

TEST(BatchInvariantConfig, RefusesInWordsAndChangesNothing) {
  const Unusual unusual;
  const Settings before = settings();
  for (const char* precision : {"bf16", "fp16", "float16", "bfloat16"})
    expect_error(ErrorCode::unsupported, "tensor cores",
                 [&] { const BatchInvariantConfig config({.precision = precision}); });
  for (const char* precision : {"fp8", "", "FP32 "})
    expect_error(ErrorCode::invalid_argument, "precision: expected fp32",
                 [&] { const BatchInvariantConfig config({.precision = precision}); });
  if (cuda_device_count() == 0)
    expect_error(ErrorCode::unsupported, "force_cpu",
                 [&] { const BatchInvariantConfig config({.force_cpu = false}); });
  expect_error(ErrorCode::invalid_argument, "threads",
               [&] { const BatchInvariantConfig config({.threads = -1}); });
  EXPECT_EQ(settings(), before);
}

}  // namespace
}  // namespace lockstep
