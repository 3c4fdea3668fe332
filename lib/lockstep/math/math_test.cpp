#include "lockstep/math/math.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <mpfr.h>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device_values_test.h"
#include "lockstep/base/error.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/float_bits_test.h"
#include "lockstep/base/flushing_caller_test.h"
#include "lockstep/math/math_inl.h"
#include "lockstep/math/math_vectors.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep::math {
namespace {

using Values = std::vector<float>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// ---- The functions as a table

using Exact = int (*)(mpfr_ptr, mpfr_srcptr, mpfr_rnd_t);

int exact_sigmoid(mpfr_ptr y, mpfr_srcptr x, mpfr_rnd_t round) {
  mpfr_neg(y, x, round);
  mpfr_exp(y, y, round);
  mpfr_add_ui(y, y, 1, round);
  return mpfr_ui_div(y, 1, y, round);
}

#if defined(__x86_64__)
#define LOCKSTEP_MATH_TEST_WITH_FMA [[gnu::target("fma"), gnu::flatten]]
bool has_fma() { return __builtin_cpu_supports("fma") != 0; }
#else
#define LOCKSTEP_MATH_TEST_WITH_FMA
bool has_fma() { return true; }
#endif

/// The function of one number over an array, its fma an instruction: with a call for each, all inputs take
/// hours.
template <float (*function)(float)>
LOCKSTEP_MATH_TEST_WITH_FMA void one_by_one(const float* x, float* y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = function(x[i]);
}

struct Case {
  const char* name;
  float (*one)(float);
  void (*ones)(const float*, float*, std::int64_t);
  void (*on)(const float*, float*, std::int64_t, Device, void*);
  double (*wide)(double);
  Exact exact;
  double bound;  ///< largest error in ulp, as README.md states it

  void array(const float* x, float* y, std::int64_t count) const { on(x, y, count, Device::cpu, nullptr); }
};

const Case kCases[] = {
    {"exp", exp, one_by_one<exp>, exp, [](double x) { return std::exp(x); }, mpfr_exp, 1.02},
    {"exp2", exp2, one_by_one<exp2>, exp2, [](double x) { return std::exp2(x); }, mpfr_exp2, 0.504},
    {"expm1", expm1, one_by_one<expm1>, expm1, [](double x) { return std::expm1(x); }, mpfr_expm1, 0.501},
    {"log", log, one_by_one<log>, log, [](double x) { return std::log(x); }, mpfr_log, 0.89},
    {"log2", log2, one_by_one<log2>, log2, [](double x) { return std::log2(x); }, mpfr_log2, 0.501},
    {"log1p", log1p, one_by_one<log1p>, log1p, [](double x) { return std::log1p(x); }, mpfr_log1p, 0.97},
    {"tanh", tanh, one_by_one<tanh>, tanh, [](double x) { return std::tanh(x); }, mpfr_tanh, 0.76},
    {"erf", erf, one_by_one<erf>, erf, [](double x) { return std::erf(x); }, mpfr_erf, 0.77},
    {"sigmoid", sigmoid, one_by_one<sigmoid>, sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); },
     exact_sigmoid, 1.01},
    {"sqrt", sqrt, one_by_one<sqrt>, sqrt, [](double x) { return std::sqrt(x); }, mpfr_sqrt, 0.5001},
    {"rsqrt", rsqrt, one_by_one<rsqrt>, rsqrt, [](double x) { return 1 / std::sqrt(x); }, mpfr_rec_sqrt, 1.5},
    {"sin", sin, one_by_one<sin>, sin, [](double x) { return std::sin(x); }, mpfr_sin, 0.501},
    {"cos", cos, one_by_one<cos>, cos, [](double x) { return std::cos(x); }, mpfr_cos, 0.501},
};

class Math : public testing::TestWithParam<Case> {};

std::string name_of(const testing::TestParamInfo<Case>& info) { return info.param.name; }

