#include "lockstep/elementwise/elementwise.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device_values_test.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/flushing_caller_test.h"
#include "lockstep/elementwise/elementwise_ref.h"
#include "lockstep/elementwise/elementwise_vectors.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

Values elements(std::size_t count, std::uint32_t first) {
  Values values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = elementwise_element(first + static_cast<std::uint32_t>(i));
  return values;
}

/// NaN payloads are outside the promise.
void expect_same(const Values& got, const Values& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(expected[i]))
      EXPECT_TRUE(std::isnan(got[i])) << i;
    else
      ASSERT_EQ(bits(got[i]), bits(expected[i])) << "element " << i << " of " << got.size();
  }
}

// ---- The operations under one name: of a, b and c each reads what it needs

struct AddScaled {
  static constexpr const std::uint32_t* kBits = kAddScaledBits;
  static void run(float* out, Operand a, Operand b, Operand, float factor, std::int64_t count,
                  Device device = Device::cpu) {
    add_scaled(out, a, b, factor, count, device);
  }
  template <class T, class F>
  static void ref(T* out, F a, F b, F, T factor, std::size_t count) {
    add_scaled_ref<T>(out, a, b, factor, count);
  }
};

struct AddcMul {
  static constexpr const std::uint32_t* kBits = kAddcMulBits;
  static void run(float* out, Operand a, Operand b, Operand c, float factor, std::int64_t count,
                  Device device = Device::cpu) {
    addcmul(out, a, b, c, factor, count, device);
  }
  template <class T, class F>
  static void ref(T* out, F a, F b, F c, T factor, std::size_t count) {
    addcmul_ref<T>(out, a, b, c, factor, count);
  }
};

struct AddcDiv {
  static constexpr const std::uint32_t* kBits = kAddcDivBits;
  static void run(float* out, Operand a, Operand b, Operand c, float factor, std::int64_t count,
                  Device device = Device::cpu) {
    addcdiv(out, a, b, c, factor, count, device);
  }
  template <class T, class F>
  static void ref(T* out, F a, F b, F c, T factor, std::size_t count) {
    addcdiv_ref<T>(out, a, b, c, factor, count);
  }
};

struct Lerp {
  static constexpr const std::uint32_t* kBits = kLerpBits;
  static void run(float* out, Operand a, Operand b, Operand c, float, std::int64_t count,
                  Device device = Device::cpu) {
    lerp(out, a, b, c, count, device);
  }
  template <class T, class F>
  static void ref(T* out, F a, F b, F c, T, std::size_t count) {
    lerp_ref<T>(out, a, b, c, count);
  }
};

template <class Op>
class Elementwise : public testing::Test {
 protected:
  /// One operand of the reference: an array, or a number in its first place.
  struct At {
    const Values* values;
    float operator()(std::size_t i) const { return (*values)[values->size() == 1 ? 0 : i]; }
  };
  static Values ref(const Values& a, const Values& b, const Values& c, float factor, std::size_t count) {
    Values out(count);
    Op::template ref<float>(out.data(), At{&a}, At{&b}, At{&c}, factor, count);
    return out;
  }
  static Operand operand(const Values& x) { return x.size() == 1 ? Operand(x[0]) : Operand(x.data()); }
  static Values cpu(const Values& a, const Values& b, const Values& c, float factor, std::size_t count) {
    Values out(count, -1.0f);
    Op::run(out.data(), operand(a), operand(b), operand(c), factor, static_cast<std::int64_t>(count));
    return out;
  }
};

using Operations = testing::Types<AddScaled, AddcMul, AddcDiv, Lerp>;
TYPED_TEST_SUITE(Elementwise, Operations);

