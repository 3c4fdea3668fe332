#include <cstddef>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device.h"
#include "lockstep/base/device_timing_internal.h"
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

// ---- GroupNorm on CUDA, beside a copy of the device's memory

/// samples × channels × pixels in groups.
struct DeviceGroups {
  explicit DeviceGroups(const benchmark::State& state)
      : samples(state.range(0)),
        channels(state.range(1)),
        pixels(state.range(2)),
        groups(state.range(3)),
        x(bytes(samples * channels * pixels)),
        y(x.bytes()),
        dx(x.bytes()),
        statistics(bytes(2 * samples * groups)),
        scales(bytes(4 * channels)) {
    const std::vector<float> values(x.bytes() / sizeof(float), 0.75f), some(scales.bytes() / sizeof(float));
    x.copy_from_host(values.data());
    y.copy_from_host(values.data());
    scales.copy_from_host(some.data());
  }
  static std::size_t bytes(std::int64_t floats) { return static_cast<std::size_t>(floats) * sizeof(float); }
  static float* at(const lockstep::DeviceBuffer& buffer, std::int64_t element = 0) {
    return static_cast<float*>(buffer.data()) + element;
  }
  void forward() const {
    lockstep::group_norm({at(x), at(scales), at(scales, channels), at(y), at(statistics),
                          at(statistics, samples * groups), samples, channels, pixels, groups},
                         lockstep::Device::cuda);
  }

  std::int64_t samples, channels, pixels, groups;
  lockstep::DeviceBuffer x, y, dx, statistics, scales;
};

void cuda_group_norm(benchmark::State& state) {
  const DeviceGroups p(state);
  lockstep::internal::time_beside_device_copy(state, 2 * p.x.bytes(), [&] { p.forward(); });
}

/// Reads dy and x twice, for dx and for the folds.
void cuda_group_norm_backward(benchmark::State& state) {
  const DeviceGroups p(state);
  p.forward();
  const auto at = DeviceGroups::at;
  lockstep::internal::time_beside_device_copy(state, 5 * p.x.bytes(), [&] {
    lockstep::group_norm_backward({at(p.y, 0),
                                   at(p.x, 0),
                                   at(p.statistics, 0),
                                   at(p.statistics, p.samples * p.groups),
                                   at(p.scales, 0),
                                   at(p.dx, 0),
                                   {at(p.scales, 2 * p.channels)},
                                   {at(p.scales, 3 * p.channels)},
                                   {0, p.samples * p.pixels, true},
                                   p.samples,
                                   p.channels,
                                   p.pixels,
                                   p.groups},
                                  lockstep::Device::cuda);
  });
}

void cuda_group_shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({64, 32, 784, 8})->Args({64, 256, 3136, 32})->Iterations(1)->UseManualTime();
}

const bool kRegistered = [] {
  if (lockstep::cuda_device_count() == 0) return false;
  benchmark::RegisterBenchmark("cuda_group_norm", cuda_group_norm)->Apply(cuda_group_shapes);
  benchmark::RegisterBenchmark("cuda_group_norm_backward", cuda_group_norm_backward)
      ->Apply(cuda_group_shapes);
  return true;
}();

}  // namespace
