// The lane contract (contracts, section 5) in vectors. Included once for each target, after <hwy/highway.h>.

#if defined(LOCKSTEP_SIMD_LANES_INTERNAL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef LOCKSTEP_SIMD_LANES_INTERNAL_H
#undef LOCKSTEP_SIMD_LANES_INTERNAL_H
#else
#define LOCKSTEP_SIMD_LANES_INTERNAL_H
#endif

#include <cstddef>
#include <cstdint>
#include <vector>

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

constexpr int kFew = 128, kMost = 1024;
constexpr std::int64_t kFewUpTo = 8192, kBlock = 65536;  // order::kShortRow, order::kElementsPerBlock
constexpr int kGroup = 8;                                // chains that run side by side in registers

/// Eight vectors of lanes.
struct Group {
  LaneVector v0, v1, v2, v3, v4, v5, v6, v7;
};

/// One step for the vector of elements from j, of which some, all or none may exist.
template <class Step>
HWY_INLINE LaneVector step_at(std::int64_t j, std::int64_t n, LaneVector lane, Step step) {
  const auto width = static_cast<std::int64_t>(hn::Lanes(LaneTag()));
  if (j + width <= n) return step(lane, WholeVector{j});
  if (j < n) return step(lane, RestOfRow{j, static_cast<std::size_t>(n - j)});
  return lane;
}

HWY_INLINE Group with_all(LaneVector v) { return {v, v, v, v, v, v, v, v}; }

/// The lanes from `first` on, each a chain in a register.
template <class Step>
HWY_INLINE Group run_group(int first, int lane_count, std::int64_t n, LaneVector identity, Step step) {
  const auto width = static_cast<std::int64_t>(hn::Lanes(LaneTag()));
  Group g = with_all(identity);
  std::int64_t j = first;
  for (; j + kGroup * width <= n; j += lane_count) {
    g.v0 = step(g.v0, WholeVector{j});
    g.v1 = step(g.v1, WholeVector{j + width});
    g.v2 = step(g.v2, WholeVector{j + 2 * width});
    g.v3 = step(g.v3, WholeVector{j + 3 * width});
    g.v4 = step(g.v4, WholeVector{j + 4 * width});
    g.v5 = step(g.v5, WholeVector{j + 5 * width});
    g.v6 = step(g.v6, WholeVector{j + 6 * width});
    g.v7 = step(g.v7, WholeVector{j + 7 * width});
  }
  if (j < n) {
    g.v0 = step_at(j, n, g.v0, step);
    g.v1 = step_at(j + width, n, g.v1, step);
    g.v2 = step_at(j + 2 * width, n, g.v2, step);
    g.v3 = step_at(j + 3 * width, n, g.v3, step);
    g.v4 = step_at(j + 4 * width, n, g.v4, step);
    g.v5 = step_at(j + 5 * width, n, g.v5, step);
    g.v6 = step_at(j + 6 * width, n, g.v6, step);
    g.v7 = step_at(j + 7 * width, n, g.v7, step);
  }
  return g;
}

HWY_INLINE void store_group(const Group& g, float* lane) {
  const LaneTag d;
  const std::size_t width = hn::Lanes(d);
  hn::Store(g.v0, d, lane);
  hn::Store(g.v1, d, lane + width);
  hn::Store(g.v2, d, lane + 2 * width);
  hn::Store(g.v3, d, lane + 3 * width);
  hn::Store(g.v4, d, lane + 4 * width);
  hn::Store(g.v5, d, lane + 5 * width);
  hn::Store(g.v6, d, lane + 6 * width);
  hn::Store(g.v7, d, lane + 7 * width);
}