TYPED_TEST(Elementwise, GivesTheExpectedBits) {
  const std::size_t count = kElementwiseVectorCount;
  const Values a = elements(count, 0), b = elements(count, 1000), c = elements(count, 2000);
  Values expected(count);
  for (std::size_t i = 0; i < count; ++i) expected[i] = std::bit_cast<float>(TypeParam::kBits[i]);
  expect_same(this->ref(a, b, c, -0.3f, count), expected);
  simd::in_every_form([&] { expect_same(this->cpu(a, b, c, -0.3f, count), expected); });
}

TYPED_TEST(Elementwise, EveryLengthIsTheReference) {
  simd::in_every_form([&] {
    for (std::size_t count = 0; count < 70; ++count) {
      const Values a = elements(count, 1), b = elements(count, 1001), c = elements(count, 2001);
      expect_same(this->cpu(a, b, c, 0.7f, count), this->ref(a, b, c, 0.7f, count));
    }
    const std::size_t many = 100'003;  // more than one thread's share
    const Values a = elements(many, 1), b = elements(many, 500'000), c = elements(many, 900'000);
    expect_same(this->cpu(a, b, c, 0.7f, many), this->ref(a, b, c, 0.7f, many));
  });
}

TYPED_TEST(Elementwise, ANumberStandsForAnArrayOfIt) {
  const std::size_t count = 53;
  const Values arrays[3] = {elements(count, 3), elements(count, 1003), elements(count, 2003)};
  const Values numbers[3] = {{1.25f}, {-0.3f}, {0.8f}};
  for (int which = 0; which < 8; ++which) {
    const auto choose = [&](int i) -> const Values& {
      return (which >> i & 1) != 0 ? numbers[i] : arrays[i];
    };
    const Values expected = this->ref(choose(0), choose(1), choose(2), 0.1f, count);
    simd::in_every_form(
        [&] { expect_same(this->cpu(choose(0), choose(1), choose(2), 0.1f, count), expected); });
  }
}

TYPED_TEST(Elementwise, InPlaceGivesTheSame) {
  const std::size_t count = 40'000 + 7;
  const Values x[3] = {elements(count, 4), elements(count, 50'000), elements(count, 90'000)};
  const Values expected = this->ref(x[0], x[1], x[2], 0.9f, count);
  simd::in_every_form([&] {
    for (int i = 0; i < 3; ++i) {
      if (i == 2 && std::is_same_v<TypeParam, AddScaled>) continue;  // has no third operand
      Values out = x[i];
      const auto at = [&](int k) { return Operand(k == i ? out.data() : x[k].data()); };
      TypeParam::run(out.data(), at(0), at(1), at(2), 0.9f, static_cast<std::int64_t>(count));
      expect_same(out, expected);
    }
  });
}

/// Every triple of special values.
struct Specials {
  Specials() {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const Values kinds{0.0f,       -0.0f,      1.0f,        -1.0f, kInfinity,
                       -kInfinity, kSubnormal, -kSubnormal, 3e38f, std::numeric_limits<float>::quiet_NaN()};
    for (const float x : kinds)
      for (const float y : kinds)
        for (const float z : kinds) a.push_back(x), b.push_back(y), c.push_back(z);
  }
  static constexpr float kSubnormal = std::numeric_limits<float>::denorm_min();
  static constexpr float kFactors[] = {1.0f, -0.5f, 0.0f, kSubnormal};
  Values a, b, c;
};

TYPED_TEST(Elementwise, SpecialValuesAreIeees) {
  const Specials of;
  for (const float factor : Specials::kFactors) {
    const Values expected = this->ref(of.a, of.b, of.c, factor, of.a.size());
    simd::in_every_form([&] { expect_same(this->cpu(of.a, of.b, of.c, factor, of.a.size()), expected); });
  }
}

struct Constant {
  double value;
  double operator()(std::size_t) const { return value; }
};

TYPED_TEST(Elementwise, DoubleFollowsTheSameExpression) {
  double out = 0;
  TypeParam::template ref<double>(&out, Constant{1.5}, Constant{0.3}, Constant{0.25}, 0.7, 1);
  const float single = this->cpu({1.5f}, {0.3f}, {0.25f}, 0.7f, 1)[0];
  EXPECT_NEAR(out, single, 1e-6);
  EXPECT_NE(out, static_cast<double>(single)) << "not computed in float32";
}

