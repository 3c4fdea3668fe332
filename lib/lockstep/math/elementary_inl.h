// The algorithms of this room, written once for every kind of number: float, and each instruction set's
// vectors. math_inl.h and vector_math_internal.h include it where the operations that it calls are declared
// (add, fma, select, …) and LOCKSTEP_MATH_FUNCTION says how a function is declared; alone it is empty. V is a
// float or a vector of floats, W a double or a vector of doubles.

#if !defined(LOCKSTEP_MATH_FUNCTION)
#pragma once
#else

// 1.5 * 2^23: a sum with it has its unit at 1, so the add rounds to an integer, which the lowest bits then
// hold.
constexpr float kRounder = 0x1.8p23f;
constexpr double kWideRounder = 0x1.8p52;

/// acc x^k + … + c0, from the highest coefficient, one fma each.
template <class V>
LOCKSTEP_MATH_FUNCTION V horner(V, V acc) {
  return acc;
}
template <class V, class T, class... More>
LOCKSTEP_MATH_FUNCTION V horner(V x, V acc, T next, More... more) {
  return horner(x, fma(acc, x, constant<V>(next)), more...);
}

// ---- Exponentials

/// 2^n for the integer n that `shifted` holds.
template <class W>
LOCKSTEP_MATH_FUNCTION W wide_power_of_two(W shifted) {
  return from_bits(plus(bits(constant<W>(1.0)), shift_left<52>(bits(shifted))));
}

/// x = n ln(2) + high + low with |high + low| <= ln(2) / 2; n = shifted - kRounder. `high` is exact.
template <class V>
struct Reduced {
  V shifted, n, high;
};
template <class V>
LOCKSTEP_MATH_FUNCTION Reduced<V> reduce(V x) {
  Reduced<V> to;
  to.shifted = fma(x, constant<V>(internal::kLog2E), constant<V>(kRounder));
  to.n = sub(to.shifted, constant<V>(kRounder));
  to.high = fma(to.n, constant<V>(-internal::kLn2High), x);
  return to;
}
template <class V>
LOCKSTEP_MATH_FUNCTION V whole(const Reduced<V>& of) {
  return fma(of.n, constant<V>(-internal::kLn2Low), of.high);
}

/// e^r - 1.
template <class V>
LOCKSTEP_MATH_FUNCTION V exp_less_one(V r) {
  const V tail = horner(r, constant<V>(internal::kExpC4), internal::kExpC3, internal::kExpC2,
                        internal::kExpC1, internal::kExpC0);
  return fma(mul(r, r), tail, r);
}

/// exp for x of -104 … 89, NaN included.
template <class V>
LOCKSTEP_MATH_FUNCTION V exp_within(V x) {
  const Reduced<V> parts = reduce(x);
  return scale(add(constant<V>(1.0f), exp_less_one(whole(parts))), parts.shifted, parts.n);
}

/// exp for x <= 0, NaN included: what a softmax needs.
template <class V>
LOCKSTEP_MATH_FUNCTION V exp_nonpositive(V x) {
  return exp_within(greater(constant<V>(-104.0f), x));  // e^-104 is below half the least subnormal
}

template <class V>
LOCKSTEP_MATH_FUNCTION V exp(V x) {
  return exp_nonpositive(lesser(constant<V>(89.0f), x));
}

template <class W>
LOCKSTEP_MATH_FUNCTION W exp2_wide(W x) {
  const W shifted = add(x, constant<W>(kWideRounder));
  const W r = sub(x, sub(shifted, constant<W>(kWideRounder)));
  const W q = horner(r, constant<W>(internal::kExp2C6), internal::kExp2C5, internal::kExp2C4,
                     internal::kExp2C3, internal::kExp2C2, internal::kExp2C1, internal::kExp2C0);
  return from_bits(plus(bits(fma(q, r, constant<W>(1.0))), shift_left<52>(bits(shifted))));
}

template <class V>
LOCKSTEP_MATH_FUNCTION V exp2(V x) {
  const V within = greater(constant<V>(-160.0f), lesser(constant<V>(129.0f), x));
  return through_double(within, [](auto w) LOCKSTEP_MATH_LAMBDA { return exp2_wide(w); });
}

