// Rates of the products that training meets, beside the processor's own rate of fma.

#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device.h"
#include "lockstep/matmul/matmul.h"
#include "lockstep/matmul/tile_internal.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/targets.h"

namespace {

using lockstep::ConstMatrix;
using lockstep::Matrix;

struct Problem {
  explicit Problem(const benchmark::State& state)
      : m(state.range(0)),
        n(state.range(1)),
        k(state.range(2)),
        a(static_cast<std::size_t>(m * k), 1.25f),
        b(static_cast<std::size_t>(k * n), 0.75f),
        c(static_cast<std::size_t>(m * n)) {
    lockstep::parallel::set_thread_count(1);
  }

  void count(benchmark::State& state) const {
    const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
    state.counters["GFLOP/s"] = benchmark::Counter(1e-9 * flops * static_cast<double>(state.iterations()),
                                                   benchmark::Counter::kIsRate);
  }

  std::int64_t m, n, k;
  std::vector<float> a, b, c;
};

void product(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state)
    lockstep::matmul({p.a.data(), p.m, p.k, p.k, 1}, {p.b.data(), p.k, p.n, p.n, 1},
                     {p.c.data(), p.m, p.n, p.n, 1});
  p.count(state);
}

void product_transposed(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state)
    lockstep::matmul({p.a.data(), p.m, p.k, p.k, 1}, {p.b.data(), p.k, p.n, 1, p.k},
                     {p.c.data(), p.m, p.n, p.n, 1});
  p.count(state);
}

/// k is the rows that are folded.
void fold(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state)
    lockstep::matmul_fold({p.a.data(), p.k, p.m, p.m, 1}, {p.b.data(), p.k, p.n, p.n, 1}, {0, p.k, true},
                          {p.c.data(), p.m, p.n, p.n, 1}, nullptr);
  p.count(state);
}

/// Chains over a tile whose operands lie in the first cache: what no product exceeds.
void peak(benchmark::State& state) {
  const auto& forms = lockstep::matmul_internal::forms();
  const std::int64_t rows = forms.tile_rows, depth = 128;
  int width_index = lockstep::matmul_internal::kWidths - 1;
  while (forms.chain[rows - 1][width_index] == nullptr) --width_index;
  const std::int64_t width = std::int64_t{forms.lanes} << width_index;
  std::vector<float> left(static_cast<std::size_t>(rows * depth), 1.25f);
  std::vector<float> right(static_cast<std::size_t>(width * depth), 0.75f);
  std::vector<float> tile(static_cast<std::size_t>(rows * width));
  for (auto _ : state) {
    forms.chain[rows - 1][width_index](depth, left.data(), rows, right.data(), width, tile.data(), false, {});
    benchmark::ClobberMemory();
  }
  state.counters["GFLOP/s"] = benchmark::Counter(
      2e-9 * static_cast<double>(rows * width * depth) * static_cast<double>(state.iterations()),
      benchmark::Counter::kIsRate);
}

/// On a CUDA device: a · b with b as it lies, a · bᵀ, and the fold aᵀ · b over k rows.
enum class Layout { product, transposed, fold };

template <Layout layout>
void cuda(benchmark::State& state) {
  if (lockstep::cuda_device_count() == 0) return state.SkipWithError(lockstep::cuda_trouble().c_str());
  const std::int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  const auto memory = [](std::int64_t elements) {
    return lockstep::DeviceBuffer(static_cast<std::size_t>(elements) * sizeof(float));
  };
  const lockstep::DeviceBuffer a = memory(m * k), b = memory(k * n), c = memory(m * n), mark(sizeof(float));
  lockstep::DeviceBuffer scratch(lockstep::kMatmulScratchBytes);
  scratch.copy_from_host(std::vector<char>(lockstep::kMatmulScratchBytes).data());
  const auto* const left = static_cast<const float*>(a.data());
  const auto* const right = static_cast<const float*>(b.data());
  const Matrix out{static_cast<float*>(c.data()), m, n, n, 1};
  const auto run = [&] {
    if (layout == Layout::fold)
      lockstep::matmul_fold({left, k, m, m, 1}, {right, k, n, n, 1}, {0, k, true}, out, nullptr,
                            lockstep::Device::cuda, nullptr, scratch.data());
    else
      lockstep::matmul(
          {left, m, k, k, 1},
          layout == Layout::product ? ConstMatrix{right, k, n, n, 1} : ConstMatrix{right, k, n, 1, k}, out,
          {}, lockstep::Device::cuda, nullptr, scratch.data());
  };
  constexpr int kCalls = 10;  // for one wait
  float last = 0;
  run();
  mark.copy_to_host(&last);
  for (auto _ : state) {
    for (int i = 0; i < kCalls; ++i) run();
    mark.copy_to_host(&last);  // waits
  }
  const double flops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  state.counters["TFLOP/s"] = benchmark::Counter(
      1e-12 * flops * kCalls * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

void cuda_shapes(benchmark::internal::Benchmark* bench) {
  bench->UseRealTime()->Args({4096, 4096, 4096})->Args({8192, 8192, 8192})->Args({1024, 1024, 1024});
  for (const std::int64_t rows : {1, 8, 33}) bench->Args({rows, 4096, 4096});
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({512, 512, 512})->Args({1024, 1024, 1024})->Args({4096, 3072, 768});
  bench->Args({1, 1024, 1024})->Args({8, 1024, 1024})->Args({33, 1024, 1024});
  bench->Args({16, 16, 16})->Args({64, 64, 64})->Args({4096, 10, 768});
}

BENCHMARK(peak);
BENCHMARK(product)->Apply(shapes);
BENCHMARK(product_transposed)->Apply(shapes);
BENCHMARK(fold)->Args({1024, 1024, 1024})->Args({3072, 768, 4096})->Args({16, 27, 1 << 18});

BENCHMARK(cuda<Layout::product>)->Apply(cuda_shapes)->Args({32768, 768, 3072});
BENCHMARK(cuda<Layout::transposed>)->Apply(cuda_shapes)->Args({32768, 3072, 768});
BENCHMARK(cuda<Layout::fold>)->UseRealTime()->Args({3072, 768, 32768})->Args({768, 768, 32768});

}  // namespace
