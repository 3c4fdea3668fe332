// The formulas of this room, written once for every kind of number, as math's elementary_inl.h is: V is a
// float, or a vector of floats. Included where math's operations and functions are in scope and
// LOCKSTEP_MATH_FUNCTION says how a function is declared; alone it is empty.

#if !defined(LOCKSTEP_MATH_FUNCTION)
#pragma once
#else

// Backward formulas are the gradient with respect to x, from g, that with respect to the element's loss.

template <class V>
LOCKSTEP_MATH_FUNCTION V mse(V x, V target) {
  const V distance = sub(x, target);
  return mul(distance, distance);
}
template <class V>
LOCKSTEP_MATH_FUNCTION V mse_backward(V x, V target, V g) {
  return mul(mul(constant<V>(2.0f), sub(x, target)), g);
}

template <class V>
LOCKSTEP_MATH_FUNCTION V l1(V x, V target) {
  return abs(sub(x, target));
}
/// The distance itself where it is a zero or NaN.
template <class V>
LOCKSTEP_MATH_FUNCTION V l1_backward(V x, V target, V g) {
  const V zero = constant<V>(0.0f), distance = sub(x, target);
  return select(less(zero, distance), g, select(less(distance, zero), negate(g), distance));
}

/// (1 - target) x + share (log(1 + e^-|x|) + max(-x, 0)), which never overflows; share = (positive - 1)
/// target + 1.
template <class V>
LOCKSTEP_MATH_FUNCTION V bce_with_logits(V x, V target, V positive, V weight) {
  const V zero = constant<V>(0.0f), one = constant<V>(1.0f);
  const V share = fma(sub(positive, one), target, one);
  const V log_one_plus = add(log1p(exp_nonpositive(negate(abs(x)))), greater(zero, negate(x)));
  return mul(weight, fma(sub(one, target), x, mul(share, log_one_plus)));
}
/// ((p t + (1 - t)) sigmoid(x) - p t) weight g.
template <class V>
LOCKSTEP_MATH_FUNCTION V bce_with_logits_backward(V x, V target, V positive, V weight, V g) {
  const V one = constant<V>(1.0f), hit = mul(positive, target);
  const V slope = fma(add(hit, sub(one, target)), sigmoid(x), negate(hit));
  return mul(mul(slope, weight), g);
}

template <class V>
LOCKSTEP_MATH_FUNCTION V margin_ranking_value(V first, V second, V target, V margin) {
  return negative_fma(target, sub(first, second), margin);
}
template <class V>
LOCKSTEP_MATH_FUNCTION V margin_ranking(V first, V second, V target, V margin) {
  const V zero = constant<V>(0.0f);
  return greater(zero, margin_ranking_value(first, second, target, margin));
}
/// With respect to the first; that with respect to the second is its negative.
template <class V>
LOCKSTEP_MATH_FUNCTION V margin_ranking_backward(V first, V second, V target, V margin, V g) {
  const V zero = constant<V>(0.0f), value = margin_ranking_value(first, second, target, margin);
  return select(less(value, zero), zero, select(equal(value, value), negate(mul(target, g)), zero));
}

#endif  // LOCKSTEP_MATH_FUNCTION
