#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/norm/norm.h"
#include "lockstep/norm/norm_ref.h"

namespace {

struct Problem {
  explicit Problem(const benchmark::State& state)
      : rows(state.range(0)),
        features(state.range(1)),
        x(static_cast<std::size_t>(rows * features)),
        dy(x.size(), 0.5f),
        y(x.size()),
        gamma(static_cast<std::size_t>(features), 1.5f),
        beta(gamma),
        dgamma(gamma.size()),
        dbeta(gamma.size()),
        mean(static_cast<std::size_t>(rows)),
        rstd(mean) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 2654435761u % 1000) / 100.0f;
  }
  void report(benchmark::State& state) const {
    state.SetItemsProcessed(state.iterations() * rows * features);
  }
  void forward() {
    lockstep::layer_norm(
        {x.data(), gamma.data(), beta.data(), y.data(), mean.data(), rstd.data(), rows, features});
  }

  std::int64_t rows, features;
  std::vector<float> x, dy, y, gamma, beta, dgamma, dbeta, mean, rstd;
};

void layer_norm(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) p.forward();
  p.report(state);
}

void layer_norm_reference(benchmark::State& state) {
  Problem p(state);
  const auto at = [](const std::vector<float>& v) {
    return [&v](std::int64_t j) { return v[static_cast<std::size_t>(j)]; };
  };
  for (auto _ : state) {
    for (std::int64_t r = 0; r < p.rows; ++r) {
      const auto row = static_cast<std::size_t>(r);
      lockstep::norm_row_ref<float>(p.x.data() + r * p.features, at(p.gamma), at(p.beta),
                                    p.y.data() + r * p.features, p.mean[row], p.rstd[row], p.features, 1e-5f,
                                    true);
    }
    benchmark::ClobberMemory();
  }
  p.report(state);
}

void layer_norm_backward(benchmark::State& state) {
  Problem p(state);
  p.forward();
  for (auto _ : state)
    lockstep::layer_norm_backward({p.dy.data(),
                                   p.x.data(),
                                   p.mean.data(),
                                   p.rstd.data(),
                                   p.gamma.data(),
                                   p.y.data(),
                                   {p.dgamma.data(), nullptr},
                                   {p.dbeta.data(), nullptr},
                                   {0, p.rows, true},
                                   p.features});
  p.report(state);
}

void rms_norm(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state)
    lockstep::rms_norm({p.x.data(), p.gamma.data(), p.y.data(), p.rstd.data(), p.rows, p.features});
  p.report(state);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({2048, 384})->Args({4096, 64})->Args({64, 9000});
}

BENCHMARK(layer_norm)->Apply(shapes);
BENCHMARK(layer_norm_reference)->Apply(shapes);
BENCHMARK(layer_norm_backward)->Apply(shapes);
BENCHMARK(rms_norm)->Apply(shapes);

}  // namespace
