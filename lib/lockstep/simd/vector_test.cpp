// The headers that vector forms share, compiled once for each instruction set as a room's own file is.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/simd/vector_test.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/highway.h>

#include "lockstep/simd/lanes_internal.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::simd {
namespace HWY_NAMESPACE {

const char* form_name() { return hwy::TargetName(HWY_TARGET); }

std::size_t width() { return hn::Lanes(LaneTag()); }

float fma_of(float a, float b, float c) {
  const LaneTag d;
  return hn::GetLane(fma(hn::Set(d, a), hn::Set(d, b), hn::Set(d, c)));
}

float negative_fma_of(float a, float b, float c) {
  const LaneTag d;
  return hn::GetLane(negative_fma(hn::Set(d, a), hn::Set(d, b), hn::Set(d, c)));
}

/// Copies `count` elements, fewer than a vector holds, and gives the vector as it was loaded to `whole`.
void copy_first(const float* from, float* to, std::size_t count, float* whole) {
  const LaneTag d;
  const LaneVector v = load_first(d, from, count);
  hn::StoreU(v, d, whole);
  store_first(v, d, to, count);
}

float sum_of(const float* x, std::int64_t n, int lane_count) {
  return lane_sum(lane_count, n, [x](auto place) HWY_ATTR {
    return hn::Add(place.load(x), hn::Set(LaneTag(), 1.0f));  // not the identity behind the row's end
  });
}

float square_sum_of(const float* x, std::int64_t n, int lane_count) {
  return lane_reduce(
      lane_count, n, hn::Zero(LaneTag()),
      [x](LaneVector lane, auto place) HWY_ATTR {
        const LaneVector v = place.load(x);
        return fma(v, v, lane);
      },
      AddVectors());
}

/// The same of -x · x, whose products are below 0.
float negative_square_sum_of(const float* x, std::int64_t n, int lane_count, bool of_two) {
  const auto step = [x](LaneVector lane, auto place) HWY_ATTR {
    const LaneVector v = place.load(x);
    return place.keep(fma(hn::Neg(v), v, lane), lane);
  };
  if (!of_two) return lane_reduce(lane_count, n, hn::Zero(LaneTag()), step, AddVectors());
  return two_lane_sums(lane_count, n,
                       [step](LaneVector& a, LaneVector& b, auto place) HWY_ATTR {
                         a = hn::Add(a, hn::Zero(LaneTag()));
                         b = step(b, place);
                       })
      .second;
}

float one_of_two(const float* x, std::int64_t n, int lane_count, bool second) {
  const TwoSums sums = two_lane_sums(lane_count, n, [x](LaneVector& a, LaneVector& b, auto place) HWY_ATTR {
    const LaneVector v = place.load(x);
    a = hn::Add(a, place.keep(hn::Add(v, hn::Set(LaneTag(), 1.0f)), hn::Zero(LaneTag())));
    b = fma(v, v, b);
  });
  return second ? sums.second : sums.first;
}

void negate(float* x, std::int64_t begin, std::int64_t n) {
  for_each_vector(begin, n, [x](auto place) HWY_ATTR { place.store(hn::Neg(place.load(x)), x); });
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <gtest/gtest.h>

#include "lockstep/order/lanes.h"
#include "lockstep/simd/every_form_test.h"
#include "lockstep/simd/targets.h"

namespace lockstep::simd {
namespace {

HWY_EXPORT(form_name);
HWY_EXPORT(width);
HWY_EXPORT(fma_of);
HWY_EXPORT(negative_fma_of);
HWY_EXPORT(copy_first);
HWY_EXPORT(sum_of);
HWY_EXPORT(square_sum_of);
HWY_EXPORT(one_of_two);
HWY_EXPORT(negative_square_sum_of);
HWY_EXPORT(negate);

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

std::vector<float> values(std::int64_t count) {
  std::uint32_t state = 5;
  std::vector<float> out(static_cast<std::size_t>(count));
  for (float& value : out) {
    state = state * 1664525 + 1013904223;
    value = std::ldexp(static_cast<float>(static_cast<std::int32_t>(state) >> 8),
                       static_cast<int>(state & 15) - 30);
  }
  return out;
}

template <class Check>
void in_every_set(Check check) {
  for (const std::string& name : instruction_sets()) {
    SCOPED_TRACE(name);
    const ForcedSet forced(name);
    check();
  }
}

TEST(VectorForms, TheForcedOneRuns) {
  in_every_set([] {
    EXPECT_EQ(LOCKSTEP_SIMD_CALL(form_name)(), active_instruction_set());
    EXPECT_EQ(LOCKSTEP_SIMD_CALL(width)() == 1, active_instruction_set() == "SCALAR");
  });
}

TEST(VectorForms, FmaRoundsOnce) {
  in_every_set([] {
    const float a = 1 + 0x1p-12f,
                c = -(1 + 0x1p-11f);  // a * a = 1 + 2^-11 + 2^-24: rounded first, the sum is 0
    EXPECT_EQ(LOCKSTEP_SIMD_CALL(fma_of)(a, a, c), 0x1p-24f);
    EXPECT_EQ(LOCKSTEP_SIMD_CALL(negative_fma_of)(a, a, -c), -0x1p-24f);
    const auto x = values(300);
    for (std::size_t i = 0; i + 2 < x.size(); ++i) {
      EXPECT_EQ(bits(LOCKSTEP_SIMD_CALL(fma_of)(x[i], x[i + 1], x[i + 2])),
                bits(std::fma(x[i], x[i + 1], x[i + 2])));
      EXPECT_EQ(bits(LOCKSTEP_SIMD_CALL(negative_fma_of)(x[i], x[i + 1], x[i + 2])),
                bits(std::fma(-x[i], x[i + 1], x[i + 2])));
    }
  });
}

TEST(VectorForms, RowTailsTouchNothingElse) {
  in_every_set([] {
    const std::size_t lanes = LOCKSTEP_SIMD_CALL(width)();
    for (std::size_t count = 0; count < lanes; ++count) {
      std::vector<float> from(count, 3.0f), to(lanes, 7.0f), whole(lanes, 9.0f);
      LOCKSTEP_SIMD_CALL(copy_first)(from.data(), to.data(), count, whole.data());
      for (std::size_t i = 0; i < lanes; ++i) {
        EXPECT_EQ(to[i], i < count ? 3.0f : 7.0f);
        EXPECT_EQ(bits(whole[i]), bits(i < count ? 3.0f : 0.0f)) << "zeros behind the row's end";
      }
    }
  });
}

TEST(VectorForms, EveryElementIsVisitedOnce) {
  in_every_set([] {
    for (std::int64_t n = 0; n < 70; ++n) {
      for (std::int64_t begin = 0; begin <= std::min<std::int64_t>(n, 5); ++begin) {
        std::vector<float> x(80, 1.0f);
        LOCKSTEP_SIMD_CALL(negate)(x.data(), begin, n);
        for (std::int64_t i = 0; i < 80; ++i)
          EXPECT_EQ(x[static_cast<std::size_t>(i)], begin <= i && i < n ? -1.0f : 1.0f) << begin << ", " << n;
      }
    }
  });
}

TEST(VectorForms, LanesAreTheContracts) {
  std::vector<std::int64_t> lengths{1000, 1023, 1024, 1025, 4095,  4096,  8191,
                                    8192, 8193, 9000, 9216, 12288, 12289, 20000};
  for (std::int64_t n = 0; n < 300; ++n) lengths.push_back(n);
  in_every_set([&] {
    for (const std::int64_t n : lengths) {
      const auto x = values(n);
      const int lanes = order::lane_count(n);
      const auto at = [&](std::int64_t j) { return x[static_cast<std::size_t>(j)]; };
      EXPECT_EQ(bits(LOCKSTEP_SIMD_CALL(sum_of)(x.data(), n, lanes)),
                bits(order::lane_sum<float>(n, [&](std::int64_t j) { return at(j) + 1.0f; })))
          << n;
      std::vector<float> lane(static_cast<std::size_t>(lanes), 0.0f);
      for (std::int64_t j = 0; j < n; ++j) {
        float& own = lane[static_cast<std::size_t>(j % lanes)];
        own = std::fma(at(j), at(j), own);
      }
      order::lane_tree(lane.data(), lanes, lanes, [](float a, float b) { return a + b; });
      EXPECT_EQ(bits(LOCKSTEP_SIMD_CALL(square_sum_of)(x.data(), n, lanes)), bits(lane[0])) << n;
      for (const bool second : {false, true}) {
        const float expected = second ? LOCKSTEP_SIMD_CALL(square_sum_of)(x.data(), n, lanes)
                                      : LOCKSTEP_SIMD_CALL(sum_of)(x.data(), n, lanes);
        EXPECT_EQ(bits(LOCKSTEP_SIMD_CALL(one_of_two)(x.data(), n, lanes, second)), bits(expected)) << n;
      }
    }
  });
}

// Products that vanish leave -0 in their lanes: the sum is +0 as long as a lane has no element.
TEST(VectorForms, LanesWithoutElementsMakeMinusZeroPlusZero) {
  const std::vector<float> x(9000, 1e-30f);
  in_every_set([&] {
    for (const std::int64_t n :
         {0, 1, 5, 16, 31, 32, 33, 63, 64, 65, 96, 97, 127, 128, 129, 200, 8192, 9000}) {
      const int lanes = order::lane_count(n);
      const std::uint32_t expected = n < lanes ? bits(0.0f) : bits(-0.0f);
      for (const bool of_two : {false, true})
        EXPECT_EQ(bits(LOCKSTEP_SIMD_CALL(negative_square_sum_of)(x.data(), n, lanes, of_two)), expected)
            << n << (of_two ? ", of two" : "");
    }
  });
}

}  // namespace
}  // namespace lockstep::simd

#endif  // HWY_ONCE
