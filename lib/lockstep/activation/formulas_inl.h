// The formulas of this room, written once for every kind of number, as math's elementary_inl.h is: V is a
// float, or a vector of floats. Included where math's operations and functions are in scope and
// LOCKSTEP_MATH_FUNCTION says how a function is declared; alone it is empty.

#if !defined(LOCKSTEP_MATH_FUNCTION)
#pragma once
#else

constexpr float kSqrtHalf = 0x1.6a09e6p-1f;          // sqrt(1/2)
constexpr float kInverseSqrtTwoPi = 0x1.988454p-2f;  // 1 / sqrt(2 pi)
constexpr float kTwoSqrtTwoOverPi = 0x1.988454p+0f;  // 2 sqrt(2 / pi)
constexpr float kCubic = 0.044715f;

// Forward formulas are y(x); backward formulas dx(dy, x), or dx(dy, y).

template <class V>
LOCKSTEP_MATH_FUNCTION V relu(V x) {
  return greater(constant<V>(0.0f), x);
}
/// From x or from y: they are above 0 together. Where x is NaN, dy goes through.
template <class V>
LOCKSTEP_MATH_FUNCTION V relu_backward(V dy, V x) {
  const V zero = constant<V>(0.0f);
  return select(less_or_equal(x, zero), zero, dy);
}

template <class V>
LOCKSTEP_MATH_FUNCTION V sigmoid_backward(V dy, V y) {
  return mul(mul(dy, sub(constant<V>(1.0f), y)), y);
}

template <class V>
LOCKSTEP_MATH_FUNCTION V tanh_backward(V dy, V y) {
  return mul(dy, negative_fma(y, y, constant<V>(1.0f)));
}

template <class V>
LOCKSTEP_MATH_FUNCTION V silu(V x) {
  return mul(x, sigmoid(x));
}
template <class V>
LOCKSTEP_MATH_FUNCTION V silu_backward(V dy, V x) {
  const V one = constant<V>(1.0f), s = sigmoid(x);
  return mul(dy, mul(s, fma(x, sub(one, s), one)));
}

template <class V>
LOCKSTEP_MATH_FUNCTION V gelu_erf(V x) {
  const V half = mul(constant<V>(0.5f), x);
  return fma(half, erf(mul(x, constant<V>(kSqrtHalf))), half);
}
template <class V>
LOCKSTEP_MATH_FUNCTION V gelu_erf_backward(V dy, V x) {
  const V half = constant<V>(0.5f);
  const V probability = fma(half, erf(mul(x, constant<V>(kSqrtHalf))), half);
  const V density = mul(exp_nonpositive(mul(mul(constant<V>(-0.5f), x), x)), constant<V>(kInverseSqrtTwoPi));
  return mul(dy, fma(x, density, probability));
}

/// 2 sqrt(2 / pi) (x + c x^3): since 1 + tanh(u) = 2 sigmoid(2 u), the tanh form is x sigmoid of this.
template <class V>
LOCKSTEP_MATH_FUNCTION V gelu_tanh_argument(V x) {
  return mul(constant<V>(kTwoSqrtTwoOverPi), fma(mul(constant<V>(kCubic), mul(x, x)), x, x));
}
template <class V>
LOCKSTEP_MATH_FUNCTION V gelu_tanh(V x) {
  return mul(x, sigmoid(gelu_tanh_argument(x)));
}
template <class V>
LOCKSTEP_MATH_FUNCTION V gelu_tanh_backward(V dy, V x) {
  const V one = constant<V>(1.0f), s = sigmoid(gelu_tanh_argument(x));
  const V slope = mul(constant<V>(kTwoSqrtTwoOverPi), fma(constant<V>(3.0f * kCubic), mul(x, x), one));
  return mul(dy, mul(s, fma(mul(x, slope), sub(one, s), one)));
}

/// max(z, 0) + log(1 + e^-|z|), which never overflows, over beta with z = beta x.
template <class V>
LOCKSTEP_MATH_FUNCTION V softplus(V x, V beta, V threshold) {
  const V z = mul(x, beta);
  const V smooth = add(greater(constant<V>(0.0f), z), log1p(exp_nonpositive(negate(abs(z)))));
  return select(less(threshold, z), x, div(smooth, beta));
}
template <class V>
LOCKSTEP_MATH_FUNCTION V softplus_backward(V dy, V x, V beta, V threshold) {
  const V z = mul(x, beta);
  return select(less(threshold, z), dy, mul(dy, sigmoid(z)));
}

#endif  // LOCKSTEP_MATH_FUNCTION
