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

// ---- CUDA, beside a copy of the device's memory

using lockstep::Device;
using lockstep::internal::DeviceArray;
using lockstep::internal::time_beside_device_copy;

/// Rows of LayerNorm and RMSNorm.
struct DeviceRows {
  explicit DeviceRows(const benchmark::State& state)
      : rows(state.range(0)),
        features(state.range(1)),
        x(rows * features, 0.75f),
        dy(rows * features, 0.75f),
        dx(rows * features),
        statistics(2 * rows, 0.75f),
        scales(4 * features, 0.75f),
        scratch(lockstep::norm_backward_scratch_bytes(features, span()) + 1) {}
  lockstep::order::FoldSpan span() const { return {0, rows, true}; }
  lockstep::NormFold fold(int which, bool is_wanted) const {
    return {is_wanted ? scales.data() + (2 + which) * features : nullptr};
  }
  void layer_norm() const {
    lockstep::layer_norm({x.data(), scales.data(), scales.data() + features, dx.data(), statistics.data(),
                          statistics.data() + rows, rows, features},
                         Device::cuda);
  }
  void rms_norm() const {
    lockstep::rms_norm({x.data(), scales.data(), dx.data(), statistics.data() + rows, rows, features},
                       Device::cuda);
  }
  void layer_norm_backward(bool has_dx, bool has_folds) const {
    lockstep::layer_norm_backward({dy.data(), x.data(), statistics.data(), statistics.data() + rows,
                                   scales.data(), has_dx ? dx.data() : nullptr, fold(0, has_folds),
                                   fold(1, has_folds), span(), features, scratch.data()},
                                  Device::cuda);
  }
  void rms_norm_backward(bool has_dx, bool has_folds) const {
    lockstep::rms_norm_backward(
        {dy.data(), x.data(), statistics.data() + rows, scales.data(), has_dx ? dx.data() : nullptr,
         fold(0, has_folds), span(), features, scratch.data()},
        Device::cuda);
  }

  std::int64_t rows, features;
  DeviceArray<float> x, dy, dx, statistics, scales;
  DeviceArray<char> scratch;
};

/// `arrays` of the size of x are read or written in all.
template <class Operation>
void on_rows(benchmark::State& state, std::size_t arrays, Operation operation) {
  const DeviceRows p(state);
  time_beside_device_copy(state, arrays * p.x.bytes(), [&] { operation(p); });
}

/// samples × channels × pixels in groups.
struct DeviceGroups {
  explicit DeviceGroups(const benchmark::State& state)
      : samples(state.range(0)),
        channels(state.range(1)),
        pixels(state.range(2)),
        groups(state.range(3)),
        x(samples * channels * pixels, 0.75f),
        y(samples * channels * pixels, 0.75f),
        dx(samples * channels * pixels),
        statistics(2 * samples * groups),
        scales(4 * channels, 0.75f),
        scratch(lockstep::norm_backward_scratch_bytes(channels, span()) + 1) {}
  lockstep::order::FoldSpan span() const { return {0, samples * pixels, true}; }
  void forward() const {
    lockstep::group_norm({x.data(), scales.data(), scales.data() + channels, y.data(), statistics.data(),
                          statistics.data() + samples * groups, samples, channels, pixels, groups},
                         Device::cuda);
  }

  std::int64_t samples, channels, pixels, groups;
  DeviceArray<float> x, y, dx, statistics, scales;
  DeviceArray<char> scratch;
};

void cuda_group_norm(benchmark::State& state) {
  const DeviceGroups p(state);
  time_beside_device_copy(state, 2 * p.x.bytes(), [&] { p.forward(); });
}

/// Reads dy and x twice, for dx and for the folds.
void cuda_group_norm_backward(benchmark::State& state) {
  const DeviceGroups p(state);
  p.forward();
  time_beside_device_copy(state, 5 * p.x.bytes(), [&] {
    lockstep::group_norm_backward({p.y.data(),
                                   p.x.data(),
                                   p.statistics.data(),
                                   p.statistics.data() + p.samples * p.groups,
                                   p.scales.data(),
                                   p.dx.data(),
                                   {p.scales.data() + 2 * p.channels},
                                   {p.scales.data() + 3 * p.channels},
                                   p.span(),
                                   p.samples,
                                   p.channels,
                                   p.pixels,
                                   p.groups,
                                   p.scratch.data()},
                                  Device::cuda);
  });
}

void cuda_group_shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({64, 32, 784, 8})->Args({64, 256, 3136, 32})->Iterations(1)->UseManualTime();
}

const bool kRegistered = [] {
  if (lockstep::cuda_device_count() == 0) return false;
  const auto add = [](const char* name, std::size_t arrays, auto operation) {
    benchmark::RegisterBenchmark(name, [=](benchmark::State& state) { on_rows(state, arrays, operation); })
        ->Args({32'768, 768})
        ->Args({32'768, 4096})
        ->Args({8192, 768})
        ->Iterations(1)
        ->UseManualTime();
  };
  add("cuda_layer_norm", 2, [](const DeviceRows& p) { p.layer_norm(); });
  add("cuda_layer_norm_dx", 3, [](const DeviceRows& p) { p.layer_norm_backward(true, false); });
  add("cuda_layer_norm_folds", 2, [](const DeviceRows& p) { p.layer_norm_backward(false, true); });
  add("cuda_layer_norm_backward", 5, [](const DeviceRows& p) { p.layer_norm_backward(true, true); });
  add("cuda_rms_norm", 2, [](const DeviceRows& p) { p.rms_norm(); });
  add("cuda_rms_norm_backward", 5, [](const DeviceRows& p) { p.rms_norm_backward(true, true); });
  benchmark::RegisterBenchmark("cuda_group_norm", cuda_group_norm)->Apply(cuda_group_shapes);
  benchmark::RegisterBenchmark("cuda_group_norm_backward", cuda_group_norm_backward)
      ->Apply(cuda_group_shapes);
  return true;
}();

}  // namespace
