// Activations against the time of a copy of the same memory. LibTorch's kernels: bench/kernels.

#include <cstring>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/activation/activation.h"
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

}  // namespace
