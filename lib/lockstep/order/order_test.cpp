#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/order/lanes.h"

namespace lockstep::order {
namespace {

template <class T>
std::vector<T> values(std::size_t count) {
  std::uint32_t state = 7;
  std::vector<T> out(count);
  for (T& value : out) {
    state = state * 1664525 + 1013904223;
    value = (state >> 31 != 0 ? T(1) : T(-1)) / static_cast<T>((state >> 8) % 1000 + 1);
  }
  return out;
}

template <class T>
T sum(const std::vector<T>& x) {
  return lane_sum<T>(static_cast<std::int64_t>(x.size()),
                     [&](std::int64_t j) { return x[static_cast<std::size_t>(j)]; });
}

/// All W lanes, filled or not; a row that is longer than a block by its blocks.
template <class T>
T obvious_sum(const std::vector<T>& x) {
  if (x.size() > 65536) {
    std::vector<T> sums;
    for (std::size_t begin = 0; begin < x.size(); begin += 65536) {
      const auto first = x.begin() + static_cast<std::ptrdiff_t>(begin);
      sums.push_back(obvious_sum(std::vector<T>(
          first, first + static_cast<std::ptrdiff_t>(std::min<std::size_t>(65536, x.size() - begin)))));
    }
    return obvious_sum(sums);
  }
  const std::size_t w = x.size() <= 8192 ? 128 : 1024;
  std::vector<T> lane(w, T(0));
  for (std::size_t j = 0; j < x.size(); ++j) lane[j % w] = lane[j % w] + x[j];
  for (std::size_t s = w / 2; s >= 1; s /= 2) {
    for (std::size_t i = 0; i < s; ++i) lane[i] = lane[i] + lane[i + s];
  }
  return lane[0];
}

template <class T>
class Lanes : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Lanes, Types);

constexpr std::size_t kLengths[] = {0,    1,    2,    3,    63,   64,    65,    127,   128,    129,
                                    1000, 8191, 8192, 8193, 9216, 10000, 65536, 65537, 100001, 1000000};

TYPED_TEST(Lanes, SumAsTheContractSays) {
  for (const std::size_t length : kLengths) {
    const auto x = values<TypeParam>(length);
    EXPECT_EQ(sum(x), obvious_sum(x)) << length;
  }
}

TYPED_TEST(Lanes, DifferFromAPlainChain) {
  const auto x = values<TypeParam>(10000);
  EXPECT_NE(sum(x), std::accumulate(x.begin(), x.end(), TypeParam(0)));
  auto moved = x;
  std::set<TypeParam> sums;
  for (int i = 0; i < 20; ++i) {
    sums.insert(sum(moved));
    std::rotate(moved.begin(), moved.begin() + 77, moved.end());
  }
  EXPECT_GT(sums.size(), 1u) << "the order belongs to the contract";
}

TYPED_TEST(Lanes, StartAtPlusZero) {
  EXPECT_FALSE(std::signbit(sum(std::vector<TypeParam>{TypeParam(-0.0)})));
  EXPECT_FALSE(std::signbit(sum(std::vector<TypeParam>(300, TypeParam(-0.0)))));
  EXPECT_FALSE(std::signbit(sum(std::vector<TypeParam>{})));
}

TYPED_TEST(Lanes, ReduceWithOtherOperations) {
  const auto largest = [](TypeParam a, TypeParam b) { return b > a ? b : a; };
  for (const std::size_t length : kLengths) {
    if (length == 0) continue;
    const auto x = values<TypeParam>(length);
    const auto got = lane_reduce<TypeParam>(
        static_cast<std::int64_t>(length), -INFINITY,
        [&](std::int64_t j) { return x[static_cast<std::size_t>(j)]; }, largest);
    EXPECT_EQ(got, *std::max_element(x.begin(), x.end())) << length;
  }
  EXPECT_EQ(lane_reduce<TypeParam>(
                0, TypeParam(42), [](std::int64_t) { return TypeParam(0); }, largest),
            42);
}

TEST(LaneCount, DependsOnTheLengthAlone) {
  EXPECT_EQ(lane_count(0), 128);
  EXPECT_EQ(lane_count(8192), 128);
  EXPECT_EQ(lane_count(8193), 1024);
  EXPECT_EQ(kRowsPerChunk, 1024);
}

TEST(LaneSum, HasGoldenBits) {
  // 1/(j+1) for j < 1000 and j < 10000: both lane counts, in both types.
  const auto harmonic = [](auto zero, std::int64_t n) {
    using T = decltype(zero);
    return lane_sum<T>(n, [](std::int64_t j) { return T(1) / static_cast<T>(j + 1); });
  };
  EXPECT_EQ(std::bit_cast<std::uint32_t>(harmonic(0.0f, 1000)), 0x40ef88fau);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(harmonic(0.0f, 10000)), 0x411c9a09u);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(harmonic(0.0, 1000)), 0x401df11f45f4e61au);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(harmonic(0.0, 10000)), 0x40239341192de2b9u);
}

}  // namespace
}  // namespace lockstep::order
