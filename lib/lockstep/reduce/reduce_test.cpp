#include "lockstep/reduce/reduce.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device_values_test.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/flushing_caller_test.h"
#include "lockstep/reduce/reduce_ref.h"
#include "lockstep/reduce/reduce_vectors.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;
using Indices = std::vector<std::int64_t>;

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

Values elements(std::int64_t count, std::uint32_t first = 0) {
  Values values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = reduce_element(first + static_cast<std::uint32_t>(i));
  return values;
}

std::string text(const ReduceShape& s) {
  return std::to_string(s.outer) + " × " + std::to_string(s.axis) + " × " + std::to_string(s.inner);
}

std::int64_t whole(const ReduceShape& s) { return s.outer * s.axis * s.inner; }
std::size_t reduced(const ReduceShape& s) { return static_cast<std::size_t>(s.outer * s.inner); }

void expect_same(const Values& got, const Values& expected, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(expected[i])) {  // payloads are outside the promise
      ASSERT_TRUE(std::isnan(got[i])) << what << ", element " << i;
    } else {
      ASSERT_EQ(bits(got[i]), bits(expected[i])) << what << ", element " << i << " of " << got.size();
    }
  }
}

struct Results {
  explicit Results(const ReduceShape& s)
      : sum(reduced(s), -1),
        mean(sum),
        variance(sum),
        middle(sum),
        max(sum),
        min(sum),
        argmax(sum.size(), -1),
        argmin(argmax) {}
  Values sum, mean, variance, middle, max, min;
  Indices argmax, argmin;
};

void expect_same(const Results& got, const Results& expected) {
  expect_same(got.sum, expected.sum, "sum");
  expect_same(got.mean, expected.mean, "mean");
  expect_same(got.variance, expected.variance, "variance");
  expect_same(got.middle, expected.middle, "the variance's mean");
  expect_same(got.max, expected.max, "max");
  expect_same(got.min, expected.min, "min");
  EXPECT_EQ(got.argmax, expected.argmax);
  EXPECT_EQ(got.argmin, expected.argmin);
}

// ---- The twins under one name

struct Ref {
  static Results run(const Values& x, const ReduceShape& s) {
    Results r(s);
    for (std::size_t i = 0; i < reduced(s); ++i) {
      const std::int64_t outer = static_cast<std::int64_t>(i) / s.inner,
                         inner = static_cast<std::int64_t>(i) % s.inner;
      const auto at = [&](std::int64_t j) {
        return x[static_cast<std::size_t>((outer * s.axis + j) * s.inner + inner)];
      };
      r.sum[i] = reduce_sum_ref<float>(s.axis, at);
      r.mean[i] = r.middle[i] = reduce_mean_ref<float>(s.axis, at);
      r.variance[i] = reduce_variance_ref<float>(s.axis, at, 1);
      if (s.axis == 0) continue;
      r.argmax[i] = reduce_select_ref(s.axis, at, false), r.max[i] = at(r.argmax[i]);
      r.argmin[i] = reduce_select_ref(s.axis, at, true), r.min[i] = at(r.argmin[i]);
    }
    return r;
  }
  template <class Check>
  static void each(Check check) {
    check();
  }
};

struct Cpu {
  static Results run(const Values& x, const ReduceShape& s) {
    Results r(s);
    reduce_sum(x.data(), r.sum.data(), s);
    reduce_mean(x.data(), r.mean.data(), s);
    reduce_variance(x.data(), r.variance.data(), r.middle.data(), s);
    if (s.axis == 0) return r;
    reduce_max(x.data(), r.max.data(), r.argmax.data(), s);
    reduce_min(x.data(), r.min.data(), r.argmin.data(), s);
    return r;
  }
  template <class Check>
  static void each(Check check) {
    simd::in_every_form(check);
  }
};

