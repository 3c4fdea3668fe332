#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/row_sum/row_sum.h"
#include "lockstep/row_sum/row_sum_ref.h"

namespace {

struct Problem {
  explicit Problem(const benchmark::State& state)
      : cols(state.range(1)),
        x(static_cast<std::size_t>(state.range(0) * cols), 1.5f),
        y(x.size(), 0.5f),
        total(static_cast<std::size_t>(cols)) {
    span.rows = state.range(0);
  }
  void report(benchmark::State& state) const {
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(x.size() * sizeof(float)));
  }

  std::int64_t cols;
  lockstep::order::FoldSpan span;
  std::vector<float> x, y;
  std::vector<double> total;
};

void sum(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) lockstep::row_sum_fold(p.x.data(), p.cols, p.cols, p.span, p.total.data(), nullptr);
  p.report(state);
}

void sum_reference(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) {
    lockstep::row_sum_fold_ref(p.x.data(), p.cols, p.cols, p.span, p.total.data(), nullptr);
    benchmark::ClobberMemory();
  }
  p.report(state);
}

void product_sum(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state)
    lockstep::row_product_sum_fold(p.x.data(), p.cols, p.y.data(), p.cols, p.cols, p.span, p.total.data(),
                                   nullptr);
  p.report(state);
}

void product_sum_reference(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) {
    lockstep::row_product_sum_fold_ref(p.x.data(), p.cols, p.y.data(), p.cols, p.cols, p.span, p.total.data(),
                                       nullptr);
    benchmark::ClobberMemory();
  }
  p.report(state);
}

void shapes(benchmark::internal::Benchmark* benchmark) {
  for (const auto& [rows, cols] : {std::pair{64, 128}, {2048, 384}, {262'144, 16}, {1'048'576, 1}})
    benchmark->Args({rows, cols});
}
BENCHMARK(sum)->Apply(shapes);
BENCHMARK(sum_reference)->Apply(shapes);
BENCHMARK(product_sum)->Apply(shapes);
BENCHMARK(product_sum_reference)->Apply(shapes);

}  // namespace
