#include "lockstep/softmax/softmax.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device_values_test.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/float_bits_test.h"
#include "lockstep/math/math_inl.h"
#include "lockstep/simd/every_form_test.h"
#include "lockstep/softmax/softmax_ref.h"
#include "lockstep/softmax/softmax_vectors.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// 24 random bits scaled by 2^-2 … 2^4.
Values random_values(std::size_t count, std::uint32_t seed = 1) {
  std::uint32_t state = seed;
  Values values(count);
  for (float& value : values) {
    state = state * 1664525 + 1013904223;
    value = std::ldexp(static_cast<float>(static_cast<std::int32_t>(state >> 8) - (1 << 23)),
                       static_cast<int>(state >> 5 & 7) - 25);
  }
  return values;
}

std::size_t elements(const AxisExtents& extents) {
  return static_cast<std::size_t>(extents.outer * extents.axis * extents.inner);
}

template <class Slice, class... Operands>
Values reference(const AxisExtents& extents, Slice slice, const Operands&... operands) {
  return softmax_ref::over_axis<float>(static_cast<std::size_t>(extents.outer),
                                       static_cast<std::size_t>(extents.axis),
                                       static_cast<std::size_t>(extents.inner), slice, operands...);
}

// ---- The four operations under one interface: forward ones ignore the second operand

struct Softmax {
  static constexpr bool kForward = true;
  static void call(const float* x, const float*, float* y, const AxisExtents& extents, Device device) {
    softmax(x, y, extents, device);
  }
  static Values run(const Values& x, const Values&, const AxisExtents& extents) {
    Values y(elements(extents), -7.0f);
    softmax(x.data(), y.data(), extents);
    return y;
  }
  static Values expected(const Values& x, const Values&, const AxisExtents& extents) {
    return reference(extents, softmax_ref::softmax_slice<float>, x);
  }
};

struct LogSoftmax {
  static constexpr bool kForward = true;
  static void call(const float* x, const float*, float* y, const AxisExtents& extents, Device device) {
    log_softmax(x, y, extents, device);
  }
  static Values run(const Values& x, const Values&, const AxisExtents& extents) {
    Values y(elements(extents), -7.0f);
    log_softmax(x.data(), y.data(), extents);
    return y;
  }
  static Values expected(const Values& x, const Values&, const AxisExtents& extents) {
    return reference(extents, softmax_ref::log_softmax_slice<float>, x);
  }
};

struct SoftmaxBackward {
  static constexpr bool kForward = false;
  static void call(const float* dy, const float* y, float* dx, const AxisExtents& extents, Device device) {
    softmax_backward(dy, y, dx, extents, device);
  }
  static Values run(const Values& x, const Values& dy, const AxisExtents& extents) {
    const Values y = Softmax::run(x, {}, extents);
    Values dx(elements(extents), -7.0f);
    softmax_backward(dy.data(), y.data(), dx.data(), extents);
    return dx;
  }
  static Values expected(const Values& x, const Values& dy, const AxisExtents& extents) {
    return reference(extents, softmax_ref::softmax_backward_slice<float>, dy,
                     Softmax::expected(x, {}, extents));
  }
};

struct LogSoftmaxBackward {
  static constexpr bool kForward = false;
  static void call(const float* dy, const float* y, float* dx, const AxisExtents& extents, Device device) {
    log_softmax_backward(dy, y, dx, extents, device);
  }
  static Values run(const Values& x, const Values& dy, const AxisExtents& extents) {
    const Values y = LogSoftmax::run(x, {}, extents);
    Values dx(elements(extents), -7.0f);
    log_softmax_backward(dy.data(), y.data(), dx.data(), extents);
    return dx;
  }
  static Values expected(const Values& x, const Values& dy, const AxisExtents& extents) {
    return reference(extents, softmax_ref::log_softmax_backward_slice<float>, dy,
                     LogSoftmax::expected(x, {}, extents));
  }
};

