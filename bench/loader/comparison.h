#pragma once
// Results of this benchmark: each a ratio of rates, ours over the rival's, from interleaved pairs.

#include <cstdint>
#include <string>
#include <utility>

#include <benchmark/benchmark.h>

#include "lockstep/base/paired_timing_internal.h"

namespace lockstep::bench {

struct Result {
  std::string name, rival;
  double bar = 0;  ///< what the ratio has to reach; 0 where there is none
  std::int64_t samples = 0;
  internal::PairedRatio ratio;
};

/// Remembers the result for print_table() and puts it into Google Benchmark's report.
void report(benchmark::State& state, Result result);

/// All results so far as a table, bars included.
void print_table();

/// Times epochs of both, interleaved: `ours` and `rival` are called for one epoch each. On the thread's own
/// clock where neither has other threads, so that a busy machine disturbs less.
template <class Ours, class Rival>
void compare(benchmark::State& state, Result result, internal::Clock clock, Ours&& ours, Rival&& rival,
             int pairs = 21) {
  for (auto _ : state) {
    result.ratio = internal::time_pairs(ours, rival, clock, pairs, 0.02);
    report(state, result);
  }
}

template <class Function>
void add(const std::string& name, Function function) {
  benchmark::RegisterBenchmark(name.c_str(), std::move(function))->Iterations(1)->UseManualTime();
}

}  // namespace lockstep::bench
