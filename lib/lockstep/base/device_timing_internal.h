#pragma once
// For benchmarks of CUDA twins: an operation beside a plain copy of the device's memory, which is as fast as
// an operation that is bound by memory can be; or the rate of one that is bound by arithmetic.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "lockstep/base/device.h"
#include "lockstep/base/paired_timing_internal.h"

namespace lockstep::internal {

/// An array in the device's memory.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(const std::vector<T>& values) : buffer_(values.size() * sizeof(T)) {
    buffer_.copy_from_host(values.data());
  }
  explicit DeviceArray(std::int64_t count, T value = T())
      : DeviceArray(std::vector<T>(static_cast<std::size_t>(count), value)) {}

  T* data() const { return static_cast<T*>(buffer_.data()); }
  std::size_t bytes() const { return buffer_.bytes(); }

 private:
  DeviceBuffer buffer_;
};

constexpr int kDeviceCalls = 20;  // for one wait

/// Calls `operation`, which works on the default stream, some times, and waits until all is done.
class DeviceRepeat {
 public:
  template <class Operation>
  void operator()(Operation&& operation) const {
    for (int i = 0; i < kDeviceCalls; ++i) operation();
    float last = 0;
    mark_.copy_to_host(&last);  // waits
  }

 private:
  DeviceBuffer mark_{sizeof(float)};
};

/// Measures `operation`, which works on the default stream and takes so many floating-point operations, an
/// fma counted as two. Counter: 10^12 of them a second, by the median of 15 measurements. State is
/// benchmark::State, with manual time.
template <class State, class Operation>
void time_arithmetic_on_device(State& state, double operations, Operation&& operation) {
  const DeviceRepeat repeat;
  repeat(operation);  // what is made at the first call is not measured
  for (auto _ : state) {
    std::vector<double> seconds(15);
    for (double& one : seconds) one = time_calls([&] { repeat(operation); }, 1, Clock::wall) / kDeviceCalls;
    std::nth_element(seconds.begin(), seconds.begin() + 7, seconds.end());
    state.SetIterationTime(seconds[7]);
    state.counters["TFLOP_s"] = 1e-12 * operations / seconds[7];
  }
}

/// Measures `operation`, which works on the default stream and moves `bytes` of the device's memory.
/// Counters: bytes a second in units of 10^9, the copy's, and their ratio with its interval. State is
/// benchmark::State, with manual time.
template <class State, class Operation>
void time_beside_device_copy(State& state, std::size_t bytes, Operation&& operation) {
  constexpr std::size_t kCopied = std::size_t{1} << 29;
  DeviceBuffer from(kCopied), to(kCopied);
  const DeviceRepeat repeat;
  for (auto _ : state) {
    const PairedRatio times =
        time_pairs([&] { repeat(operation); }, [&] { repeat([&] { to.copy_from(from); }); }, Clock::wall);
    const auto moved = static_cast<double>(bytes), copied = 2.0 * static_cast<double>(kCopied);
    const double seconds = times.operation_seconds / kDeviceCalls;
    state.SetIterationTime(seconds);
    state.counters["GB_s"] = 1e-9 * moved / seconds;
    state.counters["copy_GB_s"] = 1e-9 * copied * kDeviceCalls / times.rival_seconds;
    state.counters["of_copy"] = times.median * moved / copied;
    state.counters["of_copy_low"] = times.low * moved / copied;
    state.counters["of_copy_high"] = times.high * moved / copied;
  }
}

}  // namespace lockstep::internal