template <class Operation>
class SoftmaxRoom : public testing::Test {};
using Operations = testing::Types<Softmax, LogSoftmax, SoftmaxBackward, LogSoftmaxBackward>;
TYPED_TEST_SUITE(SoftmaxRoom, Operations);

constexpr AxisExtents kShapes[] = {
    {3, 1, 1},    {5, 2, 1},     {64, 10, 1},    {7, 15, 1},    {7, 16, 1},   {7, 17, 1},   {5, 63, 1},
    {5, 127, 1},  {5, 128, 1},   {5, 129, 1},    {33, 200, 1},  {3, 1000, 1}, {2, 8192, 1}, {2, 8193, 1},
    {3, 9300, 1}, {1, 50257, 1}, {1, 140001, 1}, {1, 70000, 3}, {2, 5, 3},    {3, 10, 16},  {2, 7, 64},
    {2, 129, 65}, {1, 300, 200}, {2, 130, 7},    {1, 8200, 5},  {4, 1, 9},
};

TYPED_TEST(SoftmaxRoom, HasTheReferencesBitsInEveryForm) {
  for (const AxisExtents& extents : kShapes) {
    const Values x = random_values(elements(extents)), dy = random_values(elements(extents), 99);
    const auto expected = bits(TypeParam::expected(x, dy, extents));
    simd::in_every_form([&] {
      EXPECT_EQ(bits(TypeParam::run(x, dy, extents)), expected)
          << extents.outer << " x " << extents.axis << " x " << extents.inner;
    });
  }
}

TEST(Softmax, GivesTheExpectedBitsInEveryForm) {
  const auto checksum = [](const Values& values) {
    const auto words = bits(values);
    std::uint64_t sum = 0;
    for (std::size_t j = 0; j < words.size(); ++j) sum += words[j] * std::uint64_t{2 * j + 1};
    return sum;
  };
  for (const SoftmaxVector& vector : kSoftmaxVectors) {
    Values x, dy;
    for (std::uint32_t j = 0; j < vector.n; ++j) {
      x.push_back(softmax_element(j));
      dy.push_back(softmax_element(vector.n + j));
    }
    const AxisExtents extents{1, vector.n, 1};
    simd::in_every_form([&] {
      EXPECT_EQ(checksum(Softmax::run(x, dy, extents)), vector.softmax) << vector.n;
      EXPECT_EQ(checksum(LogSoftmax::run(x, dy, extents)), vector.log_softmax) << vector.n;
      EXPECT_EQ(checksum(SoftmaxBackward::run(x, dy, extents)), vector.softmax_backward) << vector.n;
      EXPECT_EQ(checksum(LogSoftmaxBackward::run(x, dy, extents)), vector.log_softmax_backward) << vector.n;
    });
  }
}

TYPED_TEST(SoftmaxRoom, RowsDoNotKnowEachOther) {
  for (const std::int64_t axis : {5, 200, 9000}) {
    const AxisExtents all{17, axis, 1}, one{1, axis, 1};
    const Values x = random_values(elements(all)), dy = random_values(elements(all), 99);
    const Values together = TypeParam::run(x, dy, all);
    for (std::int64_t r = 0; r < all.outer; ++r) {
      const auto row = [&](const Values& of) {
        return Values(of.begin() + r * axis, of.begin() + (r + 1) * axis);
      };
      EXPECT_EQ(bits(TypeParam::run(row(x), row(dy), one)), bits(row(together)))
          << "row " << r << " of " << axis;
    }
  }
}

TYPED_TEST(SoftmaxRoom, AnAxisHasTheBitsOfItsTranspose) {
  constexpr std::int64_t kAxis = 150, kInner = 70;
  const Values x = random_values(kAxis * kInner), dy = random_values(kAxis * kInner, 99);
  const auto transposed = [](const Values& of) {
    Values to(of.size());
    for (std::size_t a = 0; a < kAxis; ++a)
      for (std::size_t i = 0; i < kInner; ++i) to[i * kAxis + a] = of[a * kInner + i];
    return to;
  };
  EXPECT_EQ(bits(transposed(TypeParam::run(x, dy, {1, kAxis, kInner}))),
            bits(TypeParam::run(transposed(x), transposed(dy), {kInner, kAxis, 1})));
}

