#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/conv/conv.h"
#include "lockstep/conv/conv_ref.h"

namespace {

/// samples × channels × size × size, filters of 3 × 3, padded.
struct Problem {
  explicit Problem(const benchmark::State& state)
      : g{state.range(0), state.range(1), state.range(2), state.range(2), state.range(3), 3, 3, 1, 1, 1, 1},
        x(static_cast<std::size_t>(g.samples * g.in_channels * g.in_h * g.in_w)),
        y(static_cast<std::size_t>(g.samples * g.out_channels * g.out_pixels()), 0.5f),
        weight(static_cast<std::size_t>(g.out_channels * g.taps()), 0.25f),
        bias(static_cast<std::size_t>(g.out_channels)) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 2654435761u % 1000) / 100.0f;
  }
  void report(benchmark::State& state) const {
    const auto terms = static_cast<double>(y.size()) * static_cast<double>(g.taps());
    state.counters["flop"] =
        benchmark::Counter(2 * terms * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
  }

  lockstep::ConvGeometry g;
  std::vector<float> x, y, weight, bias;
};

void conv(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) lockstep::conv({p.x.data(), p.weight.data(), p.bias.data(), p.y.data(), p.g});
  p.report(state);
}

void conv_reference(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) lockstep::conv_ref<float>(p.x.data(), p.weight.data(), p.bias.data(), p.y.data(), p.g);
  p.report(state);
}

void conv_input_gradient(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) lockstep::conv_input_gradient({p.y.data(), p.weight.data(), p.x.data(), p.g});
  p.report(state);
}

void conv_weight_gradient(benchmark::State& state) {
  Problem p(state);
  const std::int64_t rows = p.g.samples * p.g.out_pixels();
  for (auto _ : state)
    lockstep::conv_weight_gradient(
        {p.y.data(), p.x.data(), {p.weight.data()}, {p.bias.data()}, {0, rows, true}, p.g});
  p.report(state);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({64, 1, 28, 16})->Args({64, 16, 14, 32})->Args({16, 64, 28, 64});
}

BENCHMARK(conv)->Apply(shapes);
BENCHMARK(conv_reference)->Args({4, 16, 14, 32});
BENCHMARK(conv_input_gradient)->Apply(shapes);
BENCHMARK(conv_weight_gradient)->Apply(shapes);

}  // namespace
