// What softmax, cross-entropy and attention share: a row's largest element, and the lane sum of exp(x -
// largest). Included once for each target, after <hwy/highway.h>.

#if defined(LOCKSTEP_MATH_EXPONENTIAL_SUM_INTERNAL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_MATH_EXPONENTIAL_SUM_INTERNAL_H
#undef LOCKSTEP_MATH_EXPONENTIAL_SUM_INTERNAL_H
#else
#define LOCKSTEP_MATH_EXPONENTIAL_SUM_INTERNAL_H
#endif

#include <cmath>
#include <cstdint>

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "lockstep/math/vector_math_internal.h"
#include "lockstep/simd/lanes_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::math {
namespace HWY_NAMESPACE {

// What a row's loops ask of memory ahead of themselves, in elements: while they compute, the processor's own
// prefetcher stands still. Rows follow each other, so it is the next rows where these are short.
constexpr std::int64_t kRowAhead = 512;

/// The largest element, -inf where there is none. A NaN is passed over: it comes back through the sum. Where
/// zeros of both signs are the largest, either may come, which x - largest does not show but as a zero's
/// sign.
inline float row_max(const float* x, std::int64_t n) {
  namespace lanes = simd::HWY_NAMESPACE;
  const lanes::LaneTag d;
  const lanes::LaneVector lowest = hn::Set(d, -HUGE_VALF);
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  lanes::LaneVector a = lowest, b = lowest, c = lowest, e = lowest;
  const auto larger = [](lanes::LaneVector value, lanes::LaneVector than)
                          HWY_ATTR { return hn::IfThenElse(hn::Gt(value, than), value, than); };
  std::int64_t j = 0;
  for (; j + 4 * step <= n; j += 4 * step) {
    for (std::int64_t line = 0; line < 4 * step; line += 16) hwy::Prefetch(x + j + line + kRowAhead);
    a = larger(hn::LoadU(d, x + j), a);
    b = larger(hn::LoadU(d, x + j + step), b);
    c = larger(hn::LoadU(d, x + j + 2 * step), c);
    e = larger(hn::LoadU(d, x + j + 3 * step), e);
  }
  lanes::for_each_vector(j, n,
                         [&](auto place) HWY_ATTR { a = larger(place.keep(place.load(x), lowest), a); });
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(hn::Max(a, b), hn::Max(c, e))));
}

/// One number through a vector's function. The scalar form has the same bits, but each of its fma is a call
/// where the program is compiled for machines without one.
template <class Function>
HWY_INLINE float one(float x, Function function) {
  return hn::GetLane(function(hn::Set(simd::HWY_NAMESPACE::LaneTag(), x)));
}

/// The sum over `lane_count` lanes of exp(x - m), for m >= every x; each term goes to use(term, place) too.
template <class Use>
HWY_INLINE float exponential_sum(const float* x, float m, int lane_count, std::int64_t n, Use use) {
  namespace lanes = simd::HWY_NAMESPACE;
  const lanes::LaneVector largest = hn::Set(lanes::LaneTag(), m);
  return lanes::lane_sum(lane_count, n, [&](auto place) HWY_ATTR {
    const lanes::LaneVector term = exp_nonpositive(hn::Sub(place.load(x), largest));
    use(term, place);
    return term;
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::math
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_MATH_EXPONENTIAL_SUM_INTERNAL_H
