// The array functions against a loop over libm's float functions, pair by pair.

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device_timing_internal.h"
#include "lockstep/base/paired_timing_internal.h"
#include "lockstep/math/math.h"

namespace {

constexpr std::size_t kCount = 8192;

struct Function {
  const char* name;
  void (*on)(const float*, float*, std::int64_t, lockstep::Device, void*);
  float (*libm)(float);
  float low, high;
};

const Function kFunctions[] = {
    {"exp", lockstep::math::exp, std::exp, -20, 20},
    {"exp2", lockstep::math::exp2, std::exp2, -20, 20},
    {"expm1", lockstep::math::expm1, std::expm1, -5, 5},
    {"log", lockstep::math::log, std::log, 0.01f, 100},
    {"log2", lockstep::math::log2, std::log2, 0.01f, 100},
    {"log1p", lockstep::math::log1p, std::log1p, -0.9f, 10},
    {"tanh", lockstep::math::tanh, std::tanh, -5, 5},
    {"erf", lockstep::math::erf, std::erf, -3, 3},
    {"sin", lockstep::math::sin, std::sin, -100, 100},
    {"cos", lockstep::math::cos, std::cos, -100, 100},
    {"sigmoid", lockstep::math::sigmoid, [](float x) { return 1 / (1 + std::exp(-x)); }, -10, 10},
    {"sqrt", lockstep::math::sqrt, [](float x) { return std::sqrt(x); }, 0.01f, 100},
    {"rsqrt", lockstep::math::rsqrt, [](float x) { return 1 / std::sqrt(x); }, 0.01f, 100},
};

void compare(benchmark::State& state, const Function& function) {
  std::vector<float> x(kCount), ours(kCount), theirs(kCount);
  for (std::size_t i = 0; i < kCount; ++i)
    x[i] = function.low + (function.high - function.low) * static_cast<float>(i) / static_cast<float>(kCount);
  for (auto _ : state) {
    const auto ratio = lockstep::internal::time_pairs(
        [&] {
          function.on(x.data(), ours.data(), static_cast<std::int64_t>(kCount), lockstep::Device::cpu,
                      nullptr);
          benchmark::ClobberMemory();
        },
        [&] {
          for (std::size_t i = 0; i < kCount; ++i) theirs[i] = function.libm(x[i]);
          benchmark::ClobberMemory();
        },
        lockstep::internal::Clock::thread);
    state.SetIterationTime(ratio.operation_seconds);
    state.counters["ns"] = 1e9 * ratio.operation_seconds / static_cast<double>(kCount);
    state.counters["libm_ns"] = 1e9 * ratio.rival_seconds / static_cast<double>(kCount);
    state.counters["ratio"] = ratio.median;
    state.counters["ratio_low"] = ratio.low;
    state.counters["ratio_high"] = ratio.high;
  }
}

/// The CUDA twin, beside a copy of the device's memory.
void compare_on_device(benchmark::State& state, const Function& function) {
  constexpr std::int64_t kOnDevice = std::int64_t{1} << 27;
  std::vector<float> values(static_cast<std::size_t>(kOnDevice));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] =
        function.low + (function.high - function.low) * static_cast<float>(i * 2654435761u % 1000) * 0.001f;
  const std::size_t bytes = values.size() * sizeof(float);
  lockstep::DeviceBuffer x(bytes), y(bytes);
  x.copy_from_host(values.data());
  lockstep::internal::time_beside_device_copy(state, 2 * bytes, [&] {
    function.on(static_cast<const float*>(x.data()), static_cast<float*>(y.data()), kOnDevice,
                lockstep::Device::cuda, nullptr);
  });
}

const bool kRegistered = [] {
  for (const Function& function : kFunctions) {
    benchmark::RegisterBenchmark(function.name,
                                 [&function](benchmark::State& state) { compare(state, function); })
        ->Iterations(1)
        ->UseManualTime();
    if (lockstep::cuda_device_count() == 0) continue;
    benchmark::RegisterBenchmark((std::string("cuda_") + function.name).c_str(),
                                 [&function](benchmark::State& state) { compare_on_device(state, function); })
        ->Iterations(1)
        ->UseManualTime();
  }
  return true;
}();

}  // namespace
