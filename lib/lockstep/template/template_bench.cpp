#include <cstdint>
#include <numeric>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/template/template.h"
#include "lockstep/template/template_ref.h"

namespace {

using lockstep::Device;
using lockstep::DType;
using lockstep::Shape;

struct Problem {
  explicit Problem(const benchmark::State& state)
      : rows(state.range(0)),
        features(state.range(1)),
        x(static_cast<std::size_t>(rows * features), 1.5f),
        y(rows) {}

  void count(benchmark::State& state) const {
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(x.size() * sizeof(float)));
  }

  std::int64_t rows;
  std::int64_t features;
  std::vector<float> x;
  std::vector<float> y;
};

void lane_sum(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) {
    lockstep::template_op({p.x.data(), DType::float32, Shape{p.rows, p.features}, Device::cpu},
                          {p.y.data(), DType::float32, Shape{p.rows}, Device::cpu});
    benchmark::ClobberMemory();
  }
  p.count(state);
}

void lane_sum_reference(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) {
    lockstep::template_op_ref(p.x.data(), p.y.data(), p.y.size(), static_cast<std::size_t>(p.features));
    benchmark::ClobberMemory();
  }
  p.count(state);
}

// The rival: one chain, as a loop over std::vector would add.
void plain_sum(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) {
    for (std::int64_t r = 0; r < p.rows; ++r) {
      const auto first = p.x.begin() + r * p.features;
      p.y[static_cast<std::size_t>(r)] = std::accumulate(first, first + p.features, 0.0f);
    }
    benchmark::ClobberMemory();
  }
  p.count(state);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({4096, 64})->Args({1024, 1024})->Args({128, 8192})->Args({64, 65536});
}

BENCHMARK(lane_sum)->Apply(shapes);
BENCHMARK(lane_sum_reference)->Apply(shapes);
BENCHMARK(plain_sum)->Apply(shapes);

}  // namespace
