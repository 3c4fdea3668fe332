#include "lockstep/dropout/dropout.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device_values_test.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/dropout/dropout_ref.h"
#include "lockstep/dropout/dropout_vectors.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;
using Mask = std::vector<std::uint8_t>;

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

Values numbers(std::int64_t count) {
  Values values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1) / 7.0f - 20.0f;
  return values;
}

Mask mask_of(std::int64_t samples, std::int64_t elements, double p, const DropoutDraw& draw) {
  Mask keeps(static_cast<std::size_t>(samples * elements), 9);
  dropout_mask(keeps.data(), samples, elements, p, draw);
  return keeps;
}

// ---- The twins under one name

struct Ref {
  static Values run(const Values& x, std::int64_t samples, std::int64_t elements, double p,
                    const DropoutDraw& draw) {
    Values y(x.size(), -1.0f);
    dropout_ref(x.data(), y.data(), samples, elements, p, draw);
    return y;
  }
  template <class Check>
  static void each(Check check) {
    check();
  }
};

struct Cpu {
  static Values run(const Values& x, std::int64_t samples, std::int64_t elements, double p,
                    const DropoutDraw& draw) {
    Values y(x.size(), -1.0f);
    dropout(x.data(), y.data(), samples, elements, p, draw);
    return y;
  }
  template <class Check>
  static void each(Check check) {
    simd::in_every_form(check);
  }
};

struct Cuda {
  static Values run(const Values& x, std::int64_t samples, std::int64_t elements, double p,
                    const DropoutDraw& draw) {
    const DeviceValues<float> source(x), y(x);
    dropout(source.data(), y.data(), samples, elements, p, draw, Device::cuda);
    return y.values();
  }
  template <class Check>
  static void each(Check check) {
    check();
  }
};

template <class Twin>
class Dropout : public testing::Test {
 protected:
  void SetUp() override {
    if (std::is_same_v<Twin, Cuda> && cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
  }
};
TYPED_TEST_SUITE_P(Dropout);

TYPED_TEST_P(Dropout, GivesTheExpectedBits) {
  TypeParam::each([] {
    for (const DropoutVector& v : kDropoutVectors) {
      const DropoutDraw draw{v.seed, v.stream, v.step, v.first_sample};
      const Values x = numbers(v.samples * v.elements);
      const Values y = TypeParam::run(x, v.samples, v.elements, v.p, draw);
      const float scale = std::bit_cast<float>(v.scale);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const bool kept = (v.kept[i / 32] >> (i % 32) & 1) != 0;
        ASSERT_EQ(bits(y[i]), bits(kept ? x[i] * scale : 0.0f)) << i;
      }
    }
  });
}

TYPED_TEST_P(Dropout, WhatIsDroppedIsPlusZeroWhateverItHeld) {
  TypeParam::each([] {
    const DropoutDraw draw{5, 1, 2, 3};
    const Values x(200, std::numeric_limits<float>::quiet_NaN());
    const Values y = TypeParam::run(x, 2, 100, 0.5, draw);
    const Mask keeps = mask_of(2, 100, 0.5, draw);
    for (std::size_t i = 0; i < y.size(); ++i) {
      EXPECT_EQ(std::isnan(y[i]), keeps[i] != 0);
      EXPECT_TRUE(keeps[i] != 0 || bits(y[i]) == 0u);
    }
    for (const float y_of_negative : TypeParam::run(Values(100, -3.0f), 1, 100, 0.9, draw))
      EXPECT_TRUE(bits(y_of_negative) == 0u || y_of_negative < 0);
  });
}

TYPED_TEST_P(Dropout, ProbabilitiesZeroAndOne) {
  TypeParam::each([] {
    const Values x = numbers(70);
    EXPECT_EQ(TypeParam::run(x, 1, 70, 0.0, {}), x);
    for (const float y : TypeParam::run(x, 1, 70, 1.0, {})) EXPECT_EQ(bits(y), 0u);
    EXPECT_EQ(TypeParam::run(x, 1, 70, 1e-11, {}), x) << "below 2^-32 nothing is dropped";
  });
}

