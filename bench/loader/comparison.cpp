#include "loader/comparison.h"

#include <cstdio>
#include <vector>

#include <fmt/format.h>

namespace lockstep::bench {
namespace {

std::vector<Result>& results() {
  static std::vector<Result> list;
  return list;
}

double million_a_second(const Result& result, double seconds) {
  return static_cast<double>(result.samples) / seconds / 1e6;
}

std::string verdict(const Result& result) {
  if (result.bar == 0) return "";
  return fmt::format("{} ({})", result.bar, result.ratio.high >= result.bar ? "met" : "MISSED");
}

}  // namespace

void report(benchmark::State& state, Result result) {
  state.SetIterationTime(result.ratio.operation_seconds);
  state.counters["samples/s"] = 1e6 * million_a_second(result, result.ratio.operation_seconds);
  state.counters["rival_samples/s"] = 1e6 * million_a_second(result, result.ratio.rival_seconds);
  state.counters["ratio"] = result.ratio.median;
  state.counters["ratio_low"] = result.ratio.low;
  state.counters["ratio_high"] = result.ratio.high;
  state.counters["bar"] = result.bar;
  results().push_back(std::move(result));
}

void print_table() {
  fmt::print(
      "\n| what | ours, M/s | rival | rival, M/s | ratio (95 %) | bar |\n| --- | --- | --- | --- | --- | --- "
      "|\n");
  for (const Result& result : results()) {
    fmt::print("| {} | {:.3f} | {} | {:.3f} | {:.2f} ({:.2f} to {:.2f}) | {} |\n", result.name,
               million_a_second(result, result.ratio.operation_seconds), result.rival,
               million_a_second(result, result.ratio.rival_seconds), result.ratio.median, result.ratio.low,
               result.ratio.high, verdict(result));
  }
  std::fflush(stdout);
}

}  // namespace lockstep::bench
