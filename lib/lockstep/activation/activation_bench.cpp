// Activations against the time of a copy of the same memory. LibTorch's kernels: bench/kernels.

#include <cstring>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/activation/activation.h"
#include "lockstep/base/device_timing_internal.h"
#include "lockstep/base/paired_timing_internal.h"
#include "lockstep/parallel/parallel.h"

namespace {

using lockstep::GeluForm;

constexpr std::int64_t kCount = 32768;

struct Problem {
  Problem() : x(kCount), y(kCount), copy(kCount) {
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] = static_cast<float>(i * 2654435761u % 1000) * 0.01f - 5.0f;
  }
  std::vector<float> x, y, copy;
};

template <class Operation>
void add(const char* name, Operation operation) {
  benchmark::RegisterBenchmark(name,
                               [=](benchmark::State& state) {
                                 Problem p;
                                 lockstep::parallel::set_thread_count(1);
                                 for (auto _ : state) {
                                   const auto ratio = lockstep::internal::time_pairs(
                                       [&] { operation(p); },
                                       [&] {
                                         std::memcpy(p.copy.data(), p.x.data(), p.x.size() * sizeof(float));
                                         benchmark::ClobberMemory();
                                       },
                                       lockstep::internal::Clock::thread);
                                   state.SetIterationTime(ratio.operation_seconds);
                                   state.counters["ns_an_element"] =
                                       1e9 * ratio.operation_seconds / static_cast<double>(kCount);
                                   state.counters["ratio"] = ratio.median;
                                   state.counters["ratio_low"] = ratio.low;
                                   state.counters["ratio_high"] = ratio.high;
                                 }
                               })
      ->Iterations(1)
      ->UseManualTime();
}

const bool kRegistered = [] {
  add("relu", [](Problem& p) { lockstep::relu(p.x.data(), p.y.data(), kCount); });
  add("sigmoid", [](Problem& p) { lockstep::sigmoid(p.x.data(), p.y.data(), kCount); });
  add("tanh", [](Problem& p) { lockstep::tanh(p.x.data(), p.y.data(), kCount); });
  add("silu", [](Problem& p) { lockstep::silu(p.x.data(), p.y.data(), kCount); });
  add("gelu", [](Problem& p) { lockstep::gelu(p.x.data(), p.y.data(), kCount, GeluForm::erf); });
  add("gelu_tanh", [](Problem& p) { lockstep::gelu(p.x.data(), p.y.data(), kCount, GeluForm::tanh); });
  add("softplus", [](Problem& p) { lockstep::softplus(p.x.data(), p.y.data(), kCount); });
  add("gelu_backward", [](Problem& p) {
    lockstep::gelu_backward(p.copy.data(), p.x.data(), p.y.data(), kCount, GeluForm::erf);
  });
  return true;
}();

// ---- CUDA, beside a copy of the device's memory

constexpr std::int64_t kOnDevice = std::int64_t{1} << 27;

struct DeviceProblem {
  DeviceProblem() : dy(kBytes), x(kBytes), y(kBytes) {
    std::vector<float> values(static_cast<std::size_t>(kOnDevice));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(i * 2654435761u % 1000) * 0.01f - 5.0f;
    x.copy_from_host(values.data());
    dy.copy_from_host(values.data());
  }
  static float* floats(const lockstep::DeviceBuffer& buffer) { return static_cast<float*>(buffer.data()); }

  static constexpr std::size_t kBytes = static_cast<std::size_t>(kOnDevice) * sizeof(float);
  lockstep::DeviceBuffer dy, x, y;
};

template <class Operation>
void add_on_device(const char* name, std::size_t arrays, Operation operation) {
  if (lockstep::cuda_device_count() == 0) return;
  benchmark::RegisterBenchmark(name,
                               [=](benchmark::State& state) {
                                 const DeviceProblem p;
                                 lockstep::internal::time_beside_device_copy(
                                     state, arrays * DeviceProblem::kBytes,
                                     [&] { operation(p.floats(p.dy), p.floats(p.x), p.floats(p.y)); });
                               })
      ->Iterations(1)
      ->UseManualTime();
}

const bool kRegisteredOnDevice = [] {
  using lockstep::Device;
  add_on_device("cuda_relu", 2, [](const float*, const float* x, float* y) {
    lockstep::relu(x, y, kOnDevice, Device::cuda);
  });
  add_on_device("cuda_sigmoid", 2, [](const float*, const float* x, float* y) {
    lockstep::sigmoid(x, y, kOnDevice, Device::cuda);
  });
  add_on_device("cuda_tanh", 2, [](const float*, const float* x, float* y) {
    lockstep::tanh(x, y, kOnDevice, Device::cuda);
  });
  add_on_device("cuda_silu_backward", 3, [](const float* dy, const float* x, float* dx) {
    lockstep::silu_backward(dy, x, dx, kOnDevice, Device::cuda);
  });
  add_on_device("cuda_gelu", 2, [](const float*, const float* x, float* y) {
    lockstep::gelu(x, y, kOnDevice, GeluForm::erf, Device::cuda);
  });
  add_on_device("cuda_gelu_backward", 3, [](const float* dy, const float* x, float* dx) {
    lockstep::gelu_backward(dy, x, dx, kOnDevice, GeluForm::erf, Device::cuda);
  });
  add_on_device("cuda_gelu_tanh_backward", 3, [](const float* dy, const float* x, float* dx) {
    lockstep::gelu_backward(dy, x, dx, kOnDevice, GeluForm::tanh, Device::cuda);
  });
  add_on_device("cuda_softplus", 2, [](const float*, const float* x, float* y) {
    lockstep::softplus(x, y, kOnDevice, {}, Device::cuda);
  });
  return true;
}();

}  // namespace
