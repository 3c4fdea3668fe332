// The elementary functions on vectors of float, of any length: exp(v), log(v), … in
// lockstep::math::HWY_NAMESPACE, with the bits of math_inl.h for every element. Included once for each
// target, after <hwy/highway.h>.

#if defined(LOCKSTEP_MATH_VECTOR_MATH_INTERNAL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_MATH_VECTOR_MATH_INTERNAL_H
#undef LOCKSTEP_MATH_VECTOR_MATH_INTERNAL_H
#else
#define LOCKSTEP_MATH_VECTOR_MATH_INTERNAL_H
#endif

#include <hwy/highway.h>

#include "lockstep/math/math_inl.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::math {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// ---- The operations that elementary_inl.h is written in, for vectors

using simd::HWY_NAMESPACE::fma;
using simd::HWY_NAMESPACE::negative_fma;

template <class V>
using Tag = hn::DFromV<V>;

template <class V>
HWY_INLINE V constant(hn::TFromD<Tag<V> > value) {
  return hn::Set(Tag<V>(), value);
}
template <class I>
HWY_INLINE I same(I, hn::TFromD<Tag<I> > value) {
  return hn::Set(Tag<I>(), value);
}
template <class V>
HWY_INLINE auto bits(V x) {
  return hn::BitCast(hn::RebindToUnsigned<Tag<V> >(), x);
}
template <class I>
HWY_INLINE auto from_bits(I words) {
  return hn::BitCast(hn::RebindToFloat<Tag<I> >(), words);
}
template <class V>
HWY_INLINE V infinity() {
  return constant<V>(internal::infinity<hn::TFromD<Tag<V> > >());
}
template <class V>
HWY_INLINE V quiet_nan() {
  return constant<V>(internal::quiet_nan<hn::TFromD<Tag<V> > >());
}

template <class V>
HWY_INLINE V add(V a, V b) {
  return hn::Add(a, b);
}
template <class V>
HWY_INLINE V sub(V a, V b) {
  return hn::Sub(a, b);
}
template <class V>
HWY_INLINE V mul(V a, V b) {
  return hn::Mul(a, b);
}
template <class V>
HWY_INLINE V div(V a, V b) {
  return hn::Div(a, b);
}
template <class V>
HWY_INLINE V negate(V a) {
  return hn::Xor(a, hn::SignBit(Tag<V>()));
}
template <class V>
HWY_INLINE V abs(V a) {
  return hn::Abs(a);
}
template <class V>
HWY_INLINE V copysign(V magnitude, V sign) {
  return hn::CopySign(magnitude, sign);
}
/// a, its sign turned where that of `by` is set.
template <class V>
HWY_INLINE V flip_sign(V a, V by) {
  return hn::Xor(a, hn::And(by, hn::SignBit(Tag<V>())));
}
template <class V>
HWY_INLINE V floor(V a) {
  return hn::Floor(a);
}
template <class V>
HWY_INLINE V sqrt(V a) {
  return hn::Sqrt(a);
}

// Both give b where either is NaN, as x86's own instructions do.
template <class V>
HWY_INLINE V lesser(V a, V b) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  return hn::Min(a, b);
#else
  return hn::IfThenElse(hn::Lt(a, b), a, b);
#endif
}
template <class V>
HWY_INLINE V greater(V a, V b) {
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
  return hn::Max(a, b);
#else
  return hn::IfThenElse(hn::Gt(a, b), a, b);
#endif
}
template <class V>
HWY_INLINE auto less(V a, V b) {
  return hn::Lt(a, b);
}
template <class V>
HWY_INLINE auto less_or_equal(V a, V b) {
  return hn::Le(a, b);
}
template <class V>
HWY_INLINE auto equal(V a, V b) {
  return hn::Eq(a, b);
}
template <class M, class V>
HWY_INLINE V select(M mask, V yes, V no) {
  return hn::IfThenElse(mask, yes, no);
}