struct Cuda {
  static Results run(const Values& values, const ReduceShape& s) {
    const Results none(s);
    DeviceValues<float> x(values), sum(none.sum), mean(none.mean), variance(none.variance),
        middle(none.middle), max(none.max), min(none.min);
    DeviceValues<std::int64_t> argmax(none.argmax), argmin(none.argmin);
    reduce_sum(x.data(), sum.data(), s, Device::cuda);
    reduce_mean(x.data(), mean.data(), s, Device::cuda);
    reduce_variance(x.data(), variance.data(), middle.data(), s, 1, Device::cuda);
    Results r(s);
    r.sum = sum.values(), r.mean = mean.values(), r.variance = variance.values(), r.middle = middle.values();
    if (s.axis == 0) return r;
    reduce_max(x.data(), max.data(), argmax.data(), s, Device::cuda);
    reduce_min(x.data(), min.data(), argmin.data(), s, Device::cuda);
    r.max = max.values(), r.min = min.values(), r.argmax = argmax.values(), r.argmin = argmin.values();
    return r;
  }
  template <class Check>
  static void each(Check check) {
    check();
  }
};

template <class Twin>
class Reduce : public testing::Test {
 protected:
  void SetUp() override {
    if (std::is_same_v<Twin, Cuda> && cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
  }
};
TYPED_TEST_SUITE_P(Reduce);

/// The elements of each axis are 0 …, whatever lies outside and inside.
Values repeated(const ReduceShape& s) {
  Values x(static_cast<std::size_t>(whole(s)));
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = reduce_element(static_cast<std::uint32_t>(static_cast<std::int64_t>(i) / s.inner % s.axis));
  return x;
}

TYPED_TEST_P(Reduce, GivesTheExpectedBitsInEveryLayout) {
  TypeParam::each([] {
    for (const ReduceVector& vector : kReduceVectors) {
      for (const std::int64_t inner : {1, 2, 19, 70}) {
        if (vector.axis * inner > 1'000'000) continue;
        const ReduceShape shape{2, vector.axis, inner};
        const Values x = repeated(shape);
        const Results got = TypeParam::run(x, shape);
        for (std::size_t i = 0; i < reduced(shape); ++i) {
          ASSERT_EQ(bits(got.sum[i]), vector.sum) << text(shape) << ", " << i;
          ASSERT_EQ(bits(got.mean[i]), vector.mean) << text(shape) << ", " << i;
          ASSERT_EQ(bits(got.variance[i]), vector.variance) << text(shape) << ", " << i;
        }
        if constexpr (std::is_same_v<TypeParam, Cpu>) {
          Values of_all(reduced(shape));
          reduce_variance(x.data(), of_all.data(), nullptr, shape, 0);
          ASSERT_EQ(bits(of_all.back()), vector.variance_of_all);
        }
      }
    }
  });
}

REGISTER_TYPED_TEST_SUITE_P(Reduce, GivesTheExpectedBitsInEveryLayout);
INSTANTIATE_TYPED_TEST_SUITE_P(Ref, Reduce, Ref);
INSTANTIATE_TYPED_TEST_SUITE_P(Cpu, Reduce, Cpu);
INSTANTIATE_TYPED_TEST_SUITE_P(Gpu, Reduce, Cuda);

TEST(ReduceCpu, IsTheReference) {
  std::vector<ReduceShape> shapes;
  for (std::int64_t n = 1; n < 40; ++n)
    shapes.push_back({3, n, 1}), shapes.push_back({2, 5, n}), shapes.push_back({1, n, 33});
  for (const std::int64_t n : {63, 64, 65, 127, 128, 129, 255, 256, 257, 1000, 8192, 8193, 9300, 20'000})
    shapes.push_back({2, n, 1}), shapes.push_back({1, n, 20});
  shapes.insert(shapes.end(),
                {{400, 10, 1}, {5, 300, 130}, {3, 200, 64}, {1000, 3, 7}, {7, 1, 50}, {50, 1, 1}});
  for (const std::int64_t n : {65'536, 65'537, 200'000})  // one block, and more
    shapes.push_back({2, n, 1}), shapes.push_back({1, n, 3});
  for (const ReduceShape& shape : shapes) {
    SCOPED_TRACE(text(shape));
    const Values x = elements(whole(shape), 77);
    const Results expected = Ref::run(x, shape);
    simd::in_every_form([&] { expect_same(Cpu::run(x, shape), expected); });
  }
}

TEST(ReduceCpu, SlicesDoNotKnowEachOther) {
  for (const ReduceShape& shape : {ReduceShape{9, 300, 1}, ReduceShape{5, 40, 37}}) {
    const Values x = elements(whole(shape));
    simd::in_every_form([&] {
      const Results together = Cpu::run(x, shape);
      for (std::int64_t o = 0; o < shape.outer; ++o) {
        const std::int64_t slice = shape.axis * shape.inner;
        const Values one(x.begin() + o * slice, x.begin() + (o + 1) * slice);
        const Results alone = Cpu::run(one, {1, shape.axis, shape.inner});
        for (std::int64_t i = 0; i < shape.inner; ++i) {
          const auto a = static_cast<std::size_t>(o * shape.inner + i), b = static_cast<std::size_t>(i);
          EXPECT_EQ(bits(together.sum[a]), bits(alone.sum[b]));
          EXPECT_EQ(bits(together.variance[a]), bits(alone.variance[b]));
          EXPECT_EQ(together.argmax[a], alone.argmax[b]);
        }
      }
    });
  }
}

TEST(ReduceCpu, EmptyExtents) {
  simd::in_every_form([] {
    EXPECT_TRUE(Cpu::run({}, {0, 5, 3}).sum.empty());
    EXPECT_TRUE(Cpu::run({}, {4, 5, 0}).sum.empty());
    for (const std::int64_t inner : {1, 5}) {
      const Results none = Cpu::run({}, {2, 0, inner});
      for (std::size_t i = 0; i < none.sum.size(); ++i) {
        EXPECT_EQ(bits(none.sum[i]), 0u);
        EXPECT_TRUE(std::isnan(none.mean[i]));
        EXPECT_TRUE(std::isnan(none.variance[i]));
      }
    }
    float y = 0;
    const float one = 2.5f;
    reduce_variance(&one, &y, nullptr, {1, 1, 1});
    EXPECT_TRUE(std::isnan(y)) << "0 / 0";
    const float two[] = {1, 2};
    reduce_variance(two, &y, nullptr, {1, 2, 1}, 5);
    EXPECT_EQ(y, std::numeric_limits<float>::infinity()) << "a divisor is not negative";
  });
}

// ---- Special values

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// `places` of an axis of n elements that are 1, in both layouts; gives max's and min's (value, index).
void check_choice(std::int64_t n, const std::vector<std::pair<std::int64_t, float>>& places,
                  std::int64_t max_index, std::int64_t min_index) {
  for (const std::int64_t inner : {1, 3}) {
    const ReduceShape shape{1, n, inner};
    Values x(static_cast<std::size_t>(whole(shape)), 1.0f);
    for (const auto& [place, value] : places)
      for (std::int64_t i = 0; i < inner; ++i) x[static_cast<std::size_t>(place * inner + i)] = value;
    simd::in_every_form([&] {
      const Results got = Cpu::run(x, shape);
      for (std::size_t i = 0; i < got.argmax.size(); ++i) {
        ASSERT_EQ(got.argmax[i], max_index) << text(shape);
        ASSERT_EQ(got.argmin[i], min_index) << text(shape);
        const float chosen = x[static_cast<std::size_t>(max_index * inner)];
        ASSERT_TRUE(std::isnan(chosen) ? std::isnan(got.max[i]) : bits(got.max[i]) == bits(chosen))
            << text(shape);
      }
    });
  }
}

TEST(ReduceChoice, TiesTakeTheLowestIndex) {
  check_choice(200, {}, 0, 0);
  check_choice(200, {{90, 5.0f}, {91, 5.0f}, {190, 5.0f}, {20, -5.0f}, {150, -5.0f}}, 90, 20);
  check_choice(200, {{199, 5.0f}, {198, -5.0f}}, 199, 198);
  check_choice(77, {{76, kInfinity}, {75, -kInfinity}, {3, -kInfinity}}, 76, 3);
}

TEST(ReduceChoice, TheFirstNanWins) {
  check_choice(200, {{50, kNan}, {10, kInfinity}, {120, kNan}, {5, -kInfinity}}, 50, 50);
  check_choice(70, {{69, kNan}}, 69, 69);
  check_choice(3, {{1, kNan}, {2, kNan}}, 1, 1);
}

TEST(ReduceChoice, ZerosAreEqualAndTheFirstIsGiven) {
  Values x(100, -1.0f);
  x[40] = -0.0f, x[41] = 0.0f;
  simd::in_every_form([&] {
    const Results got = Cpu::run(x, {1, 100, 1});
    EXPECT_EQ(got.argmax[0], 40);
    EXPECT_EQ(bits(got.max[0]), 0x80000000u);
  });
}

TEST(ReduceChoice, AllNegativeInfinityIsAChoiceToo) {
  const Values x(50, -kInfinity);
  simd::in_every_form([&] {
    const Results got = Cpu::run(x, {1, 50, 1});
    EXPECT_EQ(got.argmax[0], 0);
    EXPECT_EQ(got.max[0], -kInfinity);
  });
}

TEST(ReduceCpu, SumsOfSpecialValues) {
  simd::in_every_form([] {
    const auto sum = [](const Values& x, std::int64_t inner) {
      return Cpu::run(x, {1, static_cast<std::int64_t>(x.size()) / inner, inner}).sum[0];
    };
    for (const std::int64_t inner : {1, 2}) {
      EXPECT_EQ(bits(sum(Values(300, -0.0f), inner)), 0u) << "lanes start at +0";
      EXPECT_EQ(sum({kInfinity, kInfinity, 1, 1}, inner), kInfinity);
      EXPECT_TRUE(std::isnan(sum({kInfinity, 0, -kInfinity, 0}, inner)));
      EXPECT_TRUE(std::isnan(sum({1, 1, kNan, 1}, inner)));
      EXPECT_EQ(bits(sum(Values(4, std::bit_cast<float>(1u)), inner)), inner == 1 ? 4u : 2u)
          << "subnormals are kept";
    }
  });
}

// ---- Gradients

TEST(ReduceBackward, SpreadsOverTheAxis) {
  for (const ReduceShape& s : {ReduceShape{3, 50, 1}, ReduceShape{2, 40, 19}, ReduceShape{200, 300, 1},
                               ReduceShape{4, 0, 3}, ReduceShape{0, 4, 3}}) {
    SCOPED_TRACE(text(s));
    const Values dy = elements(static_cast<std::int64_t>(reduced(s))), x = elements(whole(s), 500);
    Results forward(s);
    reduce_variance(x.data(), forward.variance.data(), forward.middle.data(), s);
    Indices index(reduced(s));
    for (std::size_t i = 0; i < index.size(); ++i)
      index[i] = static_cast<std::int64_t>(7 * i) % std::max<std::int64_t>(1, s.axis);
    simd::in_every_form([&] {
      Values sum(x.size(), -1), mean(sum), variance(sum), selected(sum);
      reduce_sum_backward(dy.data(), sum.data(), s);
      reduce_mean_backward(dy.data(), mean.data(), s);
      reduce_variance_backward(dy.data(), x.data(), forward.middle.data(), variance.data(), s);
      reduce_select_backward(dy.data(), index.data(), selected.data(), s);
      const float factor = static_cast<float>(2.0 / static_cast<double>(s.axis - 1));
      for (std::size_t i = 0; i < x.size(); ++i) {
        const auto at = static_cast<std::int64_t>(i);
        const auto r = static_cast<std::size_t>(at / s.inner / s.axis * s.inner + at % s.inner);
        ASSERT_EQ(bits(sum[i]), bits(dy[r]));
        ASSERT_EQ(bits(mean[i]), bits(dy[r] / static_cast<float>(s.axis)));
        ASSERT_EQ(bits(variance[i]), bits((x[i] - forward.middle[r]) * (dy[r] * factor)));
        ASSERT_EQ(bits(selected[i]), bits(at / s.inner % s.axis == index[r] ? dy[r] : 0.0f));
      }
    });
  }
}

TEST(ReduceBackward, VarianceIsThatOfFiniteDifferences) {
  const std::int64_t n = 9;
  std::vector<double> x(n);
  for (std::size_t j = 0; j < x.size(); ++j) x[j] = reduce_element(static_cast<std::uint32_t>(j));
  const auto variance = [&] {
    return reduce_variance_ref<double>(
        n, [&](std::int64_t j) { return x[static_cast<std::size_t>(j)]; }, 1);
  };
  Values single(x.begin(), x.end()), dx(single.size());
  const float dy = 1;
  float mean = 0, y = 0;
  reduce_variance(single.data(), &y, &mean, {1, n, 1});
  reduce_variance_backward(&dy, single.data(), &mean, dx.data(), {1, n, 1});
  for (std::size_t j = 0; j < x.size(); ++j) {
    const double before = x[j], step = 1e-6;
    x[j] = before + step;
    const double above = variance();
    x[j] = before - step;
    const double below = variance();
    x[j] = before;
    EXPECT_NEAR((above - below) / (2 * step), dx[j], 1e-5);
  }
}

// ---- CUDA: the CPU's bits

class ReduceGpu : public GpuSuite<> {
 protected:
  static void expect_the_cpus_bits(const Values& x, const ReduceShape& shape) {
    SCOPED_TRACE(text(shape));
    expect_same(Cuda::run(x, shape), Cpu::run(x, shape));
  }
};

// Each way to work on a slice begins and ends at one of these lengths, and needs no whole number of teams.
TEST_F(ReduceGpu, HasTheCpusBitsAtTheEdgesOfEveryForm) {
  for (const std::int64_t edge : {0, 2, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536}) {
    for (const std::int64_t axis : {edge - 1, edge, edge + 1}) {
      if (axis < 0) continue;
      for (const ReduceShape& shape :
           {ReduceShape{edge > 1024 ? 3 : 67, axis, 1}, ReduceShape{2, axis, edge > 1024 ? 3 : 19}})
        expect_the_cpus_bits(elements(whole(shape), 77), shape);
    }
  }
}

TEST_F(ReduceGpu, HasTheCpusBitsOfManySlicesAndOfLongOnes) {
  for (const ReduceShape& shape : {ReduceShape{70'000, 3, 1},
                                   {20'000, 40, 1},
                                   {2, 5, 30'000},
                                   {300, 17, 33},
                                   {1, 500'001, 1},
                                   {1, 73'729, 2},
                                   {0, 5, 3},
                                   {4, 5, 0}})
    expect_the_cpus_bits(elements(whole(shape)), shape);
}

TEST_F(ReduceGpu, SpecialValuesGoAsOnTheCpu) {
  const float special[] = {0.0f,
                           -0.0f,
                           std::bit_cast<float>(1u),
                           std::bit_cast<float>(0x80000001u),
                           3e38f,
                           -3e38f,
                           kInfinity,
                           -kInfinity,
                           kNan};
  for (const ReduceShape& shape :
       {ReduceShape{162, 5, 1}, {162, 300, 1}, {5, 3000, 1}, {1, 5, 162}, {2, 70, 81}, {2, 20'000, 3}}) {
    const auto n = static_cast<std::size_t>(whole(shape));
    Values zeros(n, -0.0f), infinite(n, -kInfinity), mixed = elements(whole(shape), 5);
    for (std::size_t i = 0; i < n; i += 7) mixed[i] = special[i / 7 % 9];
    Values few = elements(whole(shape), 9);
    for (std::size_t i = 0; i < n; i += 431) few[i] = special[i / 431 % 9];
    for (const Values& x : {zeros, infinite, mixed, few}) expect_the_cpus_bits(x, shape);
  }
}

TEST_F(ReduceGpu, AChoiceWritesWhatIsWanted) {
  const ReduceShape shape{3, 40, 5};
  const Values values = elements(whole(shape));
  const Results expected = Cpu::run(values, shape);
  DeviceValues<float> x(values), y(expected.min);
  DeviceValues<std::int64_t> index(expected.argmin);
  reduce_max(x.data(), y.data(), nullptr, shape, Device::cuda);
  reduce_max(x.data(), nullptr, index.data(), shape, Device::cuda);
  reduce_min(x.data(), nullptr, nullptr, shape, Device::cuda);
  expect_same(y.values(), expected.max, "max");
  EXPECT_EQ(index.values(), expected.argmax);
}

TEST_F(ReduceGpu, GradientsAreTheCpus) {
  for (const ReduceShape& s :
       {ReduceShape{3, 50, 1}, ReduceShape{2, 40, 19}, ReduceShape{200, 300, 1}, ReduceShape{4, 0, 3},
        ReduceShape{0, 4, 3}, ReduceShape{2, 9000, 1}, ReduceShape{2, 9000, 3}, ReduceShape{2, 70'000, 1}}) {
    SCOPED_TRACE(text(s));
    const Values dy = elements(s.outer * s.inner), x = elements(whole(s), 500),
                 mean = elements(s.outer * s.inner, 900), none(x.size(), -1.0f);
    Indices index(reduced(s));
    for (std::size_t i = 0; i < index.size(); ++i)
      index[i] = static_cast<std::int64_t>(7 * i) % std::max<std::int64_t>(1, s.axis);
    DeviceValues<float> on_dy(dy), on_x(x), on_mean(mean), dx(none);
    DeviceValues<std::int64_t> on_index(index);
    Values expected(none);
    reduce_sum_backward(dy.data(), expected.data(), s);
    reduce_sum_backward(on_dy.data(), dx.data(), s, Device::cuda);
    expect_same(dx.values(), expected, "sum");
    reduce_mean_backward(dy.data(), expected.data(), s);
    reduce_mean_backward(on_dy.data(), dx.data(), s, Device::cuda);
    expect_same(dx.values(), expected, "mean");
    reduce_variance_backward(dy.data(), x.data(), mean.data(), expected.data(), s);
    reduce_variance_backward(on_dy.data(), on_x.data(), on_mean.data(), dx.data(), s, 1, Device::cuda);
    expect_same(dx.values(), expected, "variance");
    reduce_select_backward(dy.data(), index.data(), expected.data(), s);
    reduce_select_backward(on_dy.data(), on_index.data(), dx.data(), s, Device::cuda);
    expect_same(dx.values(), expected, "select");
  }
}

TEST_F(ReduceGpu, AnIndexOutsideTheAxisMakesItsGradientNan) {
  DeviceValues<float> dy({1.0f, 2.0f, 3.0f, 4.0f}), dx(Values(12, -1.0f));
  DeviceValues<std::int64_t> index({0, 3, -1, 2});
  reduce_select_backward(dy.data(), index.data(), dx.data(), {4, 3, 1}, Device::cuda);
  expect_same(dx.values(), {1, 0, 0, kNan, kNan, kNan, kNan, kNan, kNan, 0, 0, 4}, "dx");
}

// ---- The suite can fail

TEST(ReduceTwin, APlainSumGoesRed) {
  int different = 0;
  for (const ReduceVector& vector : kReduceVectors) {
    const Values x = elements(vector.axis);
    different += bits(std::accumulate(x.begin(), x.end(), 0.0f)) != vector.sum;
  }
  EXPECT_GE(different, 6);
}

TEST(ReduceTwin, AnotherLaneCountGoesRed) {
  const Values x = elements(8193);
  float lane[128] = {};
  for (std::size_t j = 0; j < x.size(); ++j) lane[j % 128] += x[j];
  order::lane_tree(lane, 128, 128, [](float a, float b) { return a + b; });
  EXPECT_NE(bits(lane[0]), bits(reduce_sum_ref<float>(
                               8193, [&](std::int64_t j) { return x[static_cast<std::size_t>(j)]; })));
}

TEST(ReduceTwin, OneBlockForALongRowGoesRed) {
  const Values x = elements(200'000);
  const auto at = [&](std::int64_t j) { return x[static_cast<std::size_t>(j)]; };
  const float one = order::lane_reduce_block(std::int64_t{200'000}, 0.0f, at, std::plus<float>());
  EXPECT_NE(bits(one), bits(reduce_sum_ref<float>(200'000, at)));
}

#if defined(__x86_64__)
TEST(ReduceCpu, KeepsSubnormalsForACallerThatFlushesThem) {
  const Values x(6, std::bit_cast<float>(1u));
  float row = 0, columns[2] = {};
  FlushingCaller caller;
  reduce_sum(x.data(), &row, {1, 6, 1});
  reduce_sum(x.data(), columns, {1, 3, 2});
  const bool kept = caller.end();
  EXPECT_EQ(bits(row), 6u);
  EXPECT_EQ(bits(columns[1]), 3u);
  EXPECT_TRUE(kept) << "the caller's mode comes back";
}
#endif

// ---- float64, against the formulas in long double

TEST(ReduceFp64, IsTheFormulaOverAnyAxis) {
  using Wide = std::vector<double>;
  for (const ReduceShape& s : {ReduceShape{3, 10, 1}, ReduceShape{2, 130, 3}}) {
    const Values narrow = elements(whole(s)), narrow_dy = elements(s.outer * s.inner, 999);
    const Wide x(narrow.begin(), narrow.end()), dy(narrow_dy.begin(), narrow_dy.end());
    Wide sum(reduced(s)), mean = sum, variance = sum, middle = sum, max = sum, min = sum;
    Indices argmax(reduced(s)), argmin(reduced(s));
    reduce_sum(x.data(), sum.data(), s);
    reduce_mean(x.data(), mean.data(), s);
    reduce_variance(x.data(), variance.data(), middle.data(), s);
    reduce_max(x.data(), max.data(), argmax.data(), s);
    reduce_min(x.data(), min.data(), argmin.data(), s);
    Wide from_sum(x.size()), from_mean = from_sum, from_variance = from_sum, from_max = from_sum;
    reduce_sum_backward(dy.data(), from_sum.data(), s);
    reduce_mean_backward(dy.data(), from_mean.data(), s);
    reduce_variance_backward(dy.data(), x.data(), mean.data(), from_variance.data(), s);
    reduce_select_backward(dy.data(), argmax.data(), from_max.data(), s);
    EXPECT_EQ(middle, mean);
    for (std::size_t i = 0; i < reduced(s); ++i) {
      const auto at = [&](std::int64_t j) {
        const auto place = static_cast<std::int64_t>(i);
        return static_cast<std::size_t>((place / s.inner * s.axis + j) * s.inner + place % s.inner);
      };
      const auto n = static_cast<long double>(s.axis);
      long double total = 0, squares = 0, size = 0;
      for (std::int64_t j = 0; j < s.axis; ++j) total += x[at(j)], size += std::fabs(x[at(j)]);
      for (std::int64_t j = 0; j < s.axis; ++j) squares += std::pow(x[at(j)] - total / n, 2);
      const double near = 1e-14 * static_cast<double>(size);
      EXPECT_NEAR(sum[i], static_cast<double>(total), near);
      EXPECT_NEAR(mean[i], static_cast<double>(total / n), near);
      EXPECT_NEAR(variance[i], static_cast<double>(squares / (n - 1)), 1e-14 * static_cast<double>(squares));
      EXPECT_EQ(max[i], x[at(argmax[i])]);
      EXPECT_EQ(min[i], x[at(argmin[i])]);
      for (std::int64_t j = 0; j < s.axis; ++j) {
        EXPECT_LE(x[at(j)], max[i]);
        EXPECT_GE(x[at(j)], min[i]);
        EXPECT_EQ(from_sum[at(j)], dy[i]);
        EXPECT_EQ(from_mean[at(j)], dy[i] / static_cast<double>(s.axis));
        EXPECT_NEAR(from_variance[at(j)], static_cast<double>(2 * (x[at(j)] - total / n) * dy[i] / (n - 1)),
                    near * std::fabs(dy[i]));
        EXPECT_EQ(from_max[at(j)], j == argmax[i] ? dy[i] : 0.0);
      }
    }
  }
}

TEST(ReduceFp64, RefusesAsTheFloatFormDoes) {
  double x[4] = {}, y[4] = {};
  const std::int64_t index[2] = {0, 2};
  expect_refusal([&] { reduce_sum(x, y, {2, -1, 1}); }, "reduce_sum: axis: expected 0 or more, got -1");
  expect_refusal(
      [&] {
        reduce_variance(x, static_cast<double*>(nullptr), nullptr, {2, 2, 1});
      },
      "reduce_variance: y: ");
  expect_refusal(
      [&] {
        reduce_max(x, y, nullptr, {2, 0, 1});
      },
      "reduce_max: axis: expected 1 or more elements");
  expect_refusal([&] { reduce_select_backward(y, index, x, {2, 2, 1}); }, "index[1]: expected 0 to 1, got 2");
  expect_refusal(
      [&] {
        reduce_mean(x, y, {2, 2, 1}, Device::cuda);
      },
      "expected Device::cpu", ErrorCode::unsupported);
}

// ---- Errors, by code and by words

TEST(ReduceErrors, SayWhatIsWrong) {
  float x[6] = {}, y[6] = {};
  std::int64_t index[2] = {0, 3};
  expect_refusal([&] { reduce_sum(x, y, {-1, 2, 3}); }, "reduce_sum: outer: expected 0 or more, got -1");
  expect_refusal([&] { reduce_mean(x, y, {1, -2, 3}); }, "reduce_mean: axis: ");
  expect_refusal([&] { reduce_variance(x, y, nullptr, {1, 2, -3}); }, "reduce_variance: inner: ");
  expect_refusal(
      [&] {
        reduce_variance(x, y, nullptr, {1, 2, 3}, kNan);
      },
      "correction: expected a finite number");
  expect_refusal(
      [&] {
        reduce_sum(nullptr, y, {1, 2, 3});
      },
      "reduce_sum: x: expected 6 elements of memory, got a null");
  expect_refusal([&] { reduce_sum(x, nullptr, {1, 2, 3}); }, "reduce_sum: y: expected 3 elements of memory");
  expect_refusal(
      [&] {
        reduce_max(x, y, nullptr, {1, 0, 3});
      },
      "reduce_max: axis: expected 1 or more elements");
  expect_refusal([&] { reduce_min(nullptr, y, nullptr, {1, 2, 3}); }, "reduce_min: x: ");
  expect_refusal(
      [&] {
        reduce_max(x, y, nullptr, {0, std::int64_t{1} << 40, 3});
      },
      "at most 2^31 - 1 elements", ErrorCode::unsupported);
  expect_refusal([&] { reduce_select_backward(y, index, x, {1, 3, 2}); }, "index[1]: expected 0 to 2, got 3");
  expect_refusal(
      [&] {
        reduce_variance_backward(y, x, nullptr, x, {1, 3, 2});
      },
      "reduce_variance_backward: mean: ");
  EXPECT_NO_THROW(reduce_max(x, nullptr, nullptr, {1, 2, 3})) << "neither result is needed";
}

TEST(ReduceErrors, CudaWithoutADeviceIsUnsupported) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  float x[6] = {}, y[6] = {};
  const auto refuses = [](auto call) { expect_refusal(call, "Device::cpu", ErrorCode::unsupported); };
  refuses([&] { reduce_sum(x, y, {1, 2, 3}, Device::cuda); });
  refuses([&] { reduce_max(x, y, nullptr, {1, 2, 3}, Device::cuda); });
  refuses([&] { reduce_mean_backward(y, x, {1, 2, 3}, Device::cuda); });
  expect_refusal([&] { reduce_sum(x, y, {1, 2, 3}, static_cast<Device>(7)); }, "reduce_sum: device");
}

}  // namespace
}  // namespace lockstep
