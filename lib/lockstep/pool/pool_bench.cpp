#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/pool/pool.h"
#include "lockstep/pool/pool_ref.h"

namespace {

/// planes × size × size, windows of `kernel` × `kernel`, `stride` apart.
struct Problem {
  explicit Problem(const benchmark::State& state)
      : planes(state.range(0)),
        axis{state.range(1), state.range(2), state.range(3), (state.range(2) - 1) / 2},
        x(static_cast<std::size_t>(planes * axis.in * axis.in)),
        y(static_cast<std::size_t>(planes * axis.out() * axis.out()), 0.5f),
        indices(y.size()) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 2654435761u % 1000) / 100.0f;
  }
  void report(benchmark::State& state) const {
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(4 * x.size()));
  }
  void forward() { lockstep::max_pool({x.data(), y.data(), indices.data(), planes, axis, axis}); }

  std::int64_t planes;
  lockstep::PoolAxis axis;
  std::vector<float> x, y;
  std::vector<std::int64_t> indices;
};

void max_pool(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) p.forward();
  p.report(state);
}

void max_pool_reference(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state)
    lockstep::max_pool_ref<float>(p.x.data(), p.y.data(), p.indices.data(), p.planes, p.axis, p.axis);
  p.report(state);
}

void max_pool_backward(benchmark::State& state) {
  Problem p(state);
  p.forward();
  for (auto _ : state)
    lockstep::max_pool_backward({p.y.data(), p.indices.data(), p.x.data(), p.planes, p.axis, p.axis});
  p.report(state);
}

void average_pool(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) lockstep::average_pool({p.x.data(), p.y.data(), p.planes, p.axis, p.axis});
  p.report(state);
}

void average_pool_backward(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) lockstep::average_pool_backward({p.y.data(), p.x.data(), p.planes, p.axis, p.axis});
  p.report(state);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({1024, 28, 2, 2})->Args({1024, 56, 3, 2})->Args({1024, 28, 3, 1});
}

BENCHMARK(max_pool)->Apply(shapes);
BENCHMARK(max_pool_reference)->Args({1024, 28, 2, 2});
BENCHMARK(max_pool_backward)->Apply(shapes);
BENCHMARK(average_pool)->Apply(shapes);
BENCHMARK(average_pool_backward)->Apply(shapes);

}  // namespace
