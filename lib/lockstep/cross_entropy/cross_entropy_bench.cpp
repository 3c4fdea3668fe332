// LibTorch's kernels: bench/kernels.

#include <algorithm>
#include <cstdint>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device_timing_internal.h"
#include "lockstep/cross_entropy/cross_entropy.h"
#include "lockstep/cross_entropy/cross_entropy_ref.h"
#include "lockstep/softmax/softmax_ref.h"

namespace {

using lockstep::ClassTargets;

struct Problem {
  explicit Problem(const benchmark::State& state)
      : rows(static_cast<std::size_t>(state.range(0))),
        classes(static_cast<std::size_t>(state.range(1))),
        logits(rows * classes),
        gradient(logits.size()),
        classes_of(rows),
        loss(rows),
        row_max(rows),
        row_log_sum(rows) {
    for (std::size_t i = 0; i < logits.size(); ++i)
      logits[i] = static_cast<float>(i * 2654435761u % 1000) * 0.01f;
    for (std::size_t r = 0; r < rows; ++r) classes_of[r] = static_cast<std::int64_t>(r * 7 % classes);
    targets.targets = classes_of.data();
    targets.rows = state.range(0);
    targets.classes = state.range(1);
  }
  void forward() {
    lockstep::cross_entropy(logits.data(), targets, loss.data(), row_max.data(), row_log_sum.data());
  }
  void report(benchmark::State& state) const {
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(logits.size()));
  }

  std::size_t rows, classes;
  std::vector<float> logits, gradient;
  std::vector<std::int64_t> classes_of;
  std::vector<float> loss, row_max, row_log_sum;
  ClassTargets targets;
};

void forward(benchmark::State& state) {
  Problem p(state);
  for (auto _ : state) p.forward();
  p.report(state);
}

void backward(benchmark::State& state) {
  Problem p(state);
  p.forward();
  for (auto _ : state)
    lockstep::cross_entropy_backward(p.logits.data(), p.targets, p.row_max.data(), p.row_log_sum.data(), {},
                                     p.gradient.data());
  p.report(state);
}

void forward_reference(benchmark::State& state) {
  Problem p(state);
  lockstep::cross_entropy_ref::Targets<float> targets;
  targets.targets = p.classes_of;
  std::vector<float> row(p.classes), y(p.classes);
  for (auto _ : state) {
    for (std::size_t r = 0; r < p.rows; ++r) {
      std::copy_n(p.logits.begin() + static_cast<std::ptrdiff_t>(r * p.classes), p.classes, row.begin());
      y = lockstep::softmax_ref::log_softmax_slice(row);
      p.loss[r] = lockstep::cross_entropy_ref::nll_row(y, targets, r);
    }
    benchmark::ClobberMemory();
  }
  p.report(state);
}

void shapes(benchmark::internal::Benchmark* benchmark) {
  benchmark->Args({64, 10})->Args({2048, 256})->Args({64, 50'257});
}
BENCHMARK(forward)->Apply(shapes);
BENCHMARK(forward_reference)->Apply(shapes);
BENCHMARK(backward)->Apply(shapes);

// ---- CUDA, beside a copy of the device's memory

using lockstep::Device;
using lockstep::internal::DeviceArray;
using lockstep::internal::time_beside_device_copy;

struct DeviceProblem {
  explicit DeviceProblem(const Problem& host)
      : logits(host.logits),
        gradient(static_cast<std::int64_t>(host.logits.size())),
        classes_of(host.classes_of),
        rows(3 * host.targets.rows),
        targets(host.targets) {
    targets.targets = classes_of.data();
  }
  float* of_rows(int which) const { return rows.data() + which * targets.rows; }
  void forward() const {
    lockstep::cross_entropy(logits.data(), targets, of_rows(0), of_rows(1), of_rows(2), Device::cuda);
  }
  void backward() const {
    lockstep::cross_entropy_backward(logits.data(), targets, of_rows(1), of_rows(2), {}, gradient.data(),
                                     Device::cuda);
  }

  DeviceArray<float> logits, gradient;
  DeviceArray<std::int64_t> classes_of;
  DeviceArray<float> rows;
  ClassTargets targets;
};

void cuda_forward(benchmark::State& state) {
  const DeviceProblem p((Problem(state)));
  time_beside_device_copy(state, p.logits.bytes(), [&] { p.forward(); });
}

void cuda_backward(benchmark::State& state) {
  const DeviceProblem p((Problem(state)));
  p.forward();
  time_beside_device_copy(state, 2 * p.logits.bytes(), [&] { p.backward(); });
}

const bool kCudaRegistered = [] {
  if (lockstep::cuda_device_count() == 0) return false;
  const auto add = [](const char* name, auto* function) {
    benchmark::RegisterBenchmark(name, function)
        ->Args({8192, 50'304})
        ->Args({1 << 18, 1000})
        ->Iterations(1)
        ->UseManualTime();
  };
  add("cuda_cross_entropy", cuda_forward);
  add("cuda_cross_entropy_backward", cuda_backward);
  return true;
}();

}  // namespace
