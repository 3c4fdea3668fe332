#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device.h"
#include "lockstep/base/device_timing_internal.h"
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

// ---- CUDA, beside a copy of the device's memory

/// As Problem, in the device's memory.
struct DeviceProblem {
  explicit DeviceProblem(const benchmark::State& state)
      : host(state),
        x(host.x.size() * sizeof(float)),
        y(host.y.size() * sizeof(float)),
        indices(host.indices.size() * sizeof(std::int64_t)) {
    x.copy_from_host(host.x.data());
    y.copy_from_host(host.y.data());
    forward();
  }
  float* image() const { return static_cast<float*>(x.data()); }
  float* result() const { return static_cast<float*>(y.data()); }
  std::int64_t* winners() const { return static_cast<std::int64_t*>(indices.data()); }
  void forward() const {
    lockstep::max_pool({image(), result(), winners(), host.planes, host.axis, host.axis},
                       lockstep::Device::cuda);
  }

  Problem host;
  lockstep::DeviceBuffer x, y, indices;
};

void cuda_max_pool(benchmark::State& state) {
  const DeviceProblem p(state);
  lockstep::internal::time_beside_device_copy(state, p.x.bytes() + p.y.bytes() + p.indices.bytes(),
                                              [&] { p.forward(); });
}

void cuda_max_pool_backward(benchmark::State& state) {
  const DeviceProblem p(state);
  lockstep::internal::time_beside_device_copy(state, p.x.bytes() + p.y.bytes() + p.indices.bytes(), [&] {
    lockstep::max_pool_backward({p.result(), p.winners(), p.image(), p.host.planes, p.host.axis, p.host.axis},
                                lockstep::Device::cuda);
  });
}

void cuda_average_pool(benchmark::State& state) {
  const DeviceProblem p(state);
  lockstep::internal::time_beside_device_copy(state, p.x.bytes() + p.y.bytes(), [&] {
    lockstep::average_pool({p.image(), p.result(), p.host.planes, p.host.axis, p.host.axis},
                           lockstep::Device::cuda);
  });
}

void cuda_average_pool_backward(benchmark::State& state) {
  const DeviceProblem p(state);
  lockstep::internal::time_beside_device_copy(state, p.x.bytes() + p.y.bytes(), [&] {
    lockstep::average_pool_backward({p.result(), p.image(), p.host.planes, p.host.axis, p.host.axis},
                                    lockstep::Device::cuda);
  });
}

/// The first is the CNN's; the others are large enough for the memory's speed.
void cuda_shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({1024, 28, 2, 2})->Args({65536, 28, 2, 2})->Args({16384, 56, 3, 2})->Args({65536, 28, 3, 1});
  bench->Iterations(1)->UseManualTime();
}

const bool kRegistered = [] {
  if (lockstep::cuda_device_count() == 0) return false;
  benchmark::RegisterBenchmark("cuda_max_pool", cuda_max_pool)->Apply(cuda_shapes);
  benchmark::RegisterBenchmark("cuda_max_pool_backward", cuda_max_pool_backward)->Apply(cuda_shapes);
  benchmark::RegisterBenchmark("cuda_average_pool", cuda_average_pool)->Apply(cuda_shapes);
  benchmark::RegisterBenchmark("cuda_average_pool_backward", cuda_average_pool_backward)->Apply(cuda_shapes);
  return true;
}();

}  // namespace
