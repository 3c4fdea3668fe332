// What every vector form needs beside Highway. Included once for each target, after <hwy/highway.h>.

#if defined(LOCKSTEP_SIMD_VECTOR_INTERNAL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_SIMD_VECTOR_INTERNAL_H
#undef LOCKSTEP_SIMD_VECTOR_INTERNAL_H
#else
#define LOCKSTEP_SIMD_VECTOR_INTERNAL_H
#endif

#include <cmath>
#include <cstddef>

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

// From AVX2 on, loads and stores under a mask are single instructions that do not touch what is masked.
#undef LOCKSTEP_SIMD_MASKED_MEMORY
#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2
#define LOCKSTEP_SIMD_MASKED_MEMORY 1
#else
#define LOCKSTEP_SIMD_MASKED_MEMORY 0
#endif

/// The first `count` elements at p, fewer than a vector holds, and zeros behind them. Reads nothing else.
template <class D, class T = hn::TFromD<D> >
HWY_INLINE hn::Vec<D> load_first(D d, const T* p, std::size_t count) {
#if LOCKSTEP_SIMD_MASKED_MEMORY
  static_assert(sizeof(T) >= 4);
  return hn::MaskedLoad(hn::FirstN(d, count), d, p);
#else
  HWY_ALIGN T buffer[HWY_MAX_BYTES / sizeof(T)] = {};
  for (std::size_t i = 0; i < count; ++i) buffer[i] = p[i];
  return hn::Load(d, buffer);
#endif
}

/// Writes the first `count` elements of v, fewer than a vector holds, and nothing else.
template <class D, class T = hn::TFromD<D> >
HWY_INLINE void store_first(hn::Vec<D> v, D d, T* p, std::size_t count) {
#if LOCKSTEP_SIMD_MASKED_MEMORY
  static_assert(sizeof(T) >= 4);
  hn::BlendedStore(v, hn::FirstN(d, count), d, p);
#else
  HWY_ALIGN T buffer[HWY_MAX_BYTES / sizeof(T)] = {};
  hn::Store(v, d, buffer);
  for (std::size_t i = 0; i < count; ++i) p[i] = buffer[i];
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::simd
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_SIMD_VECTOR_INTERNAL_H
