#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device_timing_internal.h"
#include "lockstep/optimizer/optimizer.h"
#include "lockstep/optimizer/optimizer_internal.h"
#include "lockstep/optimizer/optimizer_ref.h"

namespace {

struct State {
  explicit State(const benchmark::State& state)
      : count(state.range(0)),
        parameter(static_cast<std::size_t>(count), 1.5f),
        gradient(parameter),
        a(parameter),
        b(parameter) {}
  void report(benchmark::State& state) const { state.SetItemsProcessed(state.iterations() * count); }

  std::int64_t count;
  std::vector<float> parameter, gradient, a, b;
};

void adamw(benchmark::State& state) {
  State p(state);
  lockstep::AdamOptions options;
  options.decoupled_weight_decay = true;
  options.weight_decay = 0.1;
  const lockstep::AdamParameter one{p.parameter.data(), p.gradient.data(), p.a.data(),
                                    p.b.data(),         nullptr,           p.count};
  for (auto _ : state) lockstep::adam({&one, 1}, options, 10);
  p.report(state);
}

void adam_reference(benchmark::State& state) {
  State p(state);
  const auto factors = lockstep::optimizer::adam_factors({}, 10);
  for (auto _ : state) {
    lockstep::adam_ref<float>(p.parameter.data(), p.gradient.data(), p.a.data(), p.b.data(), nullptr,
                              p.gradient.size(), factors);
    benchmark::ClobberMemory();
  }
  p.report(state);
}

void sgd_with_momentum(benchmark::State& state) {
  State p(state);
  const lockstep::SgdParameter one{p.parameter.data(), p.gradient.data(), p.a.data(), p.count};
  for (auto _ : state) lockstep::sgd({&one, 1}, {1e-3, 0.9});
  p.report(state);
}

void gradient_norm(benchmark::State& state) {
  State p(state);
  const std::span<const float> one(p.gradient);
  for (auto _ : state) benchmark::DoNotOptimize(lockstep::gradient_norm({&one, 1}));
  p.report(state);
}

BENCHMARK(adamw)->Arg(1000)->Arg(1'000'000);
BENCHMARK(adam_reference)->Arg(1000)->Arg(1'000'000);
BENCHMARK(sgd_with_momentum)->Arg(1000)->Arg(1'000'000);
BENCHMARK(gradient_norm)->Arg(1000)->Arg(1'000'000);

// ---- CUDA, beside a copy of the device's memory

using lockstep::Device;
using lockstep::internal::DeviceArray;
using lockstep::internal::time_beside_device_copy;

/// The parameters of GPT-2, in tensors of 768 × 768.
struct DeviceState {
  static constexpr std::int64_t kTensors = 210, kCount = 768 * 768;

  DeviceState()
      : parameter(kTensors * kCount, 1.5f),
        gradient(kTensors * kCount, 0.5f),
        a(kTensors * kCount),
        b(kTensors * kCount) {
    for (std::int64_t i = 0; i < kTensors; ++i) {
      const std::int64_t at = i * kCount;
      all.push_back(
          {parameter.data() + at, gradient.data() + at, a.data() + at, b.data() + at, nullptr, kCount});
      gradients.emplace_back(gradient.data() + at, static_cast<std::size_t>(kCount));
      read.emplace_back(gradients.back());
    }
  }

  DeviceArray<float> parameter, gradient, a, b;
  std::vector<lockstep::AdamParameter> all;
  std::vector<std::span<float>> gradients;
  std::vector<std::span<const float>> read;
};

/// 28 bytes a parameter.
void cuda_adamw(benchmark::State& state) {
  const DeviceState p;
  lockstep::AdamOptions options;
  options.decoupled_weight_decay = true;
  options.weight_decay = 0.1;
  time_beside_device_copy(state, 7 * p.parameter.bytes(),
                          [&] { lockstep::adam(p.all, options, 10, Device::cuda); });
}

/// Gradients are read, then read and written.
void cuda_clip(benchmark::State& state) {
  const DeviceState p;
  const DeviceArray<float> norm(1), scratch(lockstep::gradient_norm_scratch_elements(p.read));
  time_beside_device_copy(state, 3 * p.gradient.bytes(), [&] {
    lockstep::clip_gradient_norm(p.gradients, 1.0f, norm.data(), scratch.data(), Device::cuda);
  });
}

const bool kCudaRegistered = [] {
  if (lockstep::cuda_device_count() == 0) return false;
  benchmark::RegisterBenchmark("cuda_adamw", cuda_adamw)->Iterations(1)->UseManualTime();
  benchmark::RegisterBenchmark("cuda_clip", cuda_clip)->Iterations(1)->UseManualTime();
  return true;
}();

}  // namespace
