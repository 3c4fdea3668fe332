#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device.h"
#include "lockstep/base/device_timing_internal.h"
#include "lockstep/conv/conv.h"
#include "lockstep/conv/conv_ref.h"

namespace {

/// samples × channels × size × size, filters of 3 × 3, padded.
struct Problem {
  explicit Problem(const benchmark::State& state)
      : g{state.range(0), state.range(1), state.range(2), state.range(2), state.range(3), 3, 3, 1, 1, 1, 1},
        x(static_cast<std::size_t>(g.samples * g.in_channels * g.in_h * g.in_w)),
        y(static_cast<std::size_t>(g.samples * g.out_channels * g.out_pixels()), 0.5f),
        weight(static_cast<std::size_t>(g.out_channels * g.taps()), 0.25f),
        bias(static_cast<std::size_t>(g.out_channels)) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 2654435761u % 1000) / 100.0f;
  }
  void report(benchmark::State& state) const {
    const auto terms = static_cast<double>(y.size()) * static_cast<double>(g.taps());
    state.counters["flop"] =
        benchmark::Counter(2 * terms * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
  }

  lockstep::ConvGeometry g;
  std::vector<float> x, y, weight, bias;
};

void conv(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) lockstep::conv({p.x.data(), p.weight.data(), p.bias.data(), p.y.data(), p.g});
  p.report(state);
}

void conv_reference(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) lockstep::conv_ref<float>(p.x.data(), p.weight.data(), p.bias.data(), p.y.data(), p.g);
  p.report(state);
}

void conv_input_gradient(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) lockstep::conv_input_gradient({p.y.data(), p.weight.data(), p.x.data(), p.g});
  p.report(state);
}

void conv_weight_gradient(benchmark::State& state) {
  Problem p(state);
  const std::int64_t rows = p.g.samples * p.g.out_pixels();
  for (auto _ : state)
    lockstep::conv_weight_gradient(
        {p.y.data(), p.x.data(), {p.weight.data()}, {p.bias.data()}, {0, rows, true}, p.g});
  p.report(state);
}

void shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({64, 1, 28, 16})->Args({64, 16, 14, 32})->Args({16, 64, 28, 64});
}

BENCHMARK(conv)->Apply(shapes);
BENCHMARK(conv_reference)->Args({4, 16, 14, 32});
BENCHMARK(conv_input_gradient)->Apply(shapes);
BENCHMARK(conv_weight_gradient)->Apply(shapes);

// ---- CUDA: operations a second, and the memory that moves at least beside a copy

/// As Problem, in the device's memory.
struct DeviceProblem {
  explicit DeviceProblem(const benchmark::State& state)
      : host(state),
        span{0, host.g.samples * host.g.out_pixels(), true},
        x(host.x.size() * sizeof(float)),
        y(host.y.size() * sizeof(float)),
        weight(host.weight.size() * sizeof(float)),
        bias(host.bias.size() * sizeof(float)),
        scratch(sizeof(float) * static_cast<std::size_t>(std::max<std::int64_t>(
                                    1, lockstep::conv_weight_gradient_scratch_elements(host.g, span)))) {
    x.copy_from_host(host.x.data());
    y.copy_from_host(host.y.data());
    weight.copy_from_host(host.weight.data());
    bias.copy_from_host(host.bias.data());
  }
  static float* floats(const lockstep::DeviceBuffer& buffer) { return static_cast<float*>(buffer.data()); }

  template <class Operation>
  void time(benchmark::State& state, Operation operation) const {
    const std::size_t bytes = x.bytes() + y.bytes() + weight.bytes();
    lockstep::internal::time_beside_device_copy(state, bytes, operation);
    const double operations = 2.0 * static_cast<double>(host.y.size()) * static_cast<double>(host.g.taps());
    state.counters["TFLOP_s"] = 1e-3 * operations * state.counters["GB_s"] / static_cast<double>(bytes);
  }

  Problem host;
  lockstep::order::FoldSpan span;
  lockstep::DeviceBuffer x, y, weight, bias, scratch;
};

void cuda_conv(benchmark::State& state) {
  const DeviceProblem p(state);
  const auto floats = DeviceProblem::floats;
  p.time(state, [&] {
    lockstep::conv({floats(p.x), floats(p.weight), floats(p.bias), floats(p.y), p.host.g},
                   lockstep::Device::cuda);
  });
}

void cuda_conv_input_gradient(benchmark::State& state) {
  const DeviceProblem p(state);
  const auto floats = DeviceProblem::floats;
  p.time(state, [&] {
    lockstep::conv_input_gradient({floats(p.y), floats(p.weight), floats(p.x), p.host.g},
                                  lockstep::Device::cuda);
  });
}

void cuda_conv_weight_gradient(benchmark::State& state) {
  const DeviceProblem p(state);
  const auto floats = DeviceProblem::floats;
  p.time(state, [&] {
    lockstep::conv_weight_gradient(
        {floats(p.y), floats(p.x), {floats(p.weight)}, {floats(p.bias)}, p.span, p.host.g, floats(p.scratch)},
        lockstep::Device::cuda);
  });
}

/// The first two are the CNN's, at its batch and at a larger one.
void cuda_shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({64, 1, 28, 16})->Args({64, 16, 14, 32})->Args({1024, 1, 28, 16})->Args({1024, 16, 14, 32});
  bench->Args({16, 64, 28, 64})->Args({64, 128, 28, 128})->Iterations(1)->UseManualTime();
}

const bool kRegistered = [] {
  if (lockstep::cuda_device_count() == 0) return false;
  benchmark::RegisterBenchmark("cuda_conv", cuda_conv)->Apply(cuda_shapes);
  benchmark::RegisterBenchmark("cuda_conv_input_gradient", cuda_conv_input_gradient)->Apply(cuda_shapes);
  benchmark::RegisterBenchmark("cuda_conv_weight_gradient", cuda_conv_weight_gradient)->Apply(cuda_shapes);
  return true;
}();

}  // namespace