template <class W>
LOCKSTEP_MATH_FUNCTION W expm1_wide(W x) {
  const W shifted = fma(x, constant<W>(internal::kLog2EWide), constant<W>(kWideRounder));
  const W n = sub(shifted, constant<W>(kWideRounder));
  const W r = fma(n, constant<W>(-internal::kLn2WideLow), fma(n, constant<W>(-internal::kLn2WideHigh), x));
  const W q = horner(r, constant<W>(internal::kExpm1C6), internal::kExpm1C5, internal::kExpm1C4,
                     internal::kExpm1C3, internal::kExpm1C2, internal::kExpm1C1, internal::kExpm1C0);
  const W power = wide_power_of_two(shifted);
  return fma(power, fma(mul(r, r), q, r), sub(power, constant<W>(1.0)));
}

template <class V>
LOCKSTEP_MATH_FUNCTION V expm1(V x) {
  const V within = greater(constant<V>(-20.0f), lesser(constant<V>(89.0f), x));
  const V y = through_double(within, [](auto w) LOCKSTEP_MATH_LAMBDA { return expm1_wide(w); });
  return select(equal(x, constant<V>(0.0f)), x, y);  // -0 stays
}

// ---- Logarithms

/// x = 2^k (1 + f) with sqrt(1/2) <= 1 + f <= sqrt(2), for a positive normal x; f is exact.
template <class V>
struct Split {
  V k, f;
};
template <class V>
LOCKSTEP_MATH_FUNCTION Split<V> split(V x) {
  const V root = constant<V>(internal::kSqrtHalf), one = constant<V>(1.0f);
  const auto moved = plus(bits(x), minus(bits(one), bits(root)));
  const V exponent = from_bits(either(shift_right<23>(moved), bits(constant<V>(0x1p23f))));
  const V m = from_bits(plus(both(moved, same(moved, 0x007fffff)), bits(root)));
  return {sub(exponent, constant<V>(0x1p23f + 127)), sub(m, one)};
}

/// log(1 + f) - f.
template <class V>
LOCKSTEP_MATH_FUNCTION V log_rest(V f) {
  const V q =
      horner(f, constant<V>(internal::kLogC8), internal::kLogC7, internal::kLogC6, internal::kLogC5,
             internal::kLogC4, internal::kLogC3, internal::kLogC2, internal::kLogC1, internal::kLogC0);
  return mul(mul(f, f), fma(f, q, constant<V>(-0.5f)));
}

/// k ln(2) + f + rest, the last two far smaller than the first where k is not 0.
template <class V>
LOCKSTEP_MATH_FUNCTION V log_sum(V k, V f, V rest) {
  const V product = mul(k, constant<V>(internal::kLn2High));  // exact
  const V high = add(product, f);
  return add(high, add(add(sub(product, high), f), rest));
}

/// The logarithm's value where x is no positive number: NaN below 0, -inf at 0, x itself at infinity and NaN.
template <class V>
LOCKSTEP_MATH_FUNCTION V log_special(V x, V value) {
  const V zero = constant<V>(0.0f);
  const V positive = select(less(x, infinity<V>()), value, x);
  const V not_negative = select(less(x, zero), quiet_nan<V>(), positive);
  return select(equal(x, zero), negate(infinity<V>()), not_negative);
}

template <class V>
LOCKSTEP_MATH_FUNCTION V log(V x) {
  const auto subnormal = less(x, constant<V>(0x1p-126f));
  const Split<V> parts = split(select(subnormal, mul(x, constant<V>(0x1p23f)), x));
  const V k = select(subnormal, sub(parts.k, constant<V>(23.0f)), parts.k);
  return log_special(x, log_sum(k, parts.f, fma(k, constant<V>(internal::kLn2Low), log_rest(parts.f))));
}

/// log1p for x > -1, without the cases of infinity, NaN and -0.
template <class V>
LOCKSTEP_MATH_FUNCTION V log1p_within(V x) {
  const V zero = constant<V>(0.0f), one = constant<V>(1.0f);
  const V larger = greater(one, x), smaller = lesser(one, x);
  const V u = add(larger, smaller);
  const V lost = sub(smaller, sub(u, larger));  // 1 + x = u + lost
  const Split<V> parts = split(u);
  const auto near = equal(parts.k, zero);
  const V f = select(near, x, parts.f);
  // log(1 + f + e) = log(1 + f) + e / (1 + f), and e is so small that three terms of 1 / (1 + f) do.
  const V unscale = from_bits(minus(bits(one), shift_left<23>(bits(add(parts.k, constant<V>(kRounder))))));
  const V e = select(near, zero, select(less(u, constant<V>(0x1p30f)), mul(lost, unscale), zero));
  const V rest = fma(parts.k, constant<V>(internal::kLn2Low), log_rest(f));
  return log_sum(parts.k, f, fma(e, fma(f, sub(f, one), one), rest));
}

