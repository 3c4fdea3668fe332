// Rates of forward and backward, one thread. LibTorch's kernels: bench/kernels.

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/attention/attention.h"
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

  lockstep::Heads heads(std::vector<float>& of, std::int64_t count, std::int64_t tokens,
                        std::int64_t size) const {
    return {of.data(), count * tokens * size, tokens * size, size};
  }
  lockstep::ConstHeads heads(const std::vector<float>& of, std::int64_t count, std::int64_t tokens,
                             std::int64_t size) const {
    return {of.data(), count * tokens * size, tokens * size, size};
  }

  void forward() {
    lockstep::attention(heads(std::as_const(q), x.heads, x.queries, x.head_size),
                        heads(std::as_const(k), x.kv_heads, x.keys, x.head_size),
                        heads(std::as_const(v), x.kv_heads, x.keys, x.value_size),
                        heads(o, x.heads, x.queries, x.value_size),
                        {lse.data(), x.heads * x.queries, x.queries}, x, options);
  }
  void backward() {
    lockstep::attention_backward(heads(std::as_const(d_o), x.heads, x.queries, x.value_size),
                                 heads(std::as_const(q), x.heads, x.queries, x.head_size),
                                 heads(std::as_const(k), x.kv_heads, x.keys, x.head_size),
                                 heads(std::as_const(v), x.kv_heads, x.keys, x.value_size),
                                 heads(std::as_const(o), x.heads, x.queries, x.value_size),
                                 {lse.data(), x.heads * x.queries, x.queries},
                                 heads(d_q, x.heads, x.queries, x.head_size),
                                 heads(d_k, x.kv_heads, x.keys, x.head_size),
                                 heads(d_v, x.kv_heads, x.keys, x.value_size), x, options);
  }
  /// Multiply-adds of forward: products, and sums of values.
  double forward_fma() const {
    const double pairs = static_cast<double>(x.samples * x.heads * x.queries * x.keys);
    return pairs * static_cast<double>(x.head_size + x.value_size) /
           (options.causal == lockstep::Causal::none ? 1 : 2);
  }
};

void add(const AttentionExtents& x, lockstep::Causal causal) {
  const std::string shape = std::to_string(x.samples) + "x" + std::to_string(x.heads) + "x" +
                            std::to_string(x.queries) + "x" + std::to_string(x.head_size) +
                            (causal == lockstep::Causal::none ? "" : "_causal");
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
  return true;
}();

}  // namespace
