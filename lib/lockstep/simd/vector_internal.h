// What every vector form needs beside Highway. Included once for each target, after <hwy/highway.h>.

#if defined(LOCKSTEP_SIMD_VECTOR_INTERNAL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_SIMD_VECTOR_INTERNAL_H
#undef LOCKSTEP_SIMD_VECTOR_INTERNAL_H
#else
#define LOCKSTEP_SIMD_VECTOR_INTERNAL_H
#endif

#include <cmath>

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace lockstep::simd {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// a * b + c with one rounding, on every target. Highway's MulAdd rounds twice on the one-lane target.
template <class V>
HWY_INLINE V fma(V a, V b, V c) {
#if HWY_TARGET == HWY_SCALAR
  return V(std::fma(a.raw, b.raw, c.raw));
#else
  return hn::MulAdd(a, b, c);
#endif
}

/// c - a * b with one rounding, on every target.
template <class V>
HWY_INLINE V negative_fma(V a, V b, V c) {
#if HWY_TARGET == HWY_SCALAR
  return V(std::fma(-a.raw, b.raw, c.raw));
#else
  return hn::NegMulAdd(a, b, c);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::simd
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_SIMD_VECTOR_INTERNAL_H