template <class I>
HWY_INLINE I plus(I a, I b) {
  return hn::Add(a, b);
}
template <class I>
HWY_INLINE I minus(I a, I b) {
  return hn::Sub(a, b);
}
template <class I>  // or a mask
HWY_INLINE I both(I a, I b) {
  return hn::And(a, b);
}
template <class I>  // or a mask
HWY_INLINE I either(I a, I b) {
  return hn::Or(a, b);
}
template <class I>
HWY_INLINE I differ(I a, I b) {
  return hn::Xor(a, b);
}
template <int count, class I>
HWY_INLINE I shift_left(I a) {
  return hn::ShiftLeft<count>(a);
}
template <int count, class I>
HWY_INLINE I shift_right(I a) {
  return hn::ShiftRight<count>(a);
}
template <class I>
HWY_INLINE auto lowest_bit(I a) {
  const hn::RebindToFloat<Tag<I> > as_float;
  return hn::RebindMask(as_float, hn::TestBit(a, same(a, 1)));
}

// ---- The functions

#if HWY_TARGET == HWY_SCALAR

#define LOCKSTEP_MATH_ONE_LANE(name)                 \
  template <class V>                                 \
  HWY_INLINE V name(V x) {                           \
    return V(lockstep::math::internal::name(x.raw)); \
  }
LOCKSTEP_MATH_ONE_LANE(exp)
LOCKSTEP_MATH_ONE_LANE(exp_nonpositive)
LOCKSTEP_MATH_ONE_LANE(exp2)
LOCKSTEP_MATH_ONE_LANE(expm1)
LOCKSTEP_MATH_ONE_LANE(log)
LOCKSTEP_MATH_ONE_LANE(log2)
LOCKSTEP_MATH_ONE_LANE(log1p)
LOCKSTEP_MATH_ONE_LANE(tanh)
LOCKSTEP_MATH_ONE_LANE(erf)
LOCKSTEP_MATH_ONE_LANE(sigmoid)
LOCKSTEP_MATH_ONE_LANE(rsqrt)
LOCKSTEP_MATH_ONE_LANE(sin)
LOCKSTEP_MATH_ONE_LANE(cos)
#undef LOCKSTEP_MATH_ONE_LANE
template <class V>
HWY_INLINE V pow(V x, V y) {
  return V(lockstep::math::internal::pow(x.raw, y.raw));
}

#else

/// table[index mod 32] of 32 numbers on 64 bytes, for each index.
template <class V, class I>
HWY_INLINE V lookup(const float* table, I index) {
  const Tag<V> d;
  const Tag<I> di;
#if HWY_TARGET <= HWY_AVX3
  if constexpr (hn::MaxLanes(d) == 16) {
    return V{_mm512_permutex2var_ps(_mm512_load_ps(table), index.raw, _mm512_load_ps(table + 16))};
  }
#endif
#if HWY_TARGET <= HWY_AVX2
  if constexpr (hn::MaxLanes(d) == 8) {
    const auto eight = [&](int first) HWY_ATTR {
      return V{_mm256_permutevar8x32_ps(_mm256_load_ps(table + first), index.raw)};
    };
    const auto upper_eight = hn::RebindMask(d, hn::TestBit(index, hn::Set(di, 8)));
    const auto upper_half = hn::RebindMask(d, hn::TestBit(index, hn::Set(di, 16)));
    return hn::IfThenElse(upper_half, hn::IfThenElse(upper_eight, eight(24), eight(16)),
                          hn::IfThenElse(upper_eight, eight(8), eight(0)));
  }
#endif
  HWY_ALIGN std::uint32_t places[hn::MaxLanes(d)];
  HWY_ALIGN float found[hn::MaxLanes(d)];
  hn::Store(index, di, places);
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) found[i] = table[places[i] & 31];
  return hn::Load(d, found);
}

