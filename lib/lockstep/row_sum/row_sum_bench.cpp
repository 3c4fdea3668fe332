#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device_timing_internal.h"
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

// ---- CUDA, beside a copy of the device's memory

using lockstep::Device;
using lockstep::internal::DeviceArray;
using lockstep::internal::time_beside_device_copy;

void on_device(benchmark::State& state, bool is_product) {
  const std::int64_t rows = state.range(0), cols = state.range(1);
  const lockstep::order::FoldSpan span{0, rows, true};
  const DeviceArray<float> x(rows * cols, 1.5f), y(is_product ? rows * cols : 0, 0.5f);
  const DeviceArray<double> total(cols), scratch(lockstep::row_sum_scratch_elements(cols, span) + 1);
  time_beside_device_copy(state, x.bytes() + y.bytes(), [&] {
    if (is_product)
      lockstep::row_product_sum_fold(x.data(), cols, y.data(), cols, cols, span, total.data(), nullptr,
                                     Device::cuda, nullptr, scratch.data());
    else
      lockstep::row_sum_fold(x.data(), cols, cols, span, total.data(), nullptr, Device::cuda, nullptr,
                             scratch.data());
  });
}

const bool kCudaRegistered = [] {
  if (lockstep::cuda_device_count() == 0) return false;
  const auto add = [](const char* name, bool is_product) {
    benchmark::RegisterBenchmark(name, [=](benchmark::State& state) { on_device(state, is_product); })
        ->Args({32'768, 768})
        ->Args({32'768, 3072})
        ->Args({1 << 20, 100})
        ->Iterations(1)
        ->UseManualTime();
  };
  add("cuda_row_sum", false);
  add("cuda_row_product_sum", true);
  return true;
}();

}  // namespace