// ---- CUDA

template <class Op>
class ElementwiseGpu : public GpuSuite<Elementwise<Op>> {
 protected:
  /// The CUDA twin has the bits of the CPU's, into memory of its own and in place of each array.
  void check(const Values& a, const Values& b, const Values& c, float factor, std::size_t count,
             const DeviceOffsets& offsets = {0, 0}) {
    const Values expected = this->cpu(a, b, c, factor, count);
    const Values* const values[3] = {&a, &b, &c};
    const int operands = std::is_same_v<Op, AddScaled> ? 2 : 3;
    for (int place = -1; place < operands; ++place) {  // -1: memory of its own
      if (place >= 0 && values[place]->size() != count) continue;
      const DeviceValues<float> of[3] = {DeviceValues<float>(a, offsets.operand),
                                         DeviceValues<float>(b, offsets.operand),
                                         DeviceValues<float>(c, offsets.result)};
      const auto operand = [&](int i) {
        return values[i]->size() == 1 ? Operand((*values[i])[0]) : Operand(of[i].data());
      };
      const DeviceValues<float> own(Values(count), offsets.result);
      const DeviceValues<float>& out = place < 0 ? own : of[place];
      Op::run(out.data(), operand(0), operand(1), operand(2), factor, static_cast<std::int64_t>(count),
              Device::cuda);
      expect_same(out.values(), expected);
    }
  }
};
TYPED_TEST_SUITE(ElementwiseGpu, Operations);

TYPED_TEST(ElementwiseGpu, HasTheBitsOfTheCpu) {
  for (const std::size_t count : {0, 2, 3, 4, 5, 6, 7, 8, 9, 1023, 2053, 100'003}) {
    const Values a = elements(count, 1), b = elements(count, 500'000), c = elements(count, 900'000);
    for (const DeviceOffsets& offsets : kDeviceOffsets) this->check(a, b, c, 0.7f, count, offsets);
  }
}

TYPED_TEST(ElementwiseGpu, ANumberStandsForAnArrayOfIt) {
  const std::size_t count = 5003;
  const Values arrays[3] = {elements(count, 3), elements(count, 10'003), elements(count, 20'003)};
  const Values numbers[3] = {{1.25f}, {-0.3f}, {0.8f}};
  for (int which = 0; which < 8; ++which) {
    const auto choose = [&](int i) -> const Values& {
      return (which >> i & 1) != 0 ? numbers[i] : arrays[i];
    };
    this->check(choose(0), choose(1), choose(2), 0.1f, count);
  }
}

TYPED_TEST(ElementwiseGpu, SpecialValuesAreIeees) {
  const Specials of;
  for (const float factor : Specials::kFactors) this->check(of.a, of.b, of.c, factor, of.a.size());
}

// ---- What an expression is not

TEST(ElementwiseTwin, TwoRoundingsGoRed) {
  const std::size_t count = kElementwiseVectorCount;
  const Values a = elements(count, 0), b = elements(count, 1000), c = elements(count, 2000);
  int scaled = 0, product = 0, quotient = 0, moved = 0;
  for (std::size_t i = 0; i < count; ++i) {
    scaled += bits(a[i] + -0.3f * b[i]) != kAddScaledBits[i];
    product += bits(a[i] + -0.3f * b[i] * c[i]) != kAddcMulBits[i];
    quotient += bits(a[i] + -0.3f * b[i] / c[i]) != kAddcDivBits[i];
    moved += bits(a[i] + c[i] * (b[i] - a[i])) != kLerpBits[i];
  }
  for (const int different : {scaled, product, quotient, moved}) EXPECT_GE(different, 2);
}

TEST(Lerp, IsExactAtItsEnds) {
  float out = 0;
  lerp(&out, 0.1f, 1e20f, 0.0f, 1);
  EXPECT_EQ(out, 0.1f);
  lerp(&out, 1e20f, 0.1f, 1.0f, 1);
  EXPECT_EQ(out, 0.1f);
}

#if defined(__x86_64__)
TEST(ElementwiseCpu, KeepsSubnormalsForACallerThatFlushesThem) {
  const float least = std::bit_cast<float>(1u);
  const Values x(5, least);
  Values out(5);
  FlushingCaller caller;
  add_scaled(out.data(), x.data(), x.data(), 1.0f, 5);
  const bool kept = caller.end();
  EXPECT_EQ(bits(out[4]), 2u);
  EXPECT_TRUE(kept) << "the caller's mode comes back";
}
#endif

// ---- float64

TEST(ElementwiseFp64, IsTheExpression) {
  const std::vector<double> x{0.3, -1.7, 2.2}, a{1.1, 0.9, -0.4}, b{-0.7, 3.1, 0.2};
  std::vector<double> scaled(3), product = x, quotient(3), moved(3);
  add_scaled(scaled.data(), x.data(), a.data(), -0.3, 3);
  addcmul(product.data(), product.data(), a.data(), 0.7, 1.3, 3);  // in place, with a number
  addcdiv(quotient.data(), x.data(), a.data(), b.data(), 1.3, 3);
  lerp(moved.data(), x.data(), a.data(), b.data(), 3);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(scaled[i], x[i] - 0.3 * a[i], 1e-15);
    EXPECT_NEAR(product[i], x[i] + 1.3 * a[i] * 0.7, 1e-15);
    EXPECT_NEAR(quotient[i], x[i] + 1.3 * (a[i] / b[i]), 1e-15);
    EXPECT_NEAR(moved[i], x[i] + b[i] * (a[i] - x[i]), 2e-15);
  }
}