/// Both halves of a vector as doubles, each through `function`, and back.
template <class V, class Function>
HWY_INLINE V through_double(V x, Function function) {
  const Tag<V> d;
  const hn::Half<Tag<V> > half;
  const hn::Rebind<double, decltype(half)> wide;
  const auto low = function(hn::PromoteTo(wide, hn::LowerHalf(half, x)));
  const auto high = function(hn::PromoteTo(wide, hn::UpperHalf(half, x)));
  return hn::Combine(d, hn::DemoteTo(half, high), hn::DemoteTo(half, low));
}
template <class V, class Function>
HWY_INLINE V through_double(V x, V y, Function function) {
  const Tag<V> d;
  const hn::Half<Tag<V> > half;
  const hn::Rebind<double, decltype(half)> wide;
  const auto low =
      function(hn::PromoteTo(wide, hn::LowerHalf(half, x)), hn::PromoteTo(wide, hn::LowerHalf(half, y)));
  const auto high =
      function(hn::PromoteTo(wide, hn::UpperHalf(half, x)), hn::PromoteTo(wide, hn::UpperHalf(half, y)));
  return hn::Combine(d, hn::DemoteTo(half, high), hn::DemoteTo(half, low));
}

/// p * 2^n with one rounding, as the scalar form's.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
HWY_INLINE hn::Vec512<float> scale(hn::Vec512<float> p, hn::Vec512<float>, hn::Vec512<float> n) {
  return hn::Vec512<float>{_mm512_scalef_ps(p.raw, n.raw)};
}
HWY_INLINE hn::Vec256<float> scale(hn::Vec256<float> p, hn::Vec256<float>, hn::Vec256<float> n) {
  return hn::Vec256<float>{_mm256_scalef_ps(p.raw, n.raw)};
}
template <std::size_t N>
HWY_INLINE hn::Vec128<float, N> scale(hn::Vec128<float, N> p, hn::Vec128<float, N>, hn::Vec128<float, N> n) {
  return hn::Vec128<float, N>{_mm_scalef_ps(p.raw, n.raw)};
}
#else
template <class V>
HWY_INLINE V scale(V p, V shifted, V) {
  const hn::RebindToSigned<Tag<V> > d;
  const auto n = hn::Sub(hn::BitCast(d, shifted), hn::Set(d, 0x4b400000));
  const auto first = hn::ShiftRight<1>(n);
  const auto power = [](auto k) HWY_ATTR {
    const Tag<decltype(k)> dk;
    return from_bits(hn::ShiftLeft<23>(hn::Add(k, hn::Set(dk, 127))));
  };
  return hn::Mul(hn::Mul(p, power(first)), power(hn::Sub(n, first)));
}
#endif

#define LOCKSTEP_MATH_FUNCTION HWY_INLINE
#define LOCKSTEP_MATH_LAMBDA HWY_ATTR
#include "lockstep/math/elementary_inl.h"
#undef LOCKSTEP_MATH_LAMBDA
#undef LOCKSTEP_MATH_FUNCTION

/// Elements beyond the vector form's range, which hardly any program has, go one by one.
template <class V, class Function>
HWY_INLINE V or_beyond(V x, V within, Function one) {
  const Tag<V> d;
  const auto beyond = hn::Ge(abs(x), constant<V>(internal::kTrigonometricLimit));
  if (HWY_LIKELY(hn::AllFalse(d, beyond))) return within;
  HWY_ALIGN float in[hn::MaxLanes(d)], out[hn::MaxLanes(d)];
  hn::Store(x, d, in);
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) out[i] = one(in[i]);
  return hn::IfThenElse(beyond, hn::Load(d, out), within);
}
template <class V>
HWY_INLINE V sin(V x) {
  return or_beyond(x, sin_within(x), [](float one) { return internal::sin(one); });
}
template <class V>
HWY_INLINE V cos(V x) {
  return or_beyond(x, cos_within(x), [](float one) { return internal::cos(one); });
}

#endif  // HWY_TARGET

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::math
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_MATH_VECTOR_MATH_INTERNAL_H