/// Every 997th bit pattern, and all patterns around those where something changes.
const Values& sample() {
  static const Values values = [] {
    Values of;
    for (std::uint64_t word = 0; word < (std::uint64_t{1} << 32); word += 997)
      of.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(word)));
    for (const float around : {0.0f,   0x1p-126f,   0x1p-24f, 0.35f,   0.5f,    0.70710678f, 0.9275f,
                               1.0f,   1.41421356f, 3.95f,    10.0f,   87.3f,   88.72f,      103.9f,
                               128.0f, 150.0f,      0x1p24f,  0x1p30f, 0x1p40f, kInfinity}) {
      for (int step = -1500; step <= 1500; ++step) {
        const std::uint32_t word = std::bit_cast<std::uint32_t>(around) + static_cast<std::uint32_t>(step);
        of.push_back(std::bit_cast<float>(word));
        of.push_back(std::bit_cast<float>(word ^ 0x80000000u));
      }
    }
    return of;
  }();
  return values;
}

Values computed(const Case& of, const Values& x) {
  Values y(x.size());
  of.array(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
  return y;
}

/// The error of y in units of the last place of what it stands for.
double ulps(float y, double exact) {
  if (std::isnan(exact) || std::isnan(y)) return std::isnan(exact) == std::isnan(y) ? 0 : kInfinity;
  const float nearest = static_cast<float>(exact);
  if (y == nearest) {
    if (std::isinf(nearest)) return 0;
  } else if (std::isinf(nearest) || std::isinf(y)) {
    return std::isinf(nearest) && std::isinf(exact) ? kInfinity : 1;  // one of two neighbours
  }
  int exponent = 0;
  std::frexp(exact, &exponent);
  return std::fabs(static_cast<double>(y) - exact) * std::ldexp(1.0, std::min(24 - exponent, 149));
}

TEST_P(Math, EveryFormHasTheBitsOfOneNumber) {
  const Values& x = sample();
  std::vector<std::uint32_t> expected;
  for (const float value : x) expected.push_back(bits(GetParam().one(value)));
  for (const std::string& name : simd::instruction_sets()) {
    const simd::ForcedSet forced(name);
    const Values y = computed(GetParam(), x);
    for (std::size_t i = 0; i < x.size(); ++i)
      ASSERT_EQ(bits(y[i]), expected[i]) << name << " at " << std::hexfloat << x[i];
  }
}

TEST_P(Math, GivesTheExpectedBits) {
  for (const MathVector& vector : kMathVectors) {
    if (std::string(vector.function) != GetParam().name) continue;
    for (const std::string& name : simd::instruction_sets()) {
      const simd::ForcedSet forced(name);
      const float x = std::bit_cast<float>(vector.x);
      EXPECT_EQ(bits(computed(GetParam(), Values(20, x)).back()), vector.y)
          << name << " at " << std::hexfloat << x;
    }
  }
}

TEST_P(Math, ErrorIsWithinTheBound) {
  const Values& x = sample();
  const Values y = computed(GetParam(), x);
  double largest = 0;
  float at = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double error = ulps(y[i], GetParam().wide(x[i]));
    if (error > largest) {
      largest = error;
      at = x[i];
    }
  }
  EXPECT_LE(largest, GetParam().bound) << "at " << std::hexfloat << at;
  EXPECT_GT(largest, 0.4) << "the sample shows no rounding";
}

TEST_P(Math, AnElementDoesNotKnowItsPlace) {
  const Values x{0.1f,      -0.7f, 3.0f, 0x1p-140f, -4.0f, 0x1p50f, 0.0f,
                 kInfinity, 1.25f, kNan, -0.0f,     0.3f,  77.0f};
  for (const std::string& name : simd::instruction_sets()) {
    const simd::ForcedSet forced(name);
    for (std::size_t count = 0; count <= 70; ++count) {
      Values in, out(count + 1, -7.0f);
      for (std::size_t i = 0; i < count; ++i) in.push_back(x[(i + count) % x.size()]);
      GetParam().array(in.data(), out.data(), static_cast<std::int64_t>(count));
      for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(bits(out[i]), bits(GetParam().one(in[i]))) << name;
      EXPECT_EQ(out[count], -7.0f) << "nothing behind the end is written";
      GetParam().array(in.data(), in.data(), static_cast<std::int64_t>(count));
      for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(bits(in[i]), bits(out[i])) << "in place";
    }
  }
}

