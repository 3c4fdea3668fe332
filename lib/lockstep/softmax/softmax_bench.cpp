// Rows and strips against the time of a copy of the same memory, the host's or a CUDA device's. LibTorch's
// kernels: bench/kernels.

#include <cstring>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/device_timing_internal.h"
#include "lockstep/base/paired_timing_internal.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/softmax/softmax.h"

namespace {

using lockstep::AxisExtents;

struct Problem {
  explicit Problem(const AxisExtents& of)
      : extents(of), x(static_cast<std::size_t>(of.outer * of.axis * of.inner)), y(x.size()), copy(x.size()) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 2654435761u % 1000) * 0.01f;
  }
  AxisExtents extents;
  std::vector<float> x, y, copy;
};

template <class Operation>
void against_copy(benchmark::State& state, const AxisExtents& extents, Operation operation) {
  Problem p(extents);
  lockstep::parallel::set_thread_count(1);
  for (auto _ : state) {
    const auto ratio =
        lockstep::internal::time_pairs([&] { operation(p); },
                                       [&] {
                                         std::memcpy(p.copy.data(), p.x.data(), p.x.size() * sizeof(float));
                                         benchmark::ClobberMemory();
                                       },
                                       lockstep::internal::Clock::thread);
    state.SetIterationTime(ratio.operation_seconds);
    state.counters["ns_an_element"] = 1e9 * ratio.operation_seconds / static_cast<double>(p.x.size());
    state.counters["ratio"] = ratio.median;
    state.counters["ratio_low"] = ratio.low;
    state.counters["ratio_high"] = ratio.high;
  }
}

template <class Operation>
void add(const std::string& name, Operation operation) {
  for (const AxisExtents& extents :
       {AxisExtents{4096, 64, 1}, {1024, 1024, 1}, {64, 50257, 1}, {16, 256, 256}}) {
    const std::string shape = std::to_string(extents.outer) + "x" + std::to_string(extents.axis) + "x" +
                              std::to_string(extents.inner);
    benchmark::RegisterBenchmark((name + "/" + shape).c_str(),
                                 [=](benchmark::State& state) { against_copy(state, extents, operation); })
        ->Iterations(1)
        ->UseManualTime();
  }
}

const bool kRegistered = [] {
  add("softmax", [](Problem& p) { lockstep::softmax(p.x.data(), p.y.data(), p.extents); });
  add("log_softmax", [](Problem& p) { lockstep::log_softmax(p.x.data(), p.y.data(), p.extents); });
  add("softmax_backward",
      [](Problem& p) { lockstep::softmax_backward(p.x.data(), p.copy.data(), p.y.data(), p.extents); });
  add("log_softmax_backward",
      [](Problem& p) { lockstep::log_softmax_backward(p.x.data(), p.copy.data(), p.y.data(), p.extents); });
  return true;
}();

// ---- CUDA, beside a copy of the device's memory

using lockstep::Device;
using lockstep::internal::DeviceArray;
using lockstep::internal::time_beside_device_copy;

/// operation(a, b, result, extents) reads the first `read` arrays.
template <class Operation>
void add_cuda(const std::string& name, std::size_t read, Operation operation) {
  const auto run = [=](benchmark::State& state) {
    const AxisExtents extents{state.range(0), state.range(1), state.range(2)};
    const std::int64_t count = extents.outer * extents.axis * extents.inner;
    const DeviceArray<float> a(count, 0.5f), b(count, -0.5f), result(count);
    time_beside_device_copy(state, (read + 1) * a.bytes(),
                            [&] { operation(a.data(), b.data(), result.data(), extents); });
  };
  benchmark::RegisterBenchmark(name.c_str(), run)
      ->Args({32'768, 1024, 1})
      ->Args({8192, 50'304, 1})
      ->Args({256, 256, 1024})
      ->Iterations(1)
      ->UseManualTime();
}

const bool kCudaRegistered = [] {
  if (lockstep::cuda_device_count() == 0) return false;
  add_cuda("cuda_softmax", 1, [](const float* x, const float*, float* y, const AxisExtents& extents) {
    lockstep::softmax(x, y, extents, Device::cuda);
  });
  add_cuda("cuda_log_softmax", 1, [](const float* x, const float*, float* y, const AxisExtents& extents) {
    lockstep::log_softmax(x, y, extents, Device::cuda);
  });
  add_cuda("cuda_softmax_backward", 2,
           [](const float* dy, const float* y, float* dx, const AxisExtents& extents) {
             lockstep::softmax_backward(dy, y, dx, extents, Device::cuda);
           });
  add_cuda("cuda_log_softmax_backward", 2,
           [](const float* dy, const float* y, float* dx, const AxisExtents& extents) {
             lockstep::log_softmax_backward(dy, y, dx, extents, Device::cuda);
           });
  return true;
}();

}  // namespace
