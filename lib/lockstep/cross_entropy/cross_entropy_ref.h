#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. float or
// double.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "lockstep/order/lanes_ref.h"

namespace lockstep::cross_entropy_ref {

template <class T>
struct Targets {
  std::vector<std::int64_t> targets;
  std::vector<T> weight;  ///< empty: 1 for every class
  std::int64_t ignore_index = -100;
  T label_smoothing = 0;

  T weight_of(std::size_t j) const { return weight.empty() ? T(1) : weight[j]; }
};

/// The loss of a row of log-probabilities y.
template <class T>
T nll_row(const std::vector<T>& y, const Targets<T>& of, std::size_t row) {
  if (of.targets[row] == of.ignore_index) return T(0);
  const auto target = static_cast<std::size_t>(of.targets[row]);
  const T plain = -(of.weight_of(target) * y[target]);
  if (of.label_smoothing == T(0)) return plain;
  const T sum = order::lane_chains_ref<T>(
      y.size(), [&](T lane, std::size_t j) { return std::fma(of.weight_of(j), y[j], lane); });
  const T every = of.label_smoothing / static_cast<T>(y.size());
  return std::fma(every, -sum, (T(1) - of.label_smoothing) * plain);
}

/// The gradient with respect to the log-probabilities of a row, from that with respect to its loss.
template <class T>
std::vector<T> nll_backward_row(std::size_t classes, const Targets<T>& of, std::size_t row, T gradient) {
  std::vector<T> dy(classes, T(0));
  if (of.targets[row] == of.ignore_index) return dy;
  const auto target = static_cast<std::size_t>(of.targets[row]);
  if (of.label_smoothing == T(0)) {
    dy[target] = -(of.weight_of(target) * gradient);
    return dy;
  }
  const T share = T(1) - of.label_smoothing, every = of.label_smoothing / static_cast<T>(classes);
  for (std::size_t j = 0; j < classes; ++j) dy[j] = -((every * of.weight_of(j)) * gradient);
  dy[target] = -(std::fma(share, of.weight_of(target), every * of.weight_of(target)) * gradient);
  return dy;
}

}  // namespace lockstep::cross_entropy_ref
