// The lane contract (contracts, section 5) in vectors. Included once for each target, after <hwy/highway.h>.

#if defined(LOCKSTEP_SIMD_LANES_INTERNAL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_SIMD_LANES_INTERNAL_H
#undef LOCKSTEP_SIMD_LANES_INTERNAL_H
#else
#define LOCKSTEP_SIMD_LANES_INTERNAL_H
#endif

#include <cstddef>
#include <cstdint>

#include <hwy/highway.h>

#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::simd {
namespace HWY_NAMESPACE {

/// What rooms reduce with: at most 64 bytes, so that a lane count is a multiple of the vector's.
using LaneTag = hn::CappedTag<float, 16>;
using LaneVector = hn::Vec<LaneTag>;

/// The elements j … j + Lanes - 1 of a row, all of which exist.
struct WholeVector {
  std::int64_t j;

  HWY_INLINE LaneVector load(const float* row) const { return hn::LoadU(LaneTag(), row + j); }
  HWY_INLINE void store(LaneVector v, float* row) const { hn::StoreU(v, LaneTag(), row + j); }
  HWY_INLINE LaneVector keep(LaneVector v, LaneVector) const { return v; }
};

/// The elements j … j + count - 1, the row's last, fewer than a vector holds.
struct RestOfRow {
  std::int64_t j;
  std::size_t count;

  /// Zeros behind the row's end.
  HWY_INLINE LaneVector load(const float* row) const { return load_first(LaneTag(), row + j, count); }
  HWY_INLINE void store(LaneVector v, float* row) const { store_first(v, LaneTag(), row + j, count); }
  /// v, and `other` behind the row's end.
  HWY_INLINE LaneVector keep(LaneVector v, LaneVector other) const {
    return hn::IfThenElse(hn::FirstN(LaneTag(), count), v, other);
  }
};

/// Calls visit(place) for the vectors of elements begin … n - 1, ascending; `place` is a WholeVector, or a
/// RestOfRow at the end.
template <class Visit>
HWY_INLINE void for_each_vector(std::int64_t begin, std::int64_t n, Visit visit) {
  const auto step = static_cast<std::int64_t>(hn::Lanes(LaneTag()));
  for (; begin + step <= n; begin += step) visit(WholeVector{begin});
  if (begin < n) visit(RestOfRow{begin, static_cast<std::size_t>(n - begin)});
}

namespace lanes {

constexpr int kMost = 1024;
constexpr int kGroup = 8;  // chains that run side by side in registers

/// One step for the vector of elements from j, of which some, all or none may exist.
template <class Step>
HWY_INLINE LaneVector step_at(std::int64_t j, std::int64_t n, LaneVector lane, Step step) {
  const auto width = static_cast<std::int64_t>(hn::Lanes(LaneTag()));
  if (j + width <= n) return step(lane, WholeVector{j});
  if (j < n) return step(lane, RestOfRow{j, static_cast<std::size_t>(n - j)});
  return lane;
}

/// Eight vectors of lanes from `first`, each a chain in a register, written to lane[first …].
template <class Step>
HWY_INLINE void run_group(int first, int lane_count, std::int64_t n, LaneVector identity, Step step,
                          float* lane) {
  const LaneTag d;
  const auto width = static_cast<std::int64_t>(hn::Lanes(d));
  LaneVector a0 = identity, a1 = identity, a2 = identity, a3 = identity;
  LaneVector a4 = identity, a5 = identity, a6 = identity, a7 = identity;
  std::int64_t j = first;
  for (; j + kGroup * width <= n; j += lane_count) {
    a0 = step(a0, WholeVector{j});
    a1 = step(a1, WholeVector{j + width});
    a2 = step(a2, WholeVector{j + 2 * width});
    a3 = step(a3, WholeVector{j + 3 * width});
    a4 = step(a4, WholeVector{j + 4 * width});
    a5 = step(a5, WholeVector{j + 5 * width});
    a6 = step(a6, WholeVector{j + 6 * width});
    a7 = step(a7, WholeVector{j + 7 * width});
  }
  if (j < n) {
    a0 = step_at(j, n, a0, step);
    a1 = step_at(j + width, n, a1, step);
    a2 = step_at(j + 2 * width, n, a2, step);
    a3 = step_at(j + 3 * width, n, a3, step);
    a4 = step_at(j + 4 * width, n, a4, step);
    a5 = step_at(j + 5 * width, n, a5, step);
    a6 = step_at(j + 6 * width, n, a6, step);
    a7 = step_at(j + 7 * width, n, a7, step);
  }
  float* const target = lane + first;
  hn::Store(a0, d, target);
  hn::Store(a1, d, target + width);
  hn::Store(a2, d, target + 2 * width);
  hn::Store(a3, d, target + 3 * width);
  hn::Store(a4, d, target + 4 * width);
  hn::Store(a5, d, target + 5 * width);
  hn::Store(a6, d, target + 6 * width);
  hn::Store(a7, d, target + 7 * width);
}

/// More lanes than registers: they lie in memory, and four rounds of them go by at a time.
template <class Step>
HWY_INLINE void run_in_memory(int lane_count, std::int64_t n, LaneVector identity, Step step, float* lane) {
  const LaneTag d;
  const auto width = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t i = 0; i < lane_count; i += width) hn::Store(identity, d, lane + i);
  std::int64_t base = 0;
  for (; base + 4 * lane_count <= n; base += 4 * lane_count) {
    for (std::int64_t i = 0; i < lane_count; i += width) {
      LaneVector sum = step(hn::Load(d, lane + i), WholeVector{base + i});
      sum = step(sum, WholeVector{base + lane_count + i});
      sum = step(sum, WholeVector{base + 2 * lane_count + i});
      hn::Store(step(sum, WholeVector{base + 3 * lane_count + i}), d, lane + i);
    }
  }
  for (; base < n; base += lane_count) {
    for (std::int64_t i = 0; i < lane_count && base + i < n; i += width)
      hn::Store(step_at(base + i, n, hn::Load(d, lane + i), step), d, lane + i);
  }
}

/// The tree's levels inside one vector: the result is in lane 0 of what comes back.
template <class D, class Combine>
HWY_INLINE float tree_in_vector(D, hn::Vec<D> v, Combine combine) {
#if HWY_TARGET == HWY_SCALAR
  (void)combine;
  return hn::GetLane(v);
#else
  if constexpr (hn::MaxLanes(D()) > 4) {
    const hn::Half<D> half;
    return tree_in_vector(half, combine(hn::LowerHalf(half, v), hn::UpperHalf(half, v)), combine);
  } else {
    v = combine(v, hn::Shuffle1032(v));
    return hn::GetLane(combine(v, hn::Shuffle2301(v)));
  }
#endif
}

/// The tree over lane[0 … lane_count - 1], of which only the first `filled` hold more than the identity.
template <class Combine>
HWY_INLINE float tree(float* lane, int lane_count, int filled, Combine combine) {
  const LaneTag d;
  const auto width = static_cast<int>(hn::Lanes(d));
  for (int s = lane_count / 2; s >= width; s /= 2) {
    const int paired = filled - s < s ? filled - s : s;
    for (int i = 0; i < paired; i += width)
      hn::Store(combine(hn::Load(d, lane + i), hn::Load(d, lane + i + s)), d, lane + i);
    filled = filled < s ? filled : s;
  }
  return tree_in_vector(d, hn::Load(d, lane), combine);
}

}  // namespace lanes