TEST(ElementwiseFp64, RefusesAsTheFloatFormDoes) {
  double x[2] = {1, 2};
  const double* const null = nullptr;
  expect_refusal([&] { add_scaled(x, x, x, 1, -1); }, "add_scaled: count: expected 0 or more, got -1");
  expect_refusal([&] { lerp(x, x, x, null, 2); }, "lerp: weight: expected elements of memory, got a null");
  expect_refusal([&] { addcmul(x, x, x, x, 1, 2, Device::cuda); }, "expected Device::cpu",
                 ErrorCode::unsupported);
}

// ---- Errors, by code and by words

TEST(ElementwiseErrors, SayWhatIsWrong) {
  float x[2] = {1, 2};
  const float* const null = nullptr;
  expect_refusal([&] { add_scaled(x, x, x, 1, -1); }, "add_scaled: count: expected 0 or more, got -1");
  expect_refusal([&] { add_scaled(nullptr, x, x, 1, 2); }, "add_scaled: out: expected elements of memory");
  expect_refusal([&] { add_scaled(x, x, null, 1, 2); },
                 "add_scaled: other: expected elements of memory, got a null");
  expect_refusal([&] { addcmul(x, x, null, x, 1, 2); }, "addcmul: a: ");
  expect_refusal([&] { addcdiv(x, x, x, null, 1, 2); }, "addcdiv: b: ");
  expect_refusal([&] { lerp(x, x, x, null, 2); }, "lerp: weight: ");
  expect_refusal([&] { lerp(x, x, x, x, 2, static_cast<Device>(7)); }, "another number");
  EXPECT_NO_THROW(add_scaled(nullptr, null, null, 1, 0)) << "without elements there is nothing to point at";
}

TEST(ElementwiseErrors, CudaWithoutADeviceIsUnsupported) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  float x[2] = {1, 2};
  expect_refusal([&] { addcmul(x, x, x, x, 1, 2, Device::cuda); }, "Device::cpu", ErrorCode::unsupported);
}

}  // namespace
}  // namespace lockstep