template <class V>
LOCKSTEP_MATH_FUNCTION V log1p(V x) {
  const V one = constant<V>(1.0f), zero = constant<V>(0.0f);
  const V positive = select(less(x, infinity<V>()), log1p_within(x), x);
  const V within = select(less(x, negate(one)), quiet_nan<V>(), positive);
  const V pole = select(equal(x, negate(one)), negate(infinity<V>()), within);
  return select(equal(x, zero), x, pole);
}

/// For a positive x, subnormal floats included: they are normal as doubles.
template <class W>
LOCKSTEP_MATH_FUNCTION W log2_wide(W x) {
  const W root = constant<W>(0x1.6a09e667f3bcdp-1), one = constant<W>(1.0);
  const auto moved = plus(bits(x), minus(bits(one), bits(root)));
  const W exponent = from_bits(either(shift_right<52>(moved), bits(constant<W>(0x1p52))));
  const W k = sub(exponent, constant<W>(0x1p52 + 1023));
  const W m = from_bits(plus(both(moved, same(moved, 0x000fffffffffffff)), bits(root)));
  const W s = div(sub(m, one), add(m, one));
  const W z = mul(s, s);
  const W q = horner(z, constant<W>(internal::kLog2C5), internal::kLog2C4, internal::kLog2C3,
                     internal::kLog2C2, internal::kLog2C1, internal::kLog2C0);
  return fma(s, fma(z, q, constant<W>(internal::kTwoOverLn2)), k);
}

template <class V>
LOCKSTEP_MATH_FUNCTION V log2(V x) {
  return log_special(x, through_double(x, [](auto w) LOCKSTEP_MATH_LAMBDA { return log2_wide(w); }));
}

// ---- Powers

/// a^y for a >= 0, as far as it is exp2(y log2(a)); NaN where that is.
template <class W>
LOCKSTEP_MATH_FUNCTION W pow_wide(W a, W y) {
  const W zero = constant<W>(0.0), infinite = infinity<W>();
  const W positive = select(less(a, infinite), log2_wide(a), a);
  const W logarithm = select(equal(a, zero), negate(infinite), positive);
  const W product = select(equal(logarithm, zero), zero, mul(y, logarithm));
  return exp2_wide(greater(constant<W>(-160.0), lesser(constant<W>(130.0), product)));
}

template <class V>
LOCKSTEP_MATH_FUNCTION V pow(V x, V y) {
  const V zero = constant<V>(0.0f), one = constant<V>(1.0f);
  const V a = abs(x), magnitude_of_y = abs(y), half_of_y = mul(magnitude_of_y, constant<V>(0.5f));
  const V size = through_double(a, y, [](auto v, auto w) LOCKSTEP_MATH_LAMBDA { return pow_wide(v, w); });
  const auto integer = equal(floor(magnitude_of_y), magnitude_of_y);
  const auto even = equal(floor(half_of_y), half_of_y);
  const V if_odd = select(even, size, copysign(size, x));
  const auto finite_negative = both(less(x, zero), less(a, infinity<V>()));
  const V if_integer = select(integer, if_odd, select(finite_negative, quiet_nan<V>(), size));
  const V with_nan = select(equal(y, y), if_integer, y);
  return select(either(equal(y, zero), equal(x, one)), one, with_nan);
}

// ---- Hyperbolic tangent, logistic function, error function

/// Row `row` of a function's pieces at each index.
template <class V, class I>
LOCKSTEP_MATH_FUNCTION V piece(const float* pieces, int row, I index) {
  return lookup<V>(pieces + 32 * row, index);
}

/// The polynomial c0 + c1 t + … of a piece, whose rows 1 … degree + 1 hold c0 … of each piece.
template <int degree, class V, class I>
LOCKSTEP_MATH_FUNCTION V piece_polynomial(const float* pieces, I index, V t) {
  V sum = piece<V>(pieces, degree + 1, index);
  for (int power = degree - 1; power >= 0; --power) sum = fma(sum, t, piece<V>(pieces, power + 1, index));
  return sum;
}

