#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

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

}  // namespace