TYPED_TEST(SoftmaxRoom, SpecialValuesGoAsTheReferenceSays) {
  const float special[] = {0.0f,    -0.0f, 1e-42f, -1e-42f,   88.0f,      -104.0f,
                           -300.0f, 3e38f, -3e38f, kInfinity, -kInfinity, kNan};
  for (const float a : special) {
    for (const float b : special) {
      Values x = random_values(40);
      x[3] = a;
      x[21] = b;
      for (const AxisExtents& extents :
           {AxisExtents{1, 40, 1}, AxisExtents{20, 2, 1}, AxisExtents{1, 2, 20}}) {
        const auto expected = bits(TypeParam::expected(x, x, extents));
        simd::in_every_form(
            [&] { EXPECT_EQ(bits(TypeParam::run(x, x, extents)), expected) << a << " and " << b; });
      }
    }
  }
}

TYPED_TEST(SoftmaxRoom, EmptyExtentsWriteNothing) {
  for (const AxisExtents& extents : {AxisExtents{0, 5, 1}, AxisExtents{5, 0, 1}, AxisExtents{5, 5, 0}})
    EXPECT_TRUE(TypeParam::run({}, {}, extents).empty());
}

// The vector form divides by way of a reciprocal and corrections. Terms of every size meet sums of every size
// here.
TEST(Softmax, QuotientsAreThoseOfADivision) {
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    const std::int64_t n = 50 + 37 * seed;
    Values x = random_values(static_cast<std::size_t>(n), seed);
    const float spread = seed % 4 == 0 ? 5.0f : seed % 4 == 1 ? 0.01f : 1.0f;
    for (float& value : x) value *= spread;
    const AxisExtents extents{1, n, 1};
    const auto expected = bits(Softmax::expected(x, {}, extents));
    simd::in_every_form([&] { EXPECT_EQ(bits(Softmax::run(x, {}, extents)), expected) << seed; });
  }
}

TEST(Softmax, WorksInPlace) {
  for (const AxisExtents& extents : {AxisExtents{3, 300, 1}, AxisExtents{2, 30, 33}}) {
    const Values x = random_values(elements(extents)), dy = random_values(elements(extents), 99);
    Values y = x, dx = dy, from_y = Softmax::run(x, {}, extents);
    softmax(y.data(), y.data(), extents);
    EXPECT_EQ(bits(y), bits(Softmax::run(x, {}, extents)));
    softmax_backward(dx.data(), y.data(), dx.data(), extents);
    EXPECT_EQ(bits(dx), bits(SoftmaxBackward::run(x, dy, extents)));
    softmax_backward(dy.data(), from_y.data(), from_y.data(), extents);
    EXPECT_EQ(bits(from_y), bits(dx));
    Values z = x, dz = dy;
    log_softmax(z.data(), z.data(), extents);
    EXPECT_EQ(bits(z), bits(LogSoftmax::run(x, {}, extents)));
    log_softmax_backward(dz.data(), z.data(), dz.data(), extents);
    EXPECT_EQ(bits(dz), bits(LogSoftmaxBackward::run(x, dy, extents)));
  }
}

TEST(Softmax, HasPlainProperties) {
  const Values y = Softmax::run({0.0f, 0.0f, 0.0f, 0.0f}, {}, {1, 4, 1});
  EXPECT_EQ(y, Values(4, 0.25f));
  const Values masked = Softmax::run({1.0f, -kInfinity, 1.0f}, {}, {1, 3, 1});
  EXPECT_EQ(bits(masked), bits({0.5f, 0.0f, 0.5f}));
  EXPECT_TRUE(std::isnan(Softmax::run({-kInfinity, -kInfinity}, {}, {1, 2, 1})[0]));
  EXPECT_EQ(LogSoftmax::run({5.0f}, {}, {1, 1, 1}), Values{0.0f});
}