/// More lanes than registers: they lie in memory, and four rounds of them go by at a time. n is at least four
/// rounds.
template <class Step>
HWY_INLINE void run_in_memory(int lane_count, std::int64_t n, LaneVector identity, Step step, float* lane) {
  const LaneTag d;
  const auto width = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t base = 0;
  const auto four_rounds = [&](std::int64_t i, LaneVector sum) HWY_ATTR {
    sum = step(sum, WholeVector{base + i});
    sum = step(sum, WholeVector{base + lane_count + i});
    sum = step(sum, WholeVector{base + 2 * lane_count + i});
    hn::Store(step(sum, WholeVector{base + 3 * lane_count + i}), d, lane + i);
  };
  for (std::int64_t i = 0; i < lane_count; i += width) four_rounds(i, identity);
  for (base = 4 * lane_count; base + 4 * lane_count <= n; base += 4 * lane_count) {
    for (std::int64_t i = 0; i < lane_count; i += width) four_rounds(i, hn::Load(d, lane + i));
  }
  for (; base < n; base += lane_count) {
    for_each_vector(base, n - base < lane_count ? n : base + lane_count, [&](auto place) HWY_ATTR {
      float* const own = lane + (place.j - base);
      hn::Store(step(hn::Load(d, own), place), d, own);
    });
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

template <class Combine>
HWY_INLINE Group combined(const Group& a, const Group& b, Combine combine) {
  return {combine(a.v0, b.v0), combine(a.v1, b.v1), combine(a.v2, b.v2), combine(a.v3, b.v3),
          combine(a.v4, b.v4), combine(a.v5, b.v5), combine(a.v6, b.v6), combine(a.v7, b.v7)};
}

/// The tree over the lanes of a group.
template <class Combine>
HWY_INLINE float tree(const Group& g, Combine combine) {
  const LaneVector a = combine(combine(g.v0, g.v4), combine(g.v2, g.v6));
  const LaneVector b = combine(combine(g.v1, g.v5), combine(g.v3, g.v7));
  return tree_in_vector(LaneTag(), combine(a, b), combine);
}

/// The tree over lane[0 … lane_count - 1], of which only the first `filled` hold more than the identity. The
/// others enter at the end: they make a sum of -0 alone, as fma may give, +0.
template <class Combine>
HWY_INLINE float tree(float* lane, int lane_count, int filled, LaneVector identity, Combine combine) {
  const LaneTag d;
  const auto width = static_cast<int>(hn::Lanes(d));
  const bool has_others = filled < lane_count;
  for (int s = lane_count / 2; s >= width; s /= 2) {
    const int paired = filled - s < s ? filled - s : s;
    for (int i = 0; i < paired; i += width)
      hn::Store(combine(hn::Load(d, lane + i), hn::Load(d, lane + i + s)), d, lane + i);
    filled = filled < s ? filled : s;
  }
  const LaneVector v = hn::Load(d, lane);
  return tree_in_vector(d, has_others ? combine(v, identity) : v, combine);
}

/// A row of four vectors, half of the lanes: heads of attention have that size.
template <class Step, class Combine>
HWY_INLINE float reduce_four(LaneVector identity, Step step, Combine combine) {
  const auto width = static_cast<std::int64_t>(hn::Lanes(LaneTag()));
  const LaneVector a = step(identity, WholeVector{0}), b = step(identity, WholeVector{width}),
                   c = step(identity, WholeVector{2 * width}), e = step(identity, WholeVector{3 * width});
  return tree_in_vector(LaneTag(), combine(combine(combine(a, c), combine(b, e)), identity), combine);
}

/// One block over `lane_count` lanes.
template <class Step, class Combine>
HWY_INLINE float reduce_block(int lane_count, std::int64_t n, LaneVector identity, Step step,
                              Combine combine) {
  const LaneTag d;
  const auto width = static_cast<int>(hn::Lanes(d));
  if (lane_count == kFew && kGroup * width == kFew) {
    if (n == kFew / 2) return reduce_four(identity, step, combine);
    return tree(run_group(0, kFew, n, identity, step), combine);
  }
  if (lane_count == kFew && 2 * kGroup * width == kFew) {
    const Group low = run_group(0, kFew, n, identity, step);
    if (n <= kFew / 2) return tree(combined(low, with_all(identity), combine), combine);
    return tree(combined(low, run_group(kFew / 2, kFew, n, identity, step), combine), combine);
  }
  HWY_ALIGN float lane[kMost];
  if (lane_count > kFew) {
    run_in_memory(lane_count, n, identity, step, lane);
    return tree(lane, lane_count, lane_count, identity, combine);
  }
  int filled = 0;
  for (; filled < lane_count && (filled < n || filled == 0); filled += kGroup * width)
    store_group(run_group(filled, lane_count, n, identity, step), lane + filled);
  return tree(lane, lane_count, filled, identity, combine);
}

/// order::lane_count.
constexpr int lanes_of(std::int64_t n) { return n <= kFewUpTo ? kFew : kMost; }

/// `place`, which counts from the beginning of a block, from the beginning of its row.
template <class Place>
HWY_INLINE Place from(std::int64_t begin, Place place) {
  place.j += begin;
  return place;
}

/// A row of more than one block: each by its lanes, then their results likewise.
template <class Step, class Combine>
HWY_NOINLINE float reduce_blocks(std::int64_t n, LaneVector identity, Step step, Combine combine) {
  std::vector<float> results;
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t count = n - begin < kBlock ? n - begin : kBlock;
    results.push_back(reduce_block(
        lanes_of(count), count, identity,
        [&](LaneVector lane, auto place) HWY_ATTR { return step(lane, from(begin, place)); }, combine));
  }
  const auto blocks = static_cast<std::int64_t>(results.size());
  return reduce_block(
      lanes_of(blocks), blocks, identity,
      [&](LaneVector lane, auto place)
          HWY_ATTR { return combine(lane, place.keep(place.load(results.data()), identity)); },
      combine);
}

}  // namespace lanes

