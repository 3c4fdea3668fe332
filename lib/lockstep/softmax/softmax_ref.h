#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. float or
// double.

#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "lockstep/math/math_inl.h"
#include "lockstep/order/lanes_ref.h"

namespace lockstep::softmax_ref {

inline float exponential(float x) { return math::exp(x); }
inline double exponential(double x) { return std::exp(x); }
inline float logarithm(float x) { return math::log(x); }
inline double logarithm(double x) { return std::log(x); }

template <class T>
T largest(const std::vector<T>& x) {
  T m = -std::numeric_limits<T>::infinity();
  for (const T value : x) m = value > m ? value : m;  // a NaN reaches the result through the sum
  return m;
}

template <class T>
T sum_of_exponentials(const std::vector<T>& x, T m) {
  return order::lane_chains_ref<T>(x.size(),
                                   [&](T lane, std::size_t j) { return lane + exponential(x[j] - m); });
}

template <class T>
std::vector<T> softmax_slice(const std::vector<T>& x) {
  const T m = largest(x), sum = sum_of_exponentials(x, m);
  std::vector<T> y;
  y.reserve(x.size());
  for (const T value : x) y.push_back(exponential(value - m) / sum);
  return y;
}

template <class T>
std::vector<T> log_softmax_slice(const std::vector<T>& x) {
  const T m = largest(x), logarithm_of_sum = logarithm(sum_of_exponentials(x, m));
  std::vector<T> y;
  y.reserve(x.size());
  for (const T value : x) y.push_back((value - m) - logarithm_of_sum);
  return y;
}

template <class T>
std::vector<T> softmax_backward_slice(const std::vector<T>& dy, const std::vector<T>& y) {
  const T dot =
      order::lane_chains_ref<T>(y.size(), [&](T lane, std::size_t j) { return std::fma(dy[j], y[j], lane); });
  std::vector<T> dx;
  for (std::size_t j = 0; j < y.size(); ++j) dx.push_back((dy[j] - dot) * y[j]);
  return dx;
}

template <class T>
std::vector<T> log_softmax_backward_slice(const std::vector<T>& dy, const std::vector<T>& y) {
  const T sum = order::lane_chains_ref<T>(y.size(), [&](T lane, std::size_t j) { return lane + dy[j]; });
  std::vector<T> dx;
  for (std::size_t j = 0; j < y.size(); ++j) dx.push_back(dy[j] - exponential(y[j]) * sum);
  return dx;
}

/// Writes slice(one or more operands' slices) for every slice of [outer, axis, inner] tensors; the result may
/// be an operand.
template <class T, class Slice, class... Operands>
void write_over_axis(std::size_t outer, std::size_t axis, std::size_t inner, Slice slice, T* result,
                     const Operands*... operands) {
  for (std::size_t o = 0; o < outer; ++o) {
    for (std::size_t i = 0; i < inner; ++i) {
      const auto gather = [&](const T* from) {
        std::vector<T> to;
        for (std::size_t a = 0; a < axis; ++a) to.push_back(from[(o * axis + a) * inner + i]);
        return to;
      };
      const std::vector<T> y = slice(gather(operands)...);
      for (std::size_t a = 0; a < axis; ++a) result[(o * axis + a) * inner + i] = y[a];
    }
  }
}

template <class T, class Slice, class... Operands>
std::vector<T> over_axis(std::size_t outer, std::size_t axis, std::size_t inner, Slice slice,
                         const Operands&... operands) {
  std::vector<T> result(outer * axis * inner);
  write_over_axis(outer, axis, inner, slice, result.data(), operands.data()...);
  return result;
}

}  // namespace lockstep::softmax_ref
