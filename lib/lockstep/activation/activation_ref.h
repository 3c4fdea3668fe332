#pragma once
// The formulas in their most obvious form: the judge of the other twins, in their tests. float or double.

#include <cmath>

#include "lockstep/math/math_inl.h"

namespace lockstep::activation_ref {

inline float exp(float x) { return math::exp(x); }
inline double exp(double x) { return std::exp(x); }
inline float log1p(float x) { return math::log1p(x); }
inline double log1p(double x) { return std::log1p(x); }
inline float erf(float x) { return math::erf(x); }
inline double erf(double x) { return std::erf(x); }
inline float tanh(float x) { return math::tanh(x); }
inline double tanh(double x) { return std::tanh(x); }
inline float sigmoid(float x) { return math::sigmoid(x); }
inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

template <class T>
constexpr T kSqrtHalf = static_cast<T>(0.7071067811865475244L);
template <class T>
constexpr T kInverseSqrtTwoPi = static_cast<T>(0.3989422804014326779L);
template <class T>
constexpr T kTwoSqrtTwoOverPi = static_cast<T>(1.5957691216057307117L);
template <class T>
constexpr T kCubic = static_cast<T>(0.044715L);

template <class T>
T relu(T x) {
  return std::isnan(x) || x >= 0 ? x : T(0);
}
template <class T>
T relu_backward(T dy, T x) {
  return std::isnan(x) || x > 0 ? dy : T(0);
}
template <class T>
T sigmoid_backward(T dy, T y) {
  return (dy * (1 - y)) * y;
}
template <class T>
T tanh_backward(T dy, T y) {
  return dy * std::fma(-y, y, T(1));
}
template <class T>
T silu(T x) {
  return x * sigmoid(x);
}
template <class T>
T silu_backward(T dy, T x) {
  return dy * (sigmoid(x) * std::fma(x, 1 - sigmoid(x), T(1)));
}
template <class T>
T gelu_erf(T x) {
  const T half = x / 2;
  return std::fma(half, erf(x * kSqrtHalf<T>), half);
}
template <class T>
T gelu_erf_backward(T dy, T x) {
  const T probability = std::fma(T(0.5), erf(x * kSqrtHalf<T>), T(0.5));
  const T density = exp((T(-0.5) * x) * x) * kInverseSqrtTwoPi<T>;
  return dy * std::fma(x, density, probability);
}
template <class T>
T gelu_tanh_argument(T x) {
  return kTwoSqrtTwoOverPi<T> * std::fma(kCubic<T> * (x * x), x, x);
}
template <class T>
T gelu_tanh(T x) {
  return x * sigmoid(gelu_tanh_argument(x));
}
template <class T>
T gelu_tanh_backward(T dy, T x) {
  const T s = sigmoid(gelu_tanh_argument(x));
  const T slope = kTwoSqrtTwoOverPi<T> * std::fma(3 * kCubic<T>, x * x, T(1));
  return dy * (s * std::fma(x * slope, 1 - s, T(1)));
}
template <class T>
T softplus(T x, T beta, T threshold) {
  const T z = x * beta;
  return z > threshold ? x : ((z < 0 ? T(0) : z) + log1p(exp(-std::fabs(z)))) / beta;
}
template <class T>
T softplus_backward(T dy, T x, T beta, T threshold) {
  const T z = x * beta;
  return z > threshold ? dy : dy * sigmoid(z);
}

}  // namespace lockstep::activation_ref
