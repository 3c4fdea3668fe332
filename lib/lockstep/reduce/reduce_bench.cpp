#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device_timing_internal.h"
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

// ---- CUDA, beside a copy of the device's memory

using lockstep::Device;
using lockstep::internal::DeviceArray;
using lockstep::internal::time_beside_device_copy;

/// operation(x, y, index, shape) reads x.
template <class Operation>
void add_cuda(const char* name, Operation operation) {
  const auto run = [=](benchmark::State& state) {
    const lockstep::ReduceShape shape{state.range(0), state.range(1), state.range(2)};
    const DeviceArray<float> x(shape.outer * shape.axis * shape.inner, 1.5f), y(shape.outer * shape.inner);
    const DeviceArray<std::int64_t> index(shape.outer * shape.inner);
    time_beside_device_copy(state, x.bytes() + y.bytes(),
                            [&] { operation(x.data(), y.data(), index.data(), shape); });
  };
  benchmark::RegisterBenchmark(name, run)
      ->Args({1 << 20, 100, 1})
      ->Args({32'768, 4096, 1})
      ->Args({512, 262'144, 1})
      ->Args({256, 256, 1024})
      ->Iterations(1)
      ->UseManualTime();
}

const bool kCudaRegistered = [] {
  if (lockstep::cuda_device_count() == 0) return false;
  add_cuda("cuda_reduce_sum",
           [](const float* x, float* y, std::int64_t*, const lockstep::ReduceShape& shape) {
             lockstep::reduce_sum(x, y, shape, Device::cuda);
           });
  add_cuda("cuda_reduce_variance",
           [](const float* x, float* y, std::int64_t*, const lockstep::ReduceShape& shape) {
             lockstep::reduce_variance(x, y, nullptr, shape, 1, Device::cuda);
           });
  add_cuda("cuda_reduce_max",
           [](const float* x, float* y, std::int64_t* index, const lockstep::ReduceShape& shape) {
             lockstep::reduce_max(x, y, index, shape, Device::cuda);
           });
  return true;
}();

}  // namespace