TEST(Softmax, IsCloseToItsDoubleForm) {
  const AxisExtents extents{4, 1000, 1};
  const Values x = random_values(elements(extents));
  const std::vector<double> wide(x.begin(), x.end());
  const Values p = Softmax::run(x, {}, extents), l = LogSoftmax::run(x, {}, extents);
  const auto p_wide = softmax_ref::over_axis<double>(4, 1000, 1, softmax_ref::softmax_slice<double>, wide);
  const auto l_wide =
      softmax_ref::over_axis<double>(4, 1000, 1, softmax_ref::log_softmax_slice<double>, wide);
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(p[i], p_wide[i], 5e-6 * p_wide[i]) << "x - max, up to 64, is off by 2^-19 or less";
    EXPECT_NEAR(l[i], l_wide[i], 5e-6);
  }
}

// ---- CUDA: the CPU's bits. The operands of every operation are any numbers here

template <class Operation>
class SoftmaxGpu : public GpuSuite<> {
 protected:
  static Values on_cpu(const Values& a, const Values& b, const AxisExtents& extents) {
    Values result(a.size(), -7.0f);
    Operation::call(a.data(), b.data(), result.data(), extents, Device::cpu);
    return result;
  }
  static Values on_gpu(const Values& a, const Values& b, const AxisExtents& extents) {
    DeviceValues<float> first(a), second(b), result(Values(a.size(), -7.0f));
    Operation::call(first.data(), second.data(), result.data(), extents, Device::cuda);
    return result.values();
  }
  static void expect_the_cpus_bits(const Values& a, const Values& b, const AxisExtents& extents) {
    EXPECT_EQ(bits(on_gpu(a, b, extents)), bits(on_cpu(a, b, extents)))
        << extents.outer << " x " << extents.axis << " x " << extents.inner;
  }
};
TYPED_TEST_SUITE(SoftmaxGpu, Operations);

TYPED_TEST(SoftmaxGpu, HasTheCpusBitsForEveryShape) {
  for (const AxisExtents& extents : kShapes)
    this->expect_the_cpus_bits(random_values(elements(extents)), random_values(elements(extents), 99),
                               extents);
}

// Each way to work on a slice begins and ends at one of these lengths, and needs no whole number of teams.
TYPED_TEST(SoftmaxGpu, HasTheCpusBitsAtTheEdgesOfEveryForm) {
  for (const std::int64_t edge : {8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536}) {
    for (const std::int64_t axis : {edge - 1, edge, edge + 1}) {
      for (const AxisExtents& extents :
           {AxisExtents{edge > 1024 ? 3 : 67, axis, 1}, AxisExtents{2, axis, edge > 1024 ? 3 : 19}})
        this->expect_the_cpus_bits(random_values(elements(extents)), random_values(elements(extents), 99),
                                   extents);
    }
  }
}