REGISTER_TYPED_TEST_SUITE_P(Dropout, GivesTheExpectedBits, WhatIsDroppedIsPlusZeroWhateverItHeld,
                            ProbabilitiesZeroAndOne);
INSTANTIATE_TYPED_TEST_SUITE_P(Ref, Dropout, Ref);
INSTANTIATE_TYPED_TEST_SUITE_P(Cpu, Dropout, Cpu);
INSTANTIATE_TYPED_TEST_SUITE_P(Gpu, Dropout, Cuda);

class DropoutGpu : public GpuSuite<> {};

TEST_F(DropoutGpu, HasTheBitsOfTheCpu) {
  const DropoutDraw draw{0xfedcba9876543210u, 12, 34, 56};
  for (const std::int64_t elements : {0, 1, 2, 3, 4, 5, 7, 8, 64, 301, 1024, 4099, 8192}) {
    for (const std::int64_t samples : {0, 1, 3, 500}) {
      const Values x = numbers(samples * elements), expected = Cpu::run(x, samples, elements, 0.3, draw);
      const Mask keeps = mask_of(samples, elements, 0.3, draw);
      for (const DeviceOffsets& offsets : kDeviceOffsets) {
        const DeviceValues<float> source(x, offsets.operand), y(x, offsets.result);
        dropout(source.data(), y.data(), samples, elements, 0.3, draw, Device::cuda);
        ASSERT_EQ(y.values(), expected) << samples << " × " << elements;
        dropout(source.data(), source.data(), samples, elements, 0.3, draw, Device::cuda);
        ASSERT_EQ(source.values(), expected) << samples << " × " << elements << ", in place";
        const DeviceValues<std::uint8_t> drawn(Mask(x.size()), offsets.result);
        dropout_mask(drawn.data(), samples, elements, 0.3, draw, Device::cuda);
        ASSERT_EQ(drawn.values(), keeps) << samples << " × " << elements;
      }
    }
  }
}

TEST_F(DropoutGpu, AMicroBatchDrawsWhatItsSamplesDraw) {
  const Values x = numbers(50 * 301), whole = Cpu::run(x, 50, 301, 0.4, {9, 8, 7, 1000});
  const DeviceValues<float> source(x), y(x);
  for (std::int64_t first = 0; first < 50; first += 7) {
    const std::int64_t count = std::min<std::int64_t>(7, 50 - first), offset = first * 301;
    dropout(source.data() + offset, y.data() + offset, count, 301, 0.4, {9, 8, 7, 1000 + first},
            Device::cuda);
  }
  EXPECT_EQ(y.values(), whole);
}

TEST_F(DropoutGpu, SlowBeyondTwoToTheThirtyFirst) {
  const std::int64_t elements = (std::int64_t{1} << 31) + 5;
  const DropoutDraw draw{5, 6, 7, 8};
  const DeviceBuffer drawn(static_cast<std::size_t>(2 * elements));
  dropout_mask(static_cast<std::uint8_t*>(drawn.data()), 2, elements, 0.5, draw, Device::cuda);
  Mask keeps(drawn.bytes());
  drawn.copy_to_host(keeps.data());
  EXPECT_EQ(keeps, mask_of(2, elements, 0.5, draw));
}

