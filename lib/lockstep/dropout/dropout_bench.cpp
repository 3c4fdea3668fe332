#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device_timing_internal.h"
#include "lockstep/dropout/dropout.h"
#include "lockstep/dropout/dropout_ref.h"

namespace {

constexpr lockstep::DropoutDraw kDraw{42, 1, 2, 3};

void dropout(benchmark::State& state) {
  const std::vector<float> x(static_cast<std::size_t>(state.range(0) * state.range(1)), 1.5f);
  std::vector<float> y(x.size());
  for (auto _ : state) lockstep::dropout(x.data(), y.data(), state.range(0), state.range(1), 0.1, kDraw);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(x.size()));
}

void dropout_reference(benchmark::State& state) {
  const std::vector<float> x(static_cast<std::size_t>(state.range(0) * state.range(1)), 1.5f);
  std::vector<float> y(x.size());
  for (auto _ : state) {
    lockstep::dropout_ref(x.data(), y.data(), state.range(0), state.range(1), 0.1, kDraw);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(x.size()));
}

BENCHMARK(dropout)->Args({64, 784})->Args({8, 98'304});
BENCHMARK(dropout_reference)->Args({64, 784})->Args({8, 98'304});

// ---- CUDA, beside a copy of the device's memory

void cuda_dropout(benchmark::State& state) {
  if (lockstep::cuda_device_count() == 0) return state.SkipWithError(lockstep::cuda_trouble().c_str());
  const std::int64_t samples = state.range(0), elements = state.range(1);
  const std::vector<float> ones(static_cast<std::size_t>(samples * elements), 1.5f);
  const std::size_t bytes = ones.size() * sizeof(float);
  lockstep::DeviceBuffer x(bytes), y(bytes);
  x.copy_from_host(ones.data());
  lockstep::internal::time_beside_device_copy(state, 2 * bytes, [&] {
    lockstep::dropout(static_cast<const float*>(x.data()), static_cast<float*>(y.data()), samples, elements,
                      0.1, kDraw, lockstep::Device::cuda);
  });
}
BENCHMARK(cuda_dropout)
    ->Args({1024, 98'304})
    ->Args({100'000, 784})
    ->Args({100'000, 785})
    ->Iterations(1)
    ->UseManualTime();

}  // namespace
