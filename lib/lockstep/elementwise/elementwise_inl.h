#pragma once
// The arithmetic of one element, for host and device. The vector forms do the identical operations. C++17.

#include <cmath>

#include "lockstep/base/host_device.h"

namespace lockstep::elementwise {

template <class T>
LOCKSTEP_HOST_DEVICE inline T add_scaled(T x, T other, T alpha) {
  return std::fma(alpha, other, x);
}

template <class T>
LOCKSTEP_HOST_DEVICE inline T addcmul(T x, T a, T b, T value) {
  return std::fma(value * a, b, x);
}

template <class T>
LOCKSTEP_HOST_DEVICE inline T addcdiv(T x, T a, T b, T value) {
  return std::fma(value, a / b, x);
}

template <class T>
LOCKSTEP_HOST_DEVICE inline T lerp(T start, T end, T weight) {
  const T distance = end - start;
  return std::fabs(weight) < T(0.5) ? std::fma(weight, distance, start)
                                    : std::fma(weight - T(1), distance, end);
}

}  // namespace lockstep::elementwise