TEST_P(Math, ArraysAreChecked) {
  float a[2] = {};
  const auto refuses = [&](const char* words, const float* x, float* y, std::int64_t count) {
    try {
      GetParam().array(x, y, count);
      ADD_FAILURE() << "accepted; expected: " << words;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_NE(std::string(error.what()).find(GetParam().name + std::string(words)), std::string::npos)
          << error.what();
    }
  };
  refuses(": count: expected 0 or more, got -1", a, a, -1);
  refuses(": x or y: expected memory of 2 elements, got a null pointer", nullptr, a, 2);
  refuses(": x or y", a, nullptr, 2);
  EXPECT_NO_THROW(GetParam().array(nullptr, nullptr, 0));
}

#if defined(__x86_64__)
TEST_P(Math, KeepsSubnormalsForACallerThatFlushesThem) {
  const Values x{0x1p-140f, -0x1p-149f, -95.0f, -140.0f, 0x1p-127f, 1.0f};
  const Values expected = computed(GetParam(), x);
  FlushingCaller caller;
  const Values flushed = computed(GetParam(), x);
  const bool kept = caller.end();
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(bits(flushed[i]), bits(expected[i])) << x[i];
  EXPECT_TRUE(kept) << "the caller's mode comes back";
}
#endif

// ---- All inputs

constexpr std::int64_t kBlock = 1 << 16, kBlocks = 1 << 16;

Values block(std::int64_t index) {
  Values x(kBlock);
  for (std::int64_t i = 0; i < kBlock; ++i)
    x[static_cast<std::size_t>(i)] = std::bit_cast<float>(static_cast<std::uint32_t>(index * kBlock + i));
  return x;
}

std::uint64_t digest(const Values& y) {
  std::uint64_t sum = 0, place = 1;
  for (const float value : y) {
    sum += bits(value) * place;
    place = place * 6364136223846793005 + 2;  // odd for ever
  }
  return sum;
}

template <class Array>
std::vector<std::uint64_t> digests_of_all(Array array) {
  std::vector<std::uint64_t> digests(kBlocks);
  parallel::for_each_range(kBlocks, 16, [&](std::int64_t begin, std::int64_t end) {
    Values y(kBlock);
    for (std::int64_t b = begin; b < end; ++b) {
      array(block(b).data(), y.data(), kBlock);
      digests[static_cast<std::size_t>(b)] = digest(y);
    }
  });
  return digests;
}

TEST_P(Math, SlowEveryFormAgreesOnAllInputs) {
  const auto vectors = [](auto... call) { GetParam().array(call...); };
  const auto expected = has_fma() ? digests_of_all(GetParam().ones) : digests_of_all(vectors);
  for (const std::string& name : simd::instruction_sets()) {
    if (name == "SCALAR" && has_fma()) continue;  // the same text, and the sample's judge
    const simd::ForcedSet forced(name);
    const auto digests = digests_of_all(vectors);
    for (std::size_t b = 0; b < digests.size(); ++b)
      ASSERT_EQ(digests[b], expected[b]) << name << ", inputs " << std::hex << b * kBlock << " and on";
  }
}

struct Worst {
  double error;
  float x;
  bool operator<(const Worst& other) const { return error > other.error; }
};
constexpr std::size_t kWorst = 1000;