TEST(DropoutCpu, EveryLengthIsTheReference) {
  const DropoutDraw draw{0xfedcba9876543210u, 12, 34, 56};
  std::vector<std::int64_t> lengths{1023, 1024, 1025, 4099};
  for (std::int64_t n = 0; n < 80; ++n) lengths.push_back(n);
  for (const std::int64_t elements : lengths) {
    const Values x = numbers(3 * elements);
    const Values expected = Ref::run(x, 3, elements, 0.3, draw);
    simd::in_every_form([&] {
      ASSERT_EQ(Cpu::run(x, 3, elements, 0.3, draw), expected) << elements;
      Values in_place = x;
      dropout(in_place.data(), in_place.data(), 3, elements, 0.3, draw);
      ASSERT_EQ(in_place, expected) << elements;
      const Mask keeps = mask_of(3, elements, 0.3, draw);
      for (std::int64_t i = 0; i < 3 * elements; ++i)
        ASSERT_EQ(keeps[static_cast<std::size_t>(i)] != 0,
                  dropout_keeps_ref(i / elements, i % elements, 0.3, draw));
    });
  }
}

TEST(DropoutCpu, AMicroBatchDrawsWhatItsSamplesDraw) {
  const DropoutDraw draw{9, 8, 7, 1000};
  const Values x = numbers(50 * 301);
  const Values whole = Cpu::run(x, 50, 301, 0.4, draw);
  simd::in_every_form([&] {
    for (const std::int64_t size : {1, 7, 16, 50}) {
      Values parts;
      for (std::int64_t first = 0; first < 50; first += size) {
        const std::int64_t count = std::min<std::int64_t>(size, 50 - first);
        const Values own(x.begin() + first * 301, x.begin() + (first + count) * 301);
        const Values y = Cpu::run(own, count, 301, 0.4, {9, 8, 7, 1000 + first});
        parts.insert(parts.end(), y.begin(), y.end());
      }
      EXPECT_EQ(parts, whole);
    }
  });
}

TEST(DropoutCpu, DrawsDifferBySeedStreamStepAndSample) {
  const DropoutDraw draws[] = {{1, 1, 1, 1}, {2, 1, 1, 1}, {1, 2, 1, 1},
                               {1, 1, 2, 1}, {1, 1, 1, 2}, {std::uint64_t{1} << 32 | 1, 1, 1, 1}};
  std::set<std::string> masks;
  for (const DropoutDraw& draw : draws) {
    const Mask keeps = mask_of(1, 200, 0.5, draw);
    masks.emplace(keeps.begin(), keeps.end());
  }
  EXPECT_EQ(masks.size(), std::size(draws));
}

TEST(DropoutCpu, KeepsTheRightShare) {
  const std::int64_t count = 1'000'000;
  for (const double p : {0.1, 0.5, 0.8}) {
    double kept = 0;
    for (const std::uint8_t one : mask_of(10, count / 10, p, {3, 1, 4, 1})) kept += one;
    const double deviation = std::sqrt(p * (1 - p) / static_cast<double>(count));
    EXPECT_NEAR(kept / static_cast<double>(count), 1 - p, 5 * deviation);
  }
}

TEST(DropoutCpu, TheGradientIsTheSameCall) {
  const DropoutDraw draw{3, 2, 1, 0};
  const Values ones(500, 1.0f);
  const Values y = Cpu::run(ones, 5, 100, 0.3, draw), dx = Cpu::run(ones, 5, 100, 0.3, draw);
  EXPECT_EQ(y, dx);
  EXPECT_GT(std::set<float>(dx.begin(), dx.end()).size(), 1u);
}

TEST(DropoutTwin, AMaskByPlaceInTheMicroBatchGoesRed) {
  EXPECT_NE(mask_of(1, 100, 0.5, {1, 1, 1, 0}), mask_of(1, 100, 0.5, {1, 1, 1, 5}));
}

TEST(DropoutRef, DoubleFollowsTheSameDraws) {
  const DropoutDraw draw{3, 2, 1, 0};
  const std::vector<double> x(64, 1.0);
  std::vector<double> y(64);
  dropout_ref(x.data(), y.data(), 1, 64, 0.3, draw);
  const Mask keeps = mask_of(1, 64, 0.3, draw);
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(y[i], keeps[i] != 0 ? 1 / (1 - 0.3) : 0.0);
}

// ---- float64

