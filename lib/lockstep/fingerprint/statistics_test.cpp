#include "lockstep/fingerprint/statistics.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/error.h"
#include "lockstep/fingerprint/kernel_internal.h"

namespace lockstep::fingerprint {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<double> numbers(std::size_t count) {
  std::uint64_t state = 1;
  std::vector<double> values(count);
  for (double& value : values) {
    state = state * 6364136223846793005 + 1442695040888963407;
    value =
        std::ldexp(static_cast<double>(static_cast<std::int64_t>(state)), -63 + static_cast<int>(state % 20));
  }
  return values;
}

template <class T>
ConstView view_of(const std::vector<T>& values, DType dtype, const Shape& shape) {
  EXPECT_LE(static_cast<std::size_t>(shape.elements()), values.size());
  return {values.data(), dtype, shape, Device::cpu};
}

Statistics of(const std::vector<double>& values) {
  return statistics(view_of(values, DType::float64, {static_cast<std::int64_t>(values.size())}));
}

/// Every field as bits: NaN equals NaN, -0 differs from +0.
std::array<std::uint64_t, 9> bits(const Statistics& s) {
  return {static_cast<std::uint64_t>(s.count),     static_cast<std::uint64_t>(s.nan_count),
          static_cast<std::uint64_t>(s.inf_count), std::bit_cast<std::uint64_t>(s.sum),
          std::bit_cast<std::uint64_t>(s.mean),    std::bit_cast<std::uint64_t>(s.std),
          std::bit_cast<std::uint64_t>(s.min),     std::bit_cast<std::uint64_t>(s.max),
          std::bit_cast<std::uint64_t>(s.norm)};
}

/// The specification of README.md written down once more, slow and obvious.
struct Reference {
  static double lane_sum(const std::vector<double>& terms) {
    const std::size_t w = terms.size() <= 8192 ? 128 : 1024;
    std::vector<double> lane(w, 0.0);
    for (std::size_t j = 0; j < terms.size(); ++j) lane[j % w] = lane[j % w] + terms[j];
    for (std::size_t s = w / 2; s >= 1; s /= 2) {
      for (std::size_t i = 0; i < s; ++i) lane[i] = lane[i] + lane[i + s];
    }
    return lane[0];
  }

  void add(const std::vector<double>& sample) {
    std::vector<double> plain, squares, deviations;
    double own = 0;
    for (const double x : sample) {
      ++result.count;
      if (std::isnan(x)) ++result.nan_count;
      if (std::isinf(x)) ++result.inf_count;
      const bool finite = std::isfinite(x);
      own += finite ? 1 : 0;
      plain.push_back(finite ? x : 0.0);
      squares.push_back(finite ? x * x : 0.0);
      if (finite && (n == 0 && own == 1 ? true : x < result.min)) result.min = x;
      if (finite && (n == 0 && own == 1 ? true : x > result.max)) result.max = x;
    }
    if (own == 0) return;
    const double sum = lane_sum(plain), mean = sum / own;
    for (const double x : sample) deviations.push_back(std::isfinite(x) ? (x - mean) * (x - mean) : 0.0);
    const double m2 = lane_sum(deviations);
    const double all = n + own, share = own / all, distance = mean - running_mean;
    running_mean = running_mean + distance * share;
    running_m2 = running_m2 + (m2 + distance * distance * (n * share));
    n = all;
    result.sum = result.sum + sum;
    running_squares = running_squares + lane_sum(squares);
  }

  Statistics finish() {
    result.mean = n > 0 ? result.sum / n : kNaN;
    result.std = n > 1 ? std::sqrt(running_m2 / (n - 1)) : kNaN;
    if (n == 0) result.min = result.max = kNaN;
    result.norm = std::sqrt(running_squares);
    return result;
  }

  Statistics result;
  double n = 0, running_mean = 0, running_m2 = 0, running_squares = 0;
};

class StatisticsOn : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { internal::force_kernel(internal::kernel_named(GetParam().c_str())); }
  void TearDown() override { internal::force_kernel(internal::kernel_named(internal::kernel_names()[0])); }
};

