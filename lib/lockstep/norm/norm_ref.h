#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. Any
// floating-point type. One row at a time; folds through order::fold_rows.

#include <cstddef>
#include <cstdint>

#include "lockstep/norm/norm_inl.h"
#include "lockstep/order/fold.h"
#include "lockstep/order/lanes.h"
#include "lockstep/order/lanes_ref.h"

namespace lockstep {

/// The lane sum of a(j) · b(j), one fma a term.
template <class T, class A, class B>
T lane_product_ref(std::int64_t n, A a, B b) {
  return order::lane_chains_ref<T>(static_cast<std::size_t>(n), [&](T lane, std::size_t j) {
    const auto at = static_cast<std::int64_t>(j);
    return std::fma(a(at), b(at), lane);
  });
}

/// One row of a norm: gamma(j) and beta(j) belong to its element j. RMSNorm is not centered, and has no mean
/// or beta.
template <class T, class Gamma, class Beta>
void norm_row_ref(const T* x, Gamma gamma, Beta beta, T* y, T& mean, T& rstd, std::int64_t n, T eps,
                  bool is_centered) {
  const T count = static_cast<T>(n);
  mean = is_centered ? order::lane_sum<T>(n, [x](std::int64_t j) { return x[j]; }) / count : T(0);
  const auto deviation = [&](std::int64_t j) { return is_centered ? x[j] - mean : x[j]; };
  rstd = norm::reciprocal_root(lane_product_ref<T>(n, deviation, deviation), count, eps);
  for (std::int64_t j = 0; j < n; ++j) {
    const T normalized = is_centered ? norm::centered(x[j], mean, rstd) : norm::uncentered(x[j], rstd);
    y[j] = is_centered ? std::fma(normalized, gamma(j), beta(j)) : normalized * gamma(j);
  }
}

template <class T, class Gamma>
void norm_row_backward_ref(const T* dy, const T* x, T mean, T rstd, Gamma gamma, T* dx, std::int64_t n,
                           bool is_centered) {
  const auto g = [&](std::int64_t j) { return dy[j] * gamma(j); };
  const auto normalized = [&](std::int64_t j) {
    return is_centered ? norm::centered(x[j], mean, rstd) : norm::uncentered(x[j], rstd);
  };
  const T mean_of_g = order::lane_sum<T>(n, g) / static_cast<T>(n);
  const T mean_of_product = lane_product_ref<T>(n, g, normalized) / static_cast<T>(n);
  for (std::int64_t j = 0; j < n; ++j)
    dx[j] = is_centered ? norm::centered_gradient(g(j), normalized(j), mean_of_g, mean_of_product, rstd)
                        : norm::uncentered_gradient(g(j), normalized(j), mean_of_product, rstd);
}

/// The folds of one element of gamma, and of beta; dy(r) and normalized(r) belong to row r of the span.
template <class T, class Dy, class Normalized>
void norm_gamma_fold_ref(const order::FoldSpan& span, Dy dy, Normalized normalized, T& total, T* open) {
  order::fold_rows(span, total, open,
                   [&](T partial, std::int64_t r) { return std::fma(dy(r), normalized(r), partial); });
}

template <class T, class Dy>
void norm_beta_fold_ref(const order::FoldSpan& span, Dy dy, T& total, T* open) {
  order::fold_rows(span, total, open, [&](T partial, std::int64_t r) { return partial + dy(r); });
}

}  // namespace lockstep