TEST(DropoutFp64, KeepsTheSameElements) {
  const DropoutDraw draw{3, 2, 1, 7};
  const std::vector<double> x(150, 1.0 + 1e-12);
  for (const double p : {0.0, 0.3, 1.0}) {
    std::vector<double> y = x;  // in place
    dropout(y.data(), y.data(), 3, 50, p, draw);
    const Mask keeps = mask_of(3, 50, p, draw);
    for (std::size_t i = 0; i < y.size(); ++i)
      EXPECT_EQ(y[i], keeps[i] != 0 ? x[i] * (1 / (1 - p)) : 0.0) << p << ", " << i;
    std::vector<double> last(50);
    dropout(x.data(), last.data(), 1, 50, p, {3, 2, 1, 9});
    EXPECT_EQ(last, std::vector<double>(y.begin() + 100, y.end()));
  }
}

TEST(DropoutFp64, RefusesAsTheFloatFormDoes) {
  double x[4] = {};
  expect_refusal([&] { dropout(x, x, -1, 4, 0.5, {}); }, "dropout: samples: expected 0 or more, got -1");
  expect_refusal([&] { dropout(x, nullptr, 1, 4, 0.5, {}); }, "dropout: y: expected 4 elements of memory");
  expect_refusal([&] { dropout(x, x, 1, 4, 0.5, {}, Device::cuda); }, "expected Device::cpu",
                 ErrorCode::unsupported);
}

// ---- Errors, by code and by words

TEST(DropoutErrors, SayWhatIsWrong) {
  float x[4] = {};
  const auto refuses = [&](std::int64_t samples, std::int64_t elements, double p, const DropoutDraw& draw,
                           const char* words, ErrorCode code = ErrorCode::invalid_argument) {
    expect_refusal([&] { dropout(x, x, samples, elements, p, draw); }, words, code);
  };
  constexpr std::int64_t kTooLarge = std::int64_t{1} << 32;
  refuses(-1, 4, 0.5, {}, "dropout: samples: expected 0 or more, got -1");
  refuses(1, -4, 0.5, {}, "dropout: elements: ");
  refuses(1, 4, 1.5, {}, "dropout: p: expected a probability in [0, 1], got 1.5");
  refuses(1, 4, std::nan(""), {}, "dropout: p: ");
  refuses(1, 4, 0.5, {0, -1}, "dropout: draw.stream: expected 0 or more");
  refuses(1, 4, 0.5, {0, kTooLarge}, "draw.stream: expected at most 2^32 - 1, got 4294967296",
          ErrorCode::unsupported);
  refuses(1, 4, 0.5, {0, 0, kTooLarge}, "draw.step: expected at most 2^32 - 1", ErrorCode::unsupported);
  refuses(2, 2, 0.5, {0, 0, 0, kTooLarge - 1}, "draw.first_sample: expected at most 2^32 - 1, got 4294967296",
          ErrorCode::unsupported);
  refuses(0, 4 * kTooLarge + 1, 0.5, {}, "elements: expected at most 2^34", ErrorCode::unsupported);
  expect_refusal([&] { dropout(nullptr, x, 1, 4, 0.5, {}); }, "dropout: x: expected 4 elements of memory");
  expect_refusal([&] { dropout(x, nullptr, 1, 4, 0.5, {}); }, "dropout: y: ");
  expect_refusal([&] { dropout_mask(nullptr, 1, 4, 0.5, {}); }, "dropout_mask: keeps: ");
  EXPECT_NO_THROW(dropout(static_cast<float*>(nullptr), nullptr, 0, 4, 0.5, {}));
}

TEST(DropoutErrors, CudaWithoutADeviceIsUnsupported) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  float x[4] = {};
  expect_refusal([&] { dropout(x, x, 1, 4, 0.5, {}, Device::cuda); }, "Device::cpu", ErrorCode::unsupported);
}

}  // namespace
}  // namespace lockstep
