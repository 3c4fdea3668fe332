#pragma once
// For benchmarks: an operation against its rival, interleaved, so that what disturbs the machine disturbs
// both.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <time.h>
#include <vector>

namespace lockstep::internal {

/// Rival's time over the operation's time: above 1 the operation is the faster one.
struct PairedRatio {
  double median = 0;
  double low = 0, high = 0;  ///< an interval that holds the true median with at least 95 %
  double operation_seconds = 0, rival_seconds = 0;  ///< medians, of one call
};

enum class Clock {
  wall,    ///< for what waits or uses several threads
  thread,  ///< the calling thread's own processor time: other programs' time slices do not count
};

inline double seconds_now(Clock clock) {
  timespec now{};
  ::clock_gettime(clock == Clock::wall ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Seconds of one call, averaged over `calls`.
template <class Function>
double time_calls(Function&& function, int calls, Clock clock) {
  const double start = seconds_now(clock);
  for (int i = 0; i < calls; ++i) function();
  return (seconds_now(clock) - start) / calls;
}

/// How many calls take about `seconds`.
template <class Function>
int calls_for(Function&& function, double seconds, Clock clock) {
  function();  // what is made at the first call is not measured
  int calls = 1;
  while (calls < (1 << 24) && time_calls(function, calls, clock) * calls < seconds) calls *= 2;
  return calls;
}

/// From how far below the middle the order statistics of n values make a 95 % interval of the median: the
/// largest rank k with 2 P(Binomial(n, 1/2) <= k) <= 0.05, counted from 0.
inline std::size_t interval_rank(std::size_t n) {
  double tail = 0, term = std::pow(0.5, static_cast<double>(n));
  std::size_t rank = 0;
  for (std::size_t k = 0; k < n; ++k) {
    tail += term;
    if (2 * tail > 0.05) break;
    rank = k + 1;
    term *= static_cast<double>(n - k) / static_cast<double>(k + 1);
  }
  return rank;
}

inline double median_of(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

/// `pairs` (at least 15) measurements of both, each of about `seconds`, who goes first alternating.
template <class Operation, class Rival>
PairedRatio time_pairs(Operation&& operation, Rival&& rival, Clock clock, int pairs = 21,
                       double seconds = 0.002) {
  const int operation_calls = calls_for(operation, seconds, clock);
  const int rival_calls = calls_for(rival, seconds, clock);
  std::vector<double> ratios, operation_times, rival_times;
  for (int pair = 0; pair < pairs; ++pair) {
    if (pair % 2 == 0) operation_times.push_back(time_calls(operation, operation_calls, clock));
    rival_times.push_back(time_calls(rival, rival_calls, clock));
    if (pair % 2 == 1) operation_times.push_back(time_calls(operation, operation_calls, clock));
    ratios.push_back(rival_times.back() / operation_times.back());
  }
  std::sort(ratios.begin(), ratios.end());
  const std::size_t rank = interval_rank(ratios.size());
  return {ratios[ratios.size() / 2], ratios[rank], ratios[ratios.size() - 1 - rank],
          median_of(operation_times), median_of(rival_times)};
}

}  // namespace lockstep::internal
