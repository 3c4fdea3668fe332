// Rows that become columns, a few elements of a vector's number of rows at a time. Included once for each
// target, after <hwy/highway.h>.

#if defined(LOCKSTEP_SIMD_TRANSPOSE_INTERNAL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_SIMD_TRANSPOSE_INTERNAL_H
#undef LOCKSTEP_SIMD_TRANSPOSE_INTERNAL_H
#else
#define LOCKSTEP_SIMD_TRANSPOSE_INTERNAL_H
#endif

#include <cstdint>

#include <hwy/highway.h>

#include "lockstep/simd/lanes_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::simd {
namespace HWY_NAMESPACE {

/// Lanes of a LaneVector.
#if HWY_TARGET == HWY_SCALAR
constexpr int kTransposedLanes = 1;
#elif HWY_TARGET <= HWY_AVX3
constexpr int kTransposedLanes = 16;
#elif HWY_TARGET <= HWY_AVX2
constexpr int kTransposedLanes = 8;
#else
constexpr int kTransposedLanes = 4;
#endif

#if HWY_TARGET != HWY_SCALAR

/// Four elements of the rows 0, 4, 8, … of `source`, four lanes each.
template <class Tag>
HWY_INLINE hn::Vec<Tag> load_quads(Tag d, const float* source, std::int64_t stride) {
  const hn::CappedTag<float, 4> quad;
  if constexpr (kTransposedLanes == 4) {
    return hn::LoadU(d, source);
  } else if constexpr (kTransposedLanes == 8) {
    return hn::Combine(d, hn::LoadU(quad, source + 4 * stride), hn::LoadU(quad, source));
  } else {
    const hn::Half<Tag> half;
    const float* const upper = source + 8 * stride;
    return hn::Combine(d, hn::Combine(half, hn::LoadU(quad, upper + 4 * stride), hn::LoadU(quad, upper)),
                       hn::Combine(half, hn::LoadU(quad, source + 4 * stride), hn::LoadU(quad, source)));
  }
}

#endif

/// target[k * width + j] = source[j * stride + k] for k < 4 and each lane j of a vector.
HWY_INLINE void transpose_four(const float* source, std::int64_t stride, float* target, std::int64_t width) {
#if HWY_TARGET == HWY_SCALAR
  (void)stride;
  for (int k = 0; k < 4; ++k) target[k * width] = source[k];
#else
  const LaneTag d;
  const hn::Repartition<double, LaneTag> pairs;
  const LaneVector q0 = load_quads(d, source, stride), q1 = load_quads(d, source + stride, stride);
  const LaneVector q2 = load_quads(d, source + 2 * stride, stride),
                   q3 = load_quads(d, source + 3 * stride, stride);
  const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, q0, q1));
  const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, q2, q3));
  const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, q0, q1));
  const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, q2, q3));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, low01, low23)), d, target);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, low01, low23)), d, target + width);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(pairs, high01, high23)), d, target + 2 * width);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(pairs, high01, high23)), d, target + 3 * width);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::simd
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_SIMD_TRANSPOSE_INTERNAL_H