/// Reduces the elements 0 … n - 1 of a row over `lane_count` lanes, order::lane_count(n), in blocks where it
/// is longer than one (order/lanes.h). step(lane, place) gives the lanes after the elements at `place`, a
/// WholeVector or the RestOfRow, for whose places behind the row's end it must give `lane` again; combine(a,
/// b) is the tree's, for vectors of any length. Both must leave what meets the identity as it is.
template <class Step, class Combine>
HWY_INLINE float lane_reduce(int lane_count, std::int64_t n, LaneVector identity, Step step,
                             Combine combine) {
  if (HWY_UNLIKELY(n > lanes::kBlock)) return lanes::reduce_blocks(n, identity, step, combine);
  return lanes::reduce_block(lane_count, n, identity, step, combine);
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

/// Two lane sums over the same elements.
struct TwoSums {
  float first, second;
};

namespace lanes {

/// Four vectors of lanes of each sum.
struct TwoGroups {
  LaneVector a0, a1, a2, a3, b0, b1, b2, b3;
};

/// The lanes from `first` on, chains in registers.
template <class Step>
HWY_INLINE TwoGroups run_two(std::int64_t first, int lane_count, std::int64_t n, Step step) {
  const auto width = static_cast<std::int64_t>(hn::Lanes(LaneTag()));
  const LaneVector zero = hn::Zero(LaneTag());
  TwoGroups g{zero, zero, zero, zero, zero, zero, zero, zero};
  std::int64_t j = first;
  for (; j + 4 * width <= n; j += lane_count) {
    step(g.a0, g.b0, WholeVector{j});
    step(g.a1, g.b1, WholeVector{j + width});
    step(g.a2, g.b2, WholeVector{j + 2 * width});
    step(g.a3, g.b3, WholeVector{j + 3 * width});
  }
  const auto at = [&](std::int64_t k, LaneVector& a, LaneVector& b) HWY_ATTR {
    if (k + width <= n)
      step(a, b, WholeVector{k});
    else if (k < n)
      step(a, b, RestOfRow{k, static_cast<std::size_t>(n - k)});
  };
  if (j < n) {
    at(j, g.a0, g.b0);
    at(j + width, g.a1, g.b1);
    at(j + 2 * width, g.a2, g.b2);
    at(j + 3 * width, g.a3, g.b3);
  }
  return g;
}

HWY_INLINE TwoGroups added(const TwoGroups& g, const TwoGroups& h) {
  return {hn::Add(g.a0, h.a0), hn::Add(g.a1, h.a1), hn::Add(g.a2, h.a2), hn::Add(g.a3, h.a3),
          hn::Add(g.b0, h.b0), hn::Add(g.b1, h.b1), hn::Add(g.b2, h.b2), hn::Add(g.b3, h.b3)};
}

/// Of a row of n elements. Lanes without any hold +0, which enters at the end.
HWY_INLINE TwoSums tree(const TwoGroups& g, std::int64_t n) {
  LaneVector a = hn::Add(hn::Add(g.a0, g.a2), hn::Add(g.a1, g.a3));
  LaneVector b = hn::Add(hn::Add(g.b0, g.b2), hn::Add(g.b1, g.b3));
  if (n < kFew) a = hn::Add(a, hn::Zero(LaneTag())), b = hn::Add(b, hn::Zero(LaneTag()));
  return {tree_in_vector(LaneTag(), a, AddVectors()), tree_in_vector(LaneTag(), b, AddVectors())};
}

/// The lanes in memory, for many of them and for narrow vectors.
template <class Step>
HWY_INLINE TwoSums two_sums_in_memory(int lane_count, std::int64_t n, Step step) {
  const LaneTag d;
  HWY_ALIGN float a[kMost];
  HWY_ALIGN float b[kMost];
  for (int i = 0; i < lane_count; ++i) a[i] = b[i] = 0;
  std::int64_t base = 0;
  for (; base + 4 * lane_count <= n; base += 4 * lane_count) {
    for (std::int64_t i = 0; i < lane_count; i += static_cast<std::int64_t>(hn::Lanes(d))) {
      LaneVector x = hn::Load(d, a + i), y = hn::Load(d, b + i);
      for (int round = 0; round < 4; ++round) step(x, y, WholeVector{base + round * lane_count + i});
      hn::Store(x, d, a + i);
      hn::Store(y, d, b + i);
    }
  }
  for (; base < n; base += lane_count) {
    for_each_vector(base, n - base < lane_count ? n : base + lane_count, [&](auto place) HWY_ATTR {
      const std::int64_t i = place.j - base;
      LaneVector x = hn::Load(d, a + i), y = hn::Load(d, b + i);
      step(x, y, place);
      hn::Store(x, d, a + i);
      hn::Store(y, d, b + i);
    });
  }
  const LaneVector zero = hn::Zero(d);
  return {tree(a, lane_count, lane_count, zero, AddVectors()),
          tree(b, lane_count, lane_count, zero, AddVectors())};
}

template <class Step>
HWY_INLINE TwoSums two_sums_of_block(int lane_count, std::int64_t n, Step step) {
  const auto group = 4 * static_cast<int>(hn::Lanes(LaneTag()));
  if (lane_count > kFew || group < kFew / 4) return two_sums_in_memory(lane_count, n, step);
  TwoGroups low = run_two(0, kFew, n, step);
  if (n > kFew / 2) low = added(low, run_two(kFew / 2, kFew, n, step));
  if (group == kFew / 2 || n <= kFew / 4) return tree(low, n);
  TwoGroups high = run_two(kFew / 4, kFew, n, step);
  if (n > kFew / 4 * 3) high = added(high, run_two(kFew / 4 * 3, kFew, n, step));
  return tree(added(low, high), n);
}

template <class Step>
HWY_NOINLINE TwoSums two_sums_of_blocks(std::int64_t n, Step step) {
  std::vector<float> first, second;
  for (std::int64_t begin = 0; begin < n; begin += kBlock) {
    const std::int64_t count = n - begin < kBlock ? n - begin : kBlock;
    const TwoSums sums = two_sums_of_block(lanes_of(count), count,
                                           [&](LaneVector& a, LaneVector& b, auto place)
                                               HWY_ATTR { step(a, b, from(begin, place)); });
    first.push_back(sums.first);
    second.push_back(sums.second);
  }
  const auto total = [](const std::vector<float>& sums) HWY_ATTR {
    return lane_sum(lanes_of(static_cast<std::int64_t>(sums.size())), static_cast<std::int64_t>(sums.size()),
                    [&](auto place) HWY_ATTR { return place.load(sums.data()); });
  };
  return {total(first), total(second)};
}

}  // namespace lanes

/// step(a, b, place) adds the terms of both sums to their lanes, under the rules of lane_reduce's step.
template <class Step>
HWY_INLINE TwoSums two_lane_sums(int lane_count, std::int64_t n, Step step) {
  if (HWY_UNLIKELY(n > lanes::kBlock)) return lanes::two_sums_of_blocks(n, step);
  return lanes::two_sums_of_block(lane_count, n, step);
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::simd
HWY_AFTER_NAMESPACE();

#endif  // LOCKSTEP_SIMD_LANES_INTERNAL_H
