// Rates of forward and backward, of one thread and of a CUDA device. LibTorch's kernels: bench/kernels.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/attention/attention.h"
#include "lockstep/base/device.h"
#include "lockstep/base/device_timing_internal.h"
#include "lockstep/parallel/parallel.h"

namespace {

using lockstep::AttentionExtents;
using lockstep::AttentionOptions;

struct Problem {
  AttentionExtents x;
  AttentionOptions options;
  std::vector<float> q, k, v, o, d_o, d_q, d_k, d_v, lse;

  Problem(const AttentionExtents& of, lockstep::Causal causal) : x(of) {
    options.scale = 1.0f / std::sqrt(static_cast<float>(of.head_size));
    options.causal = causal;
    const auto queries = static_cast<std::size_t>(of.samples * of.heads * of.queries);
    const auto keys = static_cast<std::size_t>(of.samples * of.kv_heads * of.keys);
    const auto depth = static_cast<std::size_t>(of.head_size),
               values = static_cast<std::size_t>(of.value_size);
    q = d_q = numbers(queries * depth, 1);
    k = d_k = numbers(keys * depth, 2);
    v = d_v = numbers(keys * values, 3);
    o = d_o = numbers(queries * values, 4);
    lse.resize(queries);
  }

  static std::vector<float> numbers(std::size_t count, std::uint32_t seed) {
    std::vector<float> to(count);
    for (std::size_t i = 0; i < count; ++i) {
      seed = seed * 1664525 + 1013904223;
      to[i] = static_cast<float>(static_cast<std::int32_t>(seed)) * 0x1p-30f;
    }
    return to;
  }

  static lockstep::Heads heads(float* of, std::int64_t count, std::int64_t tokens, std::int64_t size) {
    return {of, count * tokens * size, tokens * size, size};
  }
  static lockstep::ConstHeads heads(const float* of, std::int64_t count, std::int64_t tokens,
                                    std::int64_t size) {
    return {of, count * tokens * size, tokens * size, size};
  }

  void forward() { forward(q.data(), k.data(), v.data(), o.data(), lse.data(), lockstep::Device::cpu); }
  void backward() {
    backward(d_o.data(), q.data(), k.data(), v.data(), o.data(), lse.data(), d_q.data(), d_k.data(),
             d_v.data(), lockstep::Device::cpu, nullptr);
  }
  void forward(const float* q_at, const float* k_at, const float* v_at, float* o_at, float* lse_at,
               lockstep::Device device) const {
    lockstep::attention(
        heads(q_at, x.heads, x.queries, x.head_size), heads(k_at, x.kv_heads, x.keys, x.head_size),
        heads(v_at, x.kv_heads, x.keys, x.value_size), heads(o_at, x.heads, x.queries, x.value_size),
        {lse_at, x.heads * x.queries, x.queries}, x, options, device);
  }
  void backward(const float* d_o_at, const float* q_at, const float* k_at, const float* v_at,
                const float* o_at, const float* lse_at, float* d_q_at, float* d_k_at, float* d_v_at,
                lockstep::Device device, void* scratch) const {
    lockstep::attention_backward(
        heads(d_o_at, x.heads, x.queries, x.value_size), heads(q_at, x.heads, x.queries, x.head_size),
        heads(k_at, x.kv_heads, x.keys, x.head_size), heads(v_at, x.kv_heads, x.keys, x.value_size),
        heads(o_at, x.heads, x.queries, x.value_size), {lse_at, x.heads * x.queries, x.queries},
        heads(d_q_at, x.heads, x.queries, x.head_size), heads(d_k_at, x.kv_heads, x.keys, x.head_size),
        heads(d_v_at, x.kv_heads, x.keys, x.value_size), x, options, device, nullptr, scratch);
  }
  /// Multiply-adds of forward: products, and sums of values.
  double forward_fma() const {
    const double pairs = static_cast<double>(x.samples * x.heads * x.queries * x.keys);
    return pairs * static_cast<double>(x.head_size + x.value_size) /
           (options.causal == lockstep::Causal::none ? 1 : 2);
  }
};

/// A copy of numbers in a device's memory.
class DeviceNumbers {
 public:
  explicit DeviceNumbers(const std::vector<float>& numbers) : buffer_(numbers.size() * sizeof(float)) {
    buffer_.copy_from_host(numbers.data());
  }
  float* data() const { return static_cast<float*>(buffer_.data()); }