/// Reduces the elements 0 … n - 1 of a row over `lane_count` lanes, order::lane_count(n). step(lane, place)
/// gives the lanes after the elements at `place`, a WholeVector or the RestOfRow, for whose places behind the
/// row's end it must give `lane` again; combine(a, b) is the tree's, for vectors of any length. Both must
/// leave what meets the identity as it is.
template <class Step, class Combine>
HWY_INLINE float lane_reduce(int lane_count, std::int64_t n, LaneVector identity, Step step,
                             Combine combine) {
  const LaneTag d;
  const auto width = static_cast<int>(hn::Lanes(d));
  HWY_ALIGN float lane[lanes::kMost];
  if (lane_count > 128) {
    lanes::run_in_memory(lane_count, n, identity, step, lane);
    return lanes::tree(lane, lane_count, lane_count, combine);
  }
  int filled = 0;
  for (; filled < lane_count && (filled < n || filled == 0); filled += lanes::kGroup * width)
    lanes::run_group(filled, lane_count, n, identity, step, lane);
  return lanes::tree(lane, lane_count, filled, combine);
}

struct AddVectors {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Add(a, b);
  }
};

/// The lane sum of term(place), whose values behind the row's end do not count.
template <class Term>
HWY_INLINE float lane_sum(int lane_count, std::int64_t n, Term term) {
  const LaneVector zero = hn::Zero(LaneTag());
  return lane_reduce(
      lane_count, n, zero,
      [&](LaneVector lane, auto place) HWY_ATTR { return hn::Add(lane, place.keep(term(place), zero)); },
      AddVectors());
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::simd
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_SIMD_LANES_INTERNAL_H