std::vector<std::string> all_kernels() {
  std::vector<std::string> names;
  for (const char* const* name = internal::kernel_names(); *name != nullptr; ++name)
    names.emplace_back(*name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Isa, StatisticsOn, testing::ValuesIn(all_kernels()),
                         [](const auto& kernel) { return kernel.param; });

template <class T>
void expect_specified(DType dtype, bool with_holes) {
  for (const std::int64_t features :
       {1, 2, 3, 5, 16, 17, 127, 128, 129, 255, 256, 300, 784, 8191, 8192, 8193, 9217}) {
    const std::int64_t samples = 5;
    const auto count = static_cast<std::size_t>(samples * features);
    // Around the samples lies what would show as a minimum or maximum of theirs.
    std::vector<T> values(count + 256, std::numeric_limits<T>::max());
    for (std::size_t i = 0; i < 128; ++i) values[i] = std::numeric_limits<T>::lowest();
    T* const first = values.data() + 128;
    const std::vector<double> drawn = numbers(count);
    for (std::size_t i = 0; i < count; ++i) {
      first[i] = static_cast<T>(drawn[i]);
      if (with_holes && i % 5 == 0)
        first[i] = static_cast<T>(i % 3 == 0 ? kNaN : i % 3 == 1 ? kInfinity : -kInfinity);
    }
    Reference reference;
    for (std::int64_t s = 0; s < samples; ++s)
      reference.add({first + s * features, first + (s + 1) * features});
    const Statistics got = statistics({first, dtype, {samples, features}});
    EXPECT_EQ(bits(got), bits(reference.finish())) << features << (with_holes ? " with holes" : "");
  }
}

TEST_P(StatisticsOn, FollowTheSpecificationBitForBit) {
  for (const bool with_holes : {false, true}) {
    expect_specified<double>(DType::float64, with_holes);
    expect_specified<float>(DType::float32, with_holes);
  }
}

TEST_P(StatisticsOn, DoNotDependOnTheCut) {
  constexpr std::int64_t kSamples = 23, kFeatures = 301;
  const std::vector<double> values = numbers(kSamples * kFeatures);
  const auto cut_by = [&](std::int64_t cut) {
    StatisticsAccumulator accumulator;
    for (std::int64_t first = 0; first < kSamples; first += cut) {
      const std::int64_t count = std::min(cut, kSamples - first);
      accumulator.add(
          {values.data() + first * kFeatures, DType::float64, Shape{count, kFeatures}, Device::cpu});
    }
    return bits(accumulator.finish());
  };
  const auto whole = cut_by(kSamples);
  EXPECT_EQ(cut_by(1), whole);
  EXPECT_EQ(cut_by(7), whole);

  // The naive twin: a sum for each part, then the sum of the parts. It sees the cut.
  const auto naive = [&](std::int64_t cut) {
    double total = 0;
    for (std::int64_t first = 0; first < kSamples; first += cut) {
      double part = 0;
      for (std::int64_t i = first * kFeatures; i < std::min(first + cut, kSamples) * kFeatures; ++i) {
        part += values[static_cast<std::size_t>(i)];
      }
      total += part;
    }
    return total;
  };
  EXPECT_NE(naive(1), naive(kSamples));
  EXPECT_NE(naive(7), naive(kSamples));
}

TEST_P(StatisticsOn, GiveExactSmallCases) {
  const Statistics s = of({1, 2, 3, 4});
  EXPECT_EQ(s.count, 4);
  EXPECT_EQ(s.sum, 10);
  EXPECT_EQ(s.mean, 2.5);
  EXPECT_EQ(s.std, std::sqrt(5.0 / 3));
  EXPECT_EQ(s.min, 1);
  EXPECT_EQ(s.max, 4);
  EXPECT_EQ(s.norm, std::sqrt(30.0));
}

TEST_P(StatisticsOn, CountWhatIsNotFiniteAndLeaveItOut) {
  const Statistics s = of({kNaN, 1, kInfinity, -kNaN, 5, -kInfinity, kInfinity});
  EXPECT_EQ(s.count, 7);
  EXPECT_EQ(s.nan_count, 2);
  EXPECT_EQ(s.inf_count, 3);
  EXPECT_EQ(s.mean, 3);
  EXPECT_EQ(s.min, 1);
  EXPECT_EQ(s.max, 5);
}

TEST_P(StatisticsOn, LeaveUndefinedValuesNan) {
  const Statistics empty = of({});
  EXPECT_EQ(empty.count, 0);
  EXPECT_EQ(empty.sum, 0);
  EXPECT_EQ(empty.norm, 0);
  for (const double value : {empty.mean, empty.std, empty.min, empty.max}) EXPECT_TRUE(std::isnan(value));
  const Statistics only_nan = of({kNaN, kNaN});
  EXPECT_EQ(only_nan.nan_count, 2);
  EXPECT_TRUE(std::isnan(only_nan.mean));
  EXPECT_TRUE(std::isnan(only_nan.min));
  const Statistics one = of({3});
  EXPECT_EQ(one.mean, 3);
  EXPECT_TRUE(std::isnan(one.std));
  const Statistics no_features = statistics({nullptr, DType::float32, Shape{4, 0}, Device::cpu});
  EXPECT_EQ(no_features.count, 0);
}

TEST_P(StatisticsOn, LetTheFirstOfEqualZerosStand) {
  for (const std::size_t length : {2, 3, 200, 9000}) {
    std::vector<double> values(length, -0.0);
    values.back() = 0.0;
    const auto row = static_cast<std::int64_t>(length);
    const Statistics first = statistics(view_of(values, DType::float64, {1, row}));
    EXPECT_TRUE(std::signbit(first.min) && std::signbit(first.max)) << length;
    values.front() = 0.0;
    const Statistics second = statistics(view_of(values, DType::float64, {1, row}));
    EXPECT_FALSE(std::signbit(second.min) || std::signbit(second.max)) << length;
    EXPECT_FALSE(std::signbit(second.sum)) << "a sum starts at +0";
  }
}

TEST_P(StatisticsOn, ReadEveryDtype) {
  const std::vector<std::uint8_t> bytes{0, 1, 200, 255};
  EXPECT_EQ(statistics(view_of(bytes, DType::uint8, {4})).sum, 456);
  EXPECT_EQ(statistics(view_of(bytes, DType::int8, {4})).sum, -56);
  EXPECT_EQ(statistics(view_of(bytes, DType::boolean, {4})).sum, 3);
  const std::vector<std::uint16_t> halves{0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0xfc00, 0x7e01};
  const Statistics half = statistics(view_of(halves, DType::float16, {7}));
  EXPECT_EQ(half.sum, 1 - 2 + std::ldexp(1, -24) + 65504);
  EXPECT_EQ(half.inf_count, 2);
  EXPECT_EQ(half.nan_count, 1);
  EXPECT_EQ(half.min, -2);
  const std::vector<std::uint16_t> brains{0x3f80, 0xc000, 0x7f80, 0x7fc1, 0x0001};
  const Statistics brain = statistics(view_of(brains, DType::bfloat16, {5}));
  EXPECT_EQ(brain.sum, -1 + std::ldexp(1, -133));
  EXPECT_EQ(brain.inf_count, 1);
  EXPECT_EQ(brain.nan_count, 1);
  EXPECT_EQ(statistics(view_of(std::vector<std::int64_t>{-5, 1LL << 40}, DType::int64, {2})).max,
            std::ldexp(1, 40));
  EXPECT_EQ(statistics(view_of(std::vector<std::uint64_t>{~0ull}, DType::uint64, {1})).max,
            std::ldexp(1, 64));
  EXPECT_EQ(statistics(view_of(std::vector<std::int32_t>{-7}, DType::int32, {1})).min, -7);
  EXPECT_EQ(statistics(view_of(std::vector<std::uint32_t>{4000000000u}, DType::uint32, {1})).min, 4e9);
  EXPECT_EQ(statistics(view_of(std::vector<std::int16_t>{-7}, DType::int16, {1})).min, -7);
  EXPECT_EQ(statistics(view_of(std::vector<std::uint16_t>{65535}, DType::uint16, {1})).min, 65535);
  EXPECT_EQ(statistics(view_of(std::vector<float>{1e-40f}, DType::float32, {1})).min, double{1e-40f})
      << "subnormals are kept";
}

TEST_P(StatisticsOn, KeepTheVarianceOfValuesFarFromZero) {
  // Mean of squares minus square of the mean would have lost all of it.
  std::vector<double> values(10000);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 1e9 + static_cast<double>(i % 2);
  EXPECT_NEAR(of(values).std, 0.5, 1e-4);  // 0.500025: n - 1 in the denominator
  double sum = 0, squares = 0;
  for (const double x : values) sum += x, squares += x * x;
  const double n = 10000, naive = std::sqrt(std::max(0.0, (squares - sum * sum / n) / (n - 1)));
  EXPECT_GT(std::abs(naive - 0.5), 1e-2);
}

TEST(Statistics, ScalarIsOneSample) {
  const double value = 2.5;
  const Statistics s = statistics({&value, DType::float64, Shape{}, Device::cpu});
  EXPECT_EQ(s.count, 1);
  EXPECT_EQ(s.mean, 2.5);
}

TEST(Statistics, RefusesDeviceMemory) {
  try {
    statistics({nullptr, DType::float32, Shape{1}, Device::cuda});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("Copy the tensor to the CPU"), std::string::npos);
  }
}

}  // namespace
}  // namespace lockstep::fingerprint
