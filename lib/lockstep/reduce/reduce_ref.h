#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. Any
// floating-point type; at(j) is element j of the axis.

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "lockstep/order/lanes.h"
#include "lockstep/order/lanes_ref.h"

namespace lockstep {

template <class T, class At>
T reduce_sum_ref(std::int64_t n, At at) {
  return order::lane_sum<T>(n, at);
}

template <class T, class At>
T reduce_mean_ref(std::int64_t n, At at) {
  return order::lane_sum<T>(n, at) / static_cast<T>(n);
}

/// The lane sum of (x - mean)².
template <class T, class At>
T reduce_squares_ref(std::int64_t n, At at, T mean) {
  return order::lane_chains_ref<T>(static_cast<std::size_t>(n), [&](T lane, std::size_t j) {
    const T deviation = at(static_cast<std::int64_t>(j)) - mean;
    return std::fma(deviation, deviation, lane);
  });
}

template <class T, class At>
T reduce_variance_ref(std::int64_t n, At at, double correction) {
  return reduce_squares_ref<T>(n, at, reduce_mean_ref<T>(n, at)) /
         static_cast<T>(std::fmax(0.0, static_cast<double>(n) - correction));
}

/// The index of the largest element, of the smallest where `smallest`.
template <class At>
std::int64_t reduce_select_ref(std::int64_t n, At at, bool smallest) {
  std::int64_t best = 0;
  for (std::int64_t j = 0; j < n; ++j) {
    if (std::isnan(at(j))) return j;
    if (smallest ? at(j) < at(best) : at(j) > at(best)) best = j;
  }
  return best;
}

}  // namespace lockstep