TYPED_TEST(SoftmaxGpu, HasTheCpusBitsOfManySlicesAndOfLongOnes) {
  for (const AxisExtents& extents : {AxisExtents{70'000, 3, 1},
                                     {20'000, 40, 1},
                                     {2, 5, 30'000},
                                     {5, 50'304, 1},
                                     {140, 17'000, 1},
                                     {1, 200'001, 1},
                                     {1, 73'729, 2}})
    this->expect_the_cpus_bits(random_values(elements(extents)), random_values(elements(extents), 99),
                               extents);
}

TYPED_TEST(SoftmaxGpu, SpecialValuesGoAsOnTheCpu) {
  const float special[] = {0.0f,    -0.0f, 1e-42f, -1e-42f,   88.0f,      -104.0f,
                           -300.0f, 3e38f, -3e38f, kInfinity, -kInfinity, kNan};
  Values x = random_values(2 * 12 * 12 * 40), dy = random_values(x.size(), 99);
  std::size_t row = 0;
  for (const float a : special) {
    for (const float b : special) {
      x[row + 3] = dy[row + 5] = a;
      x[row + 21] = dy[row + 21] = b;
      row += 80;  // every other row
    }
  }
  for (const AxisExtents& extents :
       {AxisExtents{288, 40, 1}, AxisExtents{5760, 2, 1}, AxisExtents{1, 40, 288}, AxisExtents{4, 2880, 1}})
    this->expect_the_cpus_bits(x, dy, extents);
}

TYPED_TEST(SoftmaxGpu, WorksInPlaceAndOnAnyFloat) {
  for (const AxisExtents& extents :
       {AxisExtents{3, 300, 1}, AxisExtents{2, 30, 33}, AxisExtents{2, 20'000, 1}, AxisExtents{1, 9000, 3},
        AxisExtents{5, 5000, 1}}) {
    const Values a = random_values(elements(extents)), b = random_values(elements(extents), 99);
    const auto expected = bits(this->on_cpu(a, b, extents));
    Values shifted = a;
    shifted.insert(shifted.begin(), 5.0f);
    DeviceValues<float> first(a), second(b), again(a), later(shifted);
    TypeParam::call(first.data(), second.data(), first.data(), extents, Device::cuda);
    EXPECT_EQ(bits(first.values()), expected);
    TypeParam::call(later.data() + 1, second.data(), later.data() + 1, extents, Device::cuda);
    shifted = later.values();
    EXPECT_EQ(shifted.front(), 5.0f);
    EXPECT_EQ(bits(Values(shifted.begin() + 1, shifted.end())), expected);
    if (TypeParam::kForward) continue;
    TypeParam::call(again.data(), second.data(), second.data(), extents, Device::cuda);
    EXPECT_EQ(bits(second.values()), expected);
  }
}

TYPED_TEST(SoftmaxGpu, EmptyExtentsWriteNothing) {
  for (const AxisExtents& extents : {AxisExtents{0, 5, 1}, AxisExtents{5, 0, 1}, AxisExtents{5, 5, 0}})
    EXPECT_NO_THROW(TypeParam::call(nullptr, nullptr, nullptr, extents, Device::cuda));
}

// ---- The suite can fail

TEST(SoftmaxTwin, ASumInAnotherOrderGoesRed) {
  const AxisExtents extents{20, 1000, 1};
  const Values x = random_values(elements(extents));
  Values y;
  for (std::int64_t r = 0; r < extents.outer; ++r) {
    const Values row(x.begin() + r * extents.axis, x.begin() + (r + 1) * extents.axis);
    const float m = softmax_ref::largest(row);
    float sum = 0;
    for (const float value : row) sum += math::exp(value - m);
    for (const float value : row) y.push_back(math::exp(value - m) / sum);
  }
  EXPECT_NE(bits(y), bits(Softmax::run(x, {}, extents)));
}

TEST(SoftmaxTwin, AProductWithTheReciprocalGoesRed) {
  const Values x = random_values(1000);
  const float m = softmax_ref::largest(x), reciprocal = 1.0f / softmax_ref::sum_of_exponentials(x, m);
  Values y;
  for (const float value : x) y.push_back(math::exp(value - m) * reciprocal);
  EXPECT_NE(bits(y), bits(Softmax::run(x, {}, {1, 1000, 1})));
}

// ---- float64, against the formulas in long double

TEST(SoftmaxFp64, IsTheFormulaOverAnyAxis) {
  using Wide = std::vector<double>;
  for (const AxisExtents& extents : {AxisExtents{3, 10, 1}, AxisExtents{2, 130, 3}}) {
    const Values narrow_x = random_values(elements(extents)),
                 narrow_dy = random_values(elements(extents), 99);
    const Wide x(narrow_x.begin(), narrow_x.end()), dy(narrow_dy.begin(), narrow_dy.end());
    Wide p = x, l = x, dp = dy, dl = dy;  // in place
    softmax(p.data(), p.data(), extents);
    log_softmax(l.data(), l.data(), extents);
    softmax_backward(dp.data(), p.data(), dp.data(), extents);
    log_softmax_backward(dl.data(), l.data(), dl.data(), extents);
    for (std::int64_t slice = 0; slice < extents.outer * extents.inner; ++slice) {
      const auto at = [&](std::int64_t j) {
        return static_cast<std::size_t>((slice / extents.inner * extents.axis + j) * extents.inner +
                                        slice % extents.inner);
      };
      long double sum = 0, total = 0, dot = 0;
      for (std::int64_t j = 0; j < extents.axis; ++j) sum += std::exp(static_cast<long double>(x[at(j)]));
      for (std::int64_t j = 0; j < extents.axis; ++j) {
        total += dy[at(j)];
        dot += dy[at(j)] * std::exp(static_cast<long double>(x[at(j)])) / sum;
      }
      for (std::int64_t j = 0; j < extents.axis; ++j) {
        const long double y = std::exp(static_cast<long double>(x[at(j)])) / sum;
        EXPECT_NEAR(p[at(j)], static_cast<double>(y), 1e-14);
        EXPECT_NEAR(l[at(j)], static_cast<double>(std::log(y)), 1e-13);
        EXPECT_NEAR(dp[at(j)], static_cast<double>((dy[at(j)] - dot) * y), 1e-13);
        EXPECT_NEAR(dl[at(j)], static_cast<double>(dy[at(j)] - y * total), 1e-12);
      }
    }
  }
}

TEST(SoftmaxFp64, RefusesAsTheFloatFormDoes) {
  double a[4] = {};
  expect_error(ErrorCode::invalid_argument, "softmax: extents: expected 0 or more, got -2", [&] {
    softmax(a, a, {-2, 2, 1});
  });
  expect_error(ErrorCode::invalid_argument, "log_softmax_backward: data", [&] {
    log_softmax_backward(a, a, nullptr, {2, 2, 1});
  });
  expect_error(ErrorCode::unsupported, "expected Device::cpu", [&] {
    softmax(a, a, {2, 2, 1}, Device::cuda);
  });
}

// ---- Errors, by code and by words

TEST(SoftmaxErrors, SayWhatIsWrong) {
  float a[4] = {};
  expect_error(ErrorCode::invalid_argument, "softmax: extents: expected 0 or more, got -2", [&] {
    softmax(a, a, {-2, 2, 1});
  });
  expect_error(ErrorCode::invalid_argument,
               "log_softmax: data: expected [2, 2, 1] elements of memory, got a null pointer", [&] {
                 log_softmax(nullptr, a, {2, 2, 1});
               });
  expect_error(ErrorCode::invalid_argument, "softmax_backward: data", [&] {
    softmax_backward(a, nullptr, a, {2, 2, 1});
  });
  expect_error(ErrorCode::invalid_argument, "log_softmax_backward: data", [&] {
    log_softmax_backward(a, a, nullptr, {2, 2, 1});
  });
  expect_error(ErrorCode::invalid_argument, "softmax: device", [&] {
    softmax(a, a, {2, 2, 1}, static_cast<Device>(7));
  });
}

TEST(SoftmaxErrors, CudaWithoutADeviceIsUnsupported) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  float a[4] = {};
  expect_error(ErrorCode::unsupported, "softmax", [&] { softmax(a, a, {2, 2, 1}, Device::cuda); });
  expect_error(ErrorCode::unsupported, "softmax_backward", [&] {
    log_softmax_backward(a, a, a, {2, 2, 1}, Device::cuda);
  });
}

}  // namespace
}  // namespace lockstep
