#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/reduce/reduce.h"
#include "lockstep/reduce/reduce_ref.h"

namespace {

struct Problem {
  explicit Problem(const benchmark::State& state)
      : shape{state.range(0), state.range(1), state.range(2)},
        x(static_cast<std::size_t>(shape.outer * shape.axis * shape.inner), 1.5f),
        y(static_cast<std::size_t>(shape.outer * shape.inner)),
        index(y.size()) {}
  void report(benchmark::State& state) const {
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(x.size() * sizeof(float)));
  }

  lockstep::ReduceShape shape;
  std::vector<float> x, y;
  std::vector<std::int64_t> index;
};

void sum(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) lockstep::reduce_sum(p.x.data(), p.y.data(), p.shape);
  p.report(state);
}

void sum_reference(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) {
    for (std::size_t i = 0; i < p.y.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const float* const x =
          p.x.data() + at / p.shape.inner * p.shape.axis * p.shape.inner + at % p.shape.inner;
      p.y[i] =
          lockstep::reduce_sum_ref<float>(p.shape.axis, [&](std::int64_t j) { return x[j * p.shape.inner]; });
    }
    benchmark::ClobberMemory();
  }
  p.report(state);
}

void variance(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) lockstep::reduce_variance(p.x.data(), p.y.data(), nullptr, p.shape);
  p.report(state);
}

void max_with_index(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) lockstep::reduce_max(p.x.data(), p.y.data(), p.index.data(), p.shape);
  p.report(state);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({1024, 768, 1})->Args({16, 65'536, 1})->Args({32, 64, 256})->Args({8, 512, 384});
}

BENCHMARK(sum)->Apply(shapes);
BENCHMARK(sum_reference)->Apply(shapes);
BENCHMARK(variance)->Apply(shapes);
BENCHMARK(max_with_index)->Apply(shapes);

}  // namespace