/// The kWorst inputs with the largest errors against double.
std::vector<Worst> worst_of_all(const Case& of) {
  std::vector<Worst> worst;
  std::mutex mutex;
  parallel::for_each_range(kBlocks, 16, [&](std::int64_t begin, std::int64_t end) {
    std::vector<Worst> heap;  // the least of the worst in front
    for (std::int64_t b = begin; b < end; ++b) {
      const Values x = block(b), y = computed(of, x);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double error = ulps(y[i], of.wide(x[i]));
        if (heap.size() == kWorst && error <= heap.front().error) continue;
        heap.push_back({error, x[i]});
        std::push_heap(heap.begin(), heap.end());
        if (heap.size() <= kWorst) continue;
        std::pop_heap(heap.begin(), heap.end());
        heap.pop_back();
      }
    }
    const std::lock_guard<std::mutex> lock(mutex);
    worst.insert(worst.end(), heap.begin(), heap.end());
  });
  std::sort(worst.begin(), worst.end());
  worst.resize(std::min(worst.size(), kWorst));
  return worst;
}

/// The error against 200 bits.
double exact_ulps(const Case& of, float x) {
  const float y = of.one(x);
  mpfr_t exact, unit;
  mpfr_inits2(200, exact, unit, nullptr);
  mpfr_set_flt(exact, x, MPFR_RNDN);
  of.exact(exact, exact, MPFR_RNDN);
  double error = 0;
  if (mpfr_number_p(exact) != 0 && !mpfr_zero_p(exact) && std::isfinite(y)) {
    const mpfr_exp_t exponent = mpfr_get_exp(exact);
    mpfr_sub_d(unit, exact, static_cast<double>(y), MPFR_RNDN);
    mpfr_mul_2si(unit, unit, std::min<long>(24 - exponent, 149), MPFR_RNDN);
    error = std::fabs(mpfr_get_d(unit, MPFR_RNDN));
  } else {
    error = ulps(y, mpfr_get_d(exact, MPFR_RNDN));
  }
  mpfr_clears(exact, unit, nullptr);
  return error;
}

TEST_P(Math, SlowLargestErrorOfAllInputs) {
  double largest = 0;
  float at = 0;
  for (const Worst& each : worst_of_all(GetParam())) {
    const double error = exact_ulps(GetParam(), each.x);
    EXPECT_NEAR(error, each.error, 1e-6) << "the double reference at " << std::hexfloat << each.x;
    if (error > largest) {
      largest = error;
      at = each.x;
    }
  }
  std::printf("%-8s largest error %.6f ulp, at %a\n", GetParam().name, largest, static_cast<double>(at));
  EXPECT_LE(largest, GetParam().bound);
}

INSTANTIATE_TEST_SUITE_P(All, Math, testing::ValuesIn(kCases), name_of);

// ---- CUDA: a parameter for each test, and the words that the build takes its labels from

class MathGpu : public GpuSuite<testing::TestWithParam<Case>> {};

void expect_same(const Values& x, const Values& got, const Values& expected) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    ASSERT_EQ(bits(got[i]), bits(expected[i])) << i << ", at " << std::hexfloat << x[i];
}

TEST_P(MathGpu, HasTheBitsOfTheCpu) {
  const Values &x = sample(), expected = computed(GetParam(), x);
  const auto count = static_cast<std::int64_t>(x.size());
  const DeviceValues<float> source(x), result(x), in_place(x);
  GetParam().on(source.data(), result.data(), count, Device::cuda, nullptr);
  GetParam().on(in_place.data(), in_place.data(), count, Device::cuda, nullptr);
  expect_same(x, result.values(), expected);
  expect_same(x, in_place.values(), expected);
}

