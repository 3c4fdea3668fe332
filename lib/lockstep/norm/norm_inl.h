#pragma once
// The arithmetic of one element, for host and device. The vector forms do the identical operations. C++17.

#include <cmath>

#include "lockstep/base/host_device.h"

namespace lockstep::norm {

/// 1 / sqrt(sum / n + eps), each operation rounded.
template <class T>
LOCKSTEP_HOST_DEVICE inline T reciprocal_root(T sum, T n, T eps) {
  return T(1) / std::sqrt(sum / n + eps);
}

/// The normalized element; RMSNorm has no mean.
template <class T>
LOCKSTEP_HOST_DEVICE inline T centered(T x, T mean, T rstd) {
  return (x - mean) * rstd;
}

template <class T>
LOCKSTEP_HOST_DEVICE inline T uncentered(T x, T rstd) {
  return x * rstd;
}

/// dx of LayerNorm: g is dy · gamma, `normalized` the forward's element, the others the row's lane sums
/// divided by n.
template <class T>
LOCKSTEP_HOST_DEVICE inline T centered_gradient(T g, T normalized, T mean_of_g, T mean_of_product, T rstd) {
  return (g - std::fma(normalized, mean_of_product, mean_of_g)) * rstd;
}

template <class T>
LOCKSTEP_HOST_DEVICE inline T uncentered_gradient(T g, T normalized, T mean_of_product, T rstd) {
  return std::fma(-normalized, mean_of_product, g) * rstd;
}

}  // namespace lockstep::norm