 private:
  lockstep::DeviceBuffer buffer_;
};

/// The problem in a device's memory.
struct DeviceProblem {
  Problem of;
  DeviceNumbers q, k, v, o, d_o, d_q, d_k, d_v, lse;
  lockstep::DeviceBuffer scratch;

  DeviceProblem(const AttentionExtents& x, lockstep::Causal causal)
      : of(x, causal),
        q(of.q),
        k(of.k),
        v(of.v),
        o(of.o),
        d_o(of.d_o),
        d_q(of.q),
        d_k(of.k),
        d_v(of.v),
        lse(of.lse),
        scratch(static_cast<std::size_t>(lockstep::attention_backward_scratch_bytes(x))) {}

  void forward() const {
    of.forward(q.data(), k.data(), v.data(), o.data(), lse.data(), lockstep::Device::cuda);
  }
  void backward() const {
    of.backward(d_o.data(), q.data(), k.data(), v.data(), o.data(), lse.data(), d_q.data(), d_k.data(),
                d_v.data(), lockstep::Device::cuda, scratch.data());
  }
};

std::string name_of(const AttentionExtents& x, lockstep::Causal causal) {
  return std::to_string(x.samples) + "x" + std::to_string(x.heads) + "x" + std::to_string(x.queries) + "x" +
         std::to_string(x.head_size) + (causal == lockstep::Causal::none ? "" : "_causal");
}

void add_on_device(const AttentionExtents& x, lockstep::Causal causal) {
  const auto with_device = [=](const char* name, auto measure) {
    benchmark::RegisterBenchmark((std::string("cuda/") + name + "/" + name_of(x, causal)).c_str(),
                                 [=](benchmark::State& state) {
                                   if (lockstep::cuda_device_count() == 0)
                                     return state.SkipWithError(lockstep::cuda_trouble().c_str());
                                   const DeviceProblem p(x, causal);
                                   p.forward();
                                   measure(state, p);
                                 })
        ->UseManualTime()
        ->Iterations(1)
        ->Unit(benchmark::kMillisecond);
  };
  with_device("attention", [](benchmark::State& state, const DeviceProblem& p) {
    lockstep::internal::time_arithmetic_on_device(state, 2 * p.of.forward_fma(), [&] { p.forward(); });
  });
  with_device("attention_backward", [](benchmark::State& state, const DeviceProblem& p) {
    lockstep::internal::time_arithmetic_on_device(state, 5 * p.of.forward_fma(), [&] { p.backward(); });
  });
  with_device("attention_both", [](benchmark::State& state, const DeviceProblem& p) {
    lockstep::internal::time_arithmetic_on_device(state, 7 * p.of.forward_fma(), [&] {
      p.forward();
      p.backward();
    });
  });
}

void add(const AttentionExtents& x, lockstep::Causal causal) {
  const std::string shape = name_of(x, causal);
  const auto with_rate = [](benchmark::State& state, double fma) {
    state.counters["GFLOP/s"] = benchmark::Counter(2e-9 * fma, benchmark::Counter::kIsIterationInvariantRate);
  };
  benchmark::RegisterBenchmark(("attention/" + shape).c_str(), [=](benchmark::State& state) {
    lockstep::parallel::set_thread_count(1);
    Problem p(x, causal);
    for (auto _ : state) p.forward();
    with_rate(state, p.forward_fma());
  });
  benchmark::RegisterBenchmark(("attention_backward/" + shape).c_str(), [=](benchmark::State& state) {
    lockstep::parallel::set_thread_count(1);
    Problem p(x, causal);
    p.forward();
    for (auto _ : state) p.backward();
    with_rate(state, 2.5 * p.forward_fma());
  });
}

const bool kRegistered = [] {
  for (const std::int64_t tokens : {256, 1024})
    for (const auto causal : {lockstep::Causal::upper_left, lockstep::Causal::none})
      add({2, 6, 6, tokens, tokens, 64, 64}, causal);
  add({8, 8, 8, 1, 1024, 64, 64}, lockstep::Causal::none);
  for (const auto causal : {lockstep::Causal::none, lockstep::Causal::upper_left}) {
    add_on_device({16, 12, 12, 1024, 1024, 64, 64}, causal);
    add_on_device({16, 6, 6, 1024, 1024, 128, 128}, causal);
    add_on_device({16, 24, 24, 1024, 1024, 32, 32}, causal);
    add_on_device({1, 12, 12, 1024, 1024, 64, 64}, causal);
    add_on_device({2, 12, 12, 4096, 4096, 64, 64}, causal);
    add_on_device({64, 6, 6, 256, 256, 64, 64}, causal);
  }
  return true;
}();

}  // namespace