/// |x| = n / 4 + t, and a polynomial of t around each n: what tanh(x) has beyond x near 0, beyond a base of
/// its own elsewhere.
template <class V>
LOCKSTEP_MATH_FUNCTION V tanh(V x) {
  const float* const pieces = internal::tanh_pieces();
  const V a = lesser(constant<V>(9.1f), abs(x));  // tanh(9.1) rounds to 1
  const V shifted = fma(lesser(constant<V>(7.75f), a), constant<V>(4.0f), constant<V>(kRounder));
  const V n = sub(shifted, constant<V>(kRounder)), t = fma(n, constant<V>(-0.25f), a);
  const auto index = bits(shifted);
  const V base = select(less(n, constant<V>(1.5f)), a, piece<V>(pieces, 0, index));
  return copysign(add(base, piece_polynomial<6>(pieces, index, t)), x);
}

/// As tanh, in pieces of 1/8.
template <class V>
LOCKSTEP_MATH_FUNCTION V erf(V x) {
  const float* const pieces = internal::erf_pieces();
  const V a = lesser(constant<V>(3.93f), abs(x));  // erf(3.93) rounds to 1
  const V shifted = fma(a, constant<V>(8.0f), constant<V>(kRounder));
  const V n = sub(shifted, constant<V>(kRounder)), t = fma(n, constant<V>(-0.125f), a);
  const auto index = bits(shifted);
  const V base = select(less(n, constant<V>(3.5f)), a, piece<V>(pieces, 0, index));
  return copysign(add(base, piece_polynomial<5>(pieces, index, t)), x);
}

/// num / (1 + z) with z = e^-|x| and num = z below 0, 1 above. z has a second part, and the quotient is put
/// right by what is left over: num - q - q z.
template <class V>
LOCKSTEP_MATH_FUNCTION V sigmoid(V x) {
  const V zero = constant<V>(0.0f), one = constant<V>(1.0f);
  const Reduced<V> parts = reduce(greater(constant<V>(-104.0f), negate(abs(x))));
  const V rest = exp_less_one(whole(parts));
  const V sum = add(one, rest), sum_low = add(sub(one, sum), rest);
  const V z = scale(sum, parts.shifted, parts.n), z_low = scale(sum_low, parts.shifted, parts.n);
  const auto negative = less(x, zero);
  const V numerator = select(negative, z, one);
  const V q = div(numerator, add(one, z));
  const V inverse = select(negative, sub(one, q), q);  // 1 / (1 + z)
  const V left = negative_fma(inverse, flip_sign(z_low, x), negative_fma(q, z, sub(numerator, q)));
  return fma(left, inverse, q);
}

// ---- Roots, sine and cosine

template <class V>
LOCKSTEP_MATH_FUNCTION V rsqrt(V x) {
  return div(constant<V>(1.0f), sqrt(x));
}

/// The sine (quarter 0) or cosine (quarter 1) of r + n pi / 2, with n in the lowest bits of `shifted`.
template <class W>
LOCKSTEP_MATH_FUNCTION W sine_of(W r, W shifted) {
  const W z = mul(r, r);
  const W sine =
      fma(mul(r, z),
          horner(z, constant<W>(internal::kSinC3), internal::kSinC2, internal::kSinC1, internal::kSinC0), r);
  const W cosine =
      fma(mul(z, z),
          horner(z, constant<W>(internal::kCosC3), internal::kCosC2, internal::kCosC1, internal::kCosC0),
          negative_fma(constant<W>(0.5), z, constant<W>(1.0)));
  const auto n = bits(shifted);
  const W value = select(lowest_bit(n), cosine, sine);
  return from_bits(differ(bits(value), shift_left<62>(both(n, same(n, 2)))));
}

/// For |x| < 2^40: n has at most 40 bits, and the two parts of pi / 2 more than 100.
template <class W>
LOCKSTEP_MATH_FUNCTION W sine_wide(W x, double quarter) {
  const W shifted = fma(x, constant<W>(internal::kTwoOverPi), constant<W>(kWideRounder));
  const W n = sub(shifted, constant<W>(kWideRounder));
  const W r = fma(n, constant<W>(-internal::kHalfPiLow), fma(n, constant<W>(-internal::kHalfPiHigh), x));
  return sine_of(r, add(shifted, constant<W>(quarter)));
}

template <class V>
LOCKSTEP_MATH_FUNCTION V sin_within(V x) {
  const V y = through_double(x, [](auto w) LOCKSTEP_MATH_LAMBDA { return sine_wide(w, 0.0); });
  return select(equal(x, constant<V>(0.0f)), x, y);
}
template <class V>
LOCKSTEP_MATH_FUNCTION V cos_within(V x) {
  return through_double(x, [](auto w) LOCKSTEP_MATH_LAMBDA { return sine_wide(w, 1.0); });
}

#endif  // LOCKSTEP_MATH_FUNCTION