TEST_P(MathGpu, AnElementDoesNotKnowItsPlace) {
  std::vector<std::size_t> counts{1023, 4097, 70'001};
  for (std::size_t count = 0; count < 20; ++count) counts.push_back(count);
  for (const std::size_t count : counts) {
    const auto first = sample().begin() + 1'000'000;
    const Values x(first, first + static_cast<std::ptrdiff_t>(count)), expected = computed(GetParam(), x);
    for (const DeviceOffsets& offsets : kDeviceOffsets) {
      const DeviceValues<float> source(x, offsets.operand), result(x, offsets.result);
      GetParam().on(source.data(), result.data(), static_cast<std::int64_t>(count), Device::cuda, nullptr);
      expect_same(x, result.values(), expected);
    }
  }
}

TEST_P(MathGpu, SlowAllInputs) {
  constexpr std::int64_t kPart = 1 << 24;
  Values x(kPart), expected(kPart), got(kPart);
  DeviceBuffer buffer(kPart * sizeof(float));
  for (std::int64_t part = 0; part < kBlocks * kBlock / kPart; ++part) {
    parallel::for_each_range(kPart / kBlock, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t b = begin; b < end; ++b) {
        const Values of = block(part * (kPart / kBlock) + b);
        std::copy(of.begin(), of.end(), x.begin() + b * kBlock);
        GetParam().array(of.data(), expected.data() + b * kBlock, kBlock);
      }
    });
    buffer.copy_from_host(x.data());
    auto* const data = static_cast<float*>(buffer.data());
    GetParam().on(data, data, kPart, Device::cuda, nullptr);
    buffer.copy_to_host(got.data());
    for (std::size_t i = 0; i < got.size(); ++i)
      if (bits(got[i]) != bits(expected[i]))
        FAIL() << std::hexfloat << x[i] << " gives " << got[i] << ", not " << expected[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Gpu, MathGpu, testing::ValuesIn(kCases), name_of);

TEST(MathDevice, IsCheckedAsTheHostIs) {
  float a[2] = {};
  for (const Case& of : kCases) {
    of.on(a, a, 2, Device::cpu, nullptr);
    EXPECT_EQ(bits(a[0]), bits(of.one(0.0f)));
    a[0] = a[1] = 0.0f;
    expect_refusal([&] { of.on(a, nullptr, 2, Device::cuda, nullptr); }, ": x or y: expected memory of 2");
    expect_refusal([&] { of.on(a, a, -1, Device::cuda, nullptr); }, ": count: expected 0 or more");
    expect_refusal([&] { of.on(a, a, 2, static_cast<Device>(7), nullptr); }, "another number");
  }
  if (cuda_device_count() > 0) return;
  expect_refusal([&] { exp(a, a, 2, Device::cuda); }, "Device::cpu", ErrorCode::unsupported);
  expect_refusal([&] { pow(a, a, a, 2, Device::cuda); }, "Device::cpu", ErrorCode::unsupported);
}

// ---- Special values

TEST(MathSpecial, ValuesAreCs) {
  const auto same = [](float got, float expected) { EXPECT_EQ(bits(got), bits(expected)); };
  same(exp(0.0f), 1.0f), same(exp(-0.0f), 1.0f), same(exp(kInfinity), kInfinity), same(exp(-kInfinity), 0.0f);
  same(exp(88.8f), kInfinity), same(exp(-104.0f), 0.0f), same(exp(-103.9f), 0x1p-149f),
      same(exp(3e38f), kInfinity);
  same(exp2(-149.0f), 0x1p-149f), same(exp2(-150.0f), 0.0f), same(exp2(127.0f), 0x1p127f),
      same(exp2(128.0f), kInfinity);
  same(expm1(-0.0f), -0.0f), same(expm1(-kInfinity), -1.0f), same(expm1(kInfinity), kInfinity);
  same(expm1(0x1p-149f), 0x1p-149f);
  for (const auto logarithm : {static_cast<float (*)(float)>(log), static_cast<float (*)(float)>(log2)}) {
    same(logarithm(0.0f), -kInfinity), same(logarithm(-0.0f), -kInfinity), same(logarithm(1.0f), 0.0f);
    same(logarithm(-0x1p-149f), kNan), same(logarithm(-kInfinity), kNan),
        same(logarithm(kInfinity), kInfinity);
  }
  same(log2(0x1p-149f), -149.0f), same(log2(0x1p127f), 127.0f);
  same(log1p(-1.0f), -kInfinity), same(log1p(-1.0000001f), kNan), same(log1p(-0.0f), -0.0f);
  same(log1p(kInfinity), kInfinity), same(log1p(-kInfinity), kNan), same(log1p(-0x1p-149f), -0x1p-149f);
  same(tanh(kInfinity), 1.0f), same(tanh(-kInfinity), -1.0f), same(tanh(-0.0f), -0.0f),
      same(tanh(0x1p-149f), 0x1p-149f);
  same(erf(kInfinity), 1.0f), same(erf(-kInfinity), -1.0f), same(erf(-0.0f), -0.0f), same(erf(4.0f), 1.0f);
  same(sigmoid(0.0f), 0.5f), same(sigmoid(kInfinity), 1.0f), same(sigmoid(-kInfinity), 0.0f),
      same(sigmoid(-200.0f), 0.0f);
  same(sqrt(4.0f), 2.0f), same(sqrt(-0.0f), -0.0f), same(sqrt(-1.0f), kNan);
  same(rsqrt(4.0f), 0.5f), same(rsqrt(0.0f), kInfinity), same(rsqrt(-0.0f), -kInfinity),
      same(rsqrt(-1.0f), kNan);
  same(rsqrt(kInfinity), 0.0f);
  same(sin(-0.0f), -0.0f), same(sin(kInfinity), kNan), same(cos(-kInfinity), kNan), same(cos(0.0f), 1.0f);
  for (const Case& of : kCases) same(of.one(kNan), kNan);
}

struct PowCase {
  float x, y;
};

std::vector<PowCase> pow_cases() {
  const Values special{0.0f,   -0.0f,  1.0f,    -1.0f, 2.0f,        -2.0f,        3.0f,
                       -3.0f,  0.5f,   -0.5f,   1.5f,  -1.5f,       kInfinity,    -kInfinity,
                       kNan,   1e-40f, -1e-40f, 1e30f, 16777215.0f, -16777215.0f, 1e-30f,
                       -1e30f, 127.0f, -149.0f, 1.25f, 0.75f,       16777216.0f};
  std::vector<PowCase> cases;
  for (const float x : special)
    for (const float y : special) cases.push_back({x, y});
  std::uint32_t state = 1;
  for (int i = 0; i < 200000; ++i) {
    state = state * 1664525 + 1013904223;
    const float x = std::ldexp(static_cast<float>(state >> 8), static_cast<int>(state % 61) - 54);
    state = state * 1664525 + 1013904223;
    cases.push_back({x, static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-26f});
  }
  return cases;
}

TEST(MathExp, NormalResultsHaveTheBitsOfAll) {
  for (std::uint32_t word = 0; word <= std::bit_cast<std::uint32_t>(86.0f); word += 1009)
    for (const float x : {std::bit_cast<float>(word), -std::bit_cast<float>(word), 86.0f, -86.0f})
      ASSERT_EQ(bits(internal::exp_normal(x)), bits(exp(x))) << x;
}

TEST(MathPow, SpecialCasesAreCsAndTheErrorIsSmall) {
  double largest = 0;
  for (const auto& [x, y] : pow_cases()) {
    const double exact = std::pow(static_cast<double>(x), static_cast<double>(y));
    const float got = pow(x, y);
    largest = std::max(largest, ulps(got, exact));
    if (exact == 0 || std::isinf(exact) || std::isnan(exact)) {
      EXPECT_EQ(bits(got), bits(static_cast<float>(exact))) << x << " to the " << y;
    }
  }
  EXPECT_LE(largest, 0.51);
}

TEST(MathPow, EveryFormHasTheBitsOfOneNumber) {
  Values x, y;
  for (const PowCase& each : pow_cases()) {
    x.push_back(each.x);
    y.push_back(each.y);
  }
  for (const std::string& name : simd::instruction_sets()) {
    const simd::ForcedSet forced(name);
    for (const std::size_t count : {x.size(), std::size_t{37}, std::size_t{1}}) {
      Values z(count + 1, -7.0f);
      pow(x.data(), y.data(), z.data(), static_cast<std::int64_t>(count));
      for (std::size_t i = 0; i < count; ++i)
        ASSERT_EQ(bits(z[i]), bits(pow(x[i], y[i]))) << name << ": " << x[i] << " to the " << y[i];
      EXPECT_EQ(z[count], -7.0f);
    }
  }
  EXPECT_THROW(pow(x.data(), nullptr, y.data(), 3), Error);
}

class MathPowGpu : public GpuSuite<> {};

TEST_F(MathPowGpu, HasTheBitsOfTheCpu) {
  Values x, y;
  const auto add = [&](float base, float exponent) { x.push_back(base), y.push_back(exponent); };
  for (const PowCase& each : pow_cases()) add(each.x, each.y);
  for (const float value : sample()) add(value, 1.7f), add(1.3f, value), add(value, -3.0f);
  const auto count = static_cast<std::int64_t>(x.size());
  Values expected(x.size());
  pow(x.data(), y.data(), expected.data(), count);
  const DeviceValues<float> base(x, 1), exponent(y, 1), z(x, 1), apart(x, 2);
  pow(base.data(), exponent.data(), z.data(), count, Device::cuda);
  expect_same(x, z.values(), expected);
  pow(base.data(), exponent.data(), apart.data(), count, Device::cuda);
  expect_same(x, apart.values(), expected);
  pow(base.data(), exponent.data(), exponent.data(), count, Device::cuda);
  expect_same(x, exponent.values(), expected);
}

// ---- float64

TEST(MathFp64, IsCloseToTheFloatForm) {
  struct WideCase {
    const char* name;
    void (*array)(const double*, double*, std::int64_t);
  };
  const WideCase wide[] = {{"exp", exp},         {"exp2", exp2},   {"expm1", expm1}, {"log", log},
                           {"log2", log2},       {"log1p", log1p}, {"tanh", tanh},   {"erf", erf},
                           {"sigmoid", sigmoid}, {"sqrt", sqrt},   {"rsqrt", rsqrt}, {"sin", sin},
                           {"cos", cos}};
  ASSERT_EQ(std::size(wide), std::size(kCases));
  for (std::size_t k = 0; k < std::size(wide); ++k) {
    ASSERT_EQ(wide[k].name, std::string(kCases[k].name));
    std::vector<double> x;
    for (int i = 1; i < 200; ++i) x.push_back(i * 0.03125);
    std::vector<double> y = x;
    wide[k].array(y.data(), y.data(), static_cast<std::int64_t>(y.size()));
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(y[i], kCases[k].one(static_cast<float>(x[i])), 2e-7 * (1 + std::fabs(y[i])))
          << wide[k].name << " of " << x[i];
      EXPECT_NEAR(y[i], kCases[k].wide(x[i]), 1e-15 * (1 + std::fabs(y[i])))
          << wide[k].name << " of " << x[i];
    }
    EXPECT_THROW(wide[k].array(y.data(), nullptr, 1), Error);
    EXPECT_THROW(wide[k].array(y.data(), y.data(), -1), Error);
  }
  const double x = 1.5, y = -2.0;
  double z = 0;
  pow(&x, &y, &z, 1);
  EXPECT_DOUBLE_EQ(z, 1 / 2.25);
  EXPECT_THROW(pow(&x, nullptr, &z, 1), Error);
}

// ---- The suite can fail

TEST(MathTwin, AnotherRoundingGoesRed) {
  int differs = 0;
  for (int i = 0; i < 10000; ++i) {
    const float x = static_cast<float>(i) * 0.001f - 5.0f;
    differs += bits(static_cast<float>(std::exp(static_cast<double>(x)))) != bits(exp(x)) ? 1 : 0;
  }
  EXPECT_GT(differs, 100) << "the correctly rounded exponential is another function";
}

}  // namespace
}  // namespace lockstep::math
