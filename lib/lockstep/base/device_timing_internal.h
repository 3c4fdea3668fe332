#pragma once
// For benchmarks of CUDA twins: an operation beside a plain copy of the device's memory, which is as fast as
// an operation that is bound by memory can be.

#include <cstddef>

#include "lockstep/base/device.h"
#include "lockstep/base/paired_timing_internal.h"

namespace lockstep::internal {

/// Measures `operation`, which works on the default stream and moves `bytes` of the device's memory.
/// Counters: bytes a second in units of 10^9, the copy's, and their ratio with its interval. State is
/// benchmark::State, with manual time.
template <class State, class Operation>
void time_beside_device_copy(State& state, std::size_t bytes, Operation&& operation) {
  constexpr int kCalls = 20;  // for one wait
  constexpr std::size_t kCopied = std::size_t{1} << 29;
  DeviceBuffer from(kCopied), to(kCopied);
  const DeviceBuffer mark(sizeof(float));
  const auto repeat = [&](auto&& one) {
    for (int i = 0; i < kCalls; ++i) one();
    float last = 0;
    mark.copy_to_host(&last);  // waits
  };
  for (auto _ : state) {
    const PairedRatio times =
        time_pairs([&] { repeat(operation); }, [&] { repeat([&] { to.copy_from(from); }); }, Clock::wall);
    const auto moved = static_cast<double>(bytes), copied = 2.0 * static_cast<double>(kCopied);
    const double seconds = times.operation_seconds / kCalls;
    state.SetIterationTime(seconds);
    state.counters["GB_s"] = 1e-9 * moved / seconds;
    state.counters["copy_GB_s"] = 1e-9 * copied * kCalls / times.rival_seconds;
    state.counters["of_copy"] = times.median * moved / copied;
    state.counters["of_copy_low"] = times.low * moved / copied;
    state.counters["of_copy_high"] = times.high * moved / copied;
  }
}

}  // namespace lockstep::internal
