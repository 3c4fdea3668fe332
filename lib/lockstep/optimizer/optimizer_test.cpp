#include "lockstep/optimizer/optimizer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/flushing_caller_test.h"
#include "lockstep/elementwise/elementwise.h"
#include "lockstep/optimizer/optimizer_internal.h"
#include "lockstep/optimizer/optimizer_ref.h"
#include "lockstep/optimizer/optimizer_vectors.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

Values elements(std::size_t count, std::uint32_t first) {
  Values values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = optimizer_element(first + static_cast<std::uint32_t>(i));
  return values;
}

Values gradient_of(std::uint32_t step, std::size_t count) { return elements(count, 10000 * step); }

void expect_same(const Values& got, const Values& expected, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(expected[i])) {  // payloads are outside the promise
      ASSERT_TRUE(std::isnan(got[i])) << what << ", element " << i;
    } else {
      ASSERT_EQ(bits(got[i]), bits(expected[i])) << what << ", element " << i << " of " << got.size();
    }
  }
}

void expect_bits(const Values& got, const std::uint32_t* expected, const std::string& what) {
  for (std::size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(bits(got[i]), expected[i]) << what << ", element " << i;
}

/// What a parameter's steps work on.
struct State {
  explicit State(std::size_t count, std::uint32_t first = 0)
      : parameter(elements(count, first)), a(count), b(count), c(count) {}
  SgdParameter sgd(const Values& gradient, bool first) {
    return {parameter.data(), gradient.data(), a.data(), size(), first};
  }
  AdamParameter adam(const Values& gradient) {
    return {parameter.data(), gradient.data(), a.data(), b.data(), c.data(), size()};
  }
  std::int64_t size() const { return static_cast<std::int64_t>(parameter.size()); }

  Values parameter, a, b, c;
};

void expect_same(const State& got, const State& expected) {
  expect_same(got.parameter, expected.parameter, "parameter");
  expect_same(got.a, expected.a, "first state");
  expect_same(got.b, expected.b, "second state");
  expect_same(got.c, expected.c, "third state");
}

// ---- The twins under one name

struct Ref {
  static void sgd(State& state, const Values& gradient, const SgdOptions& options, bool first) {
    sgd_ref(state.parameter.data(), gradient.data(), state.a.data(), gradient.size(), first,
            optimizer::sgd_factors(options));
  }
  static void adam(State& state, const Values& gradient, const AdamOptions& options, std::int64_t step) {
    adam_ref(state.parameter.data(), gradient.data(), state.a.data(), state.b.data(),
             options.amsgrad ? state.c.data() : nullptr, gradient.size(),
             optimizer::adam_factors(options, step));
  }
  static float norm(const std::vector<Values>& gradients) { return gradient_norm_ref(gradients); }
  template <class Check>
  static void each(Check check) {
    check();
  }
};

struct Cpu {
  static void sgd(State& state, const Values& gradient, const SgdOptions& options, bool first) {
    const SgdParameter parameter = state.sgd(gradient, first);
    lockstep::sgd({&parameter, 1}, options);
  }
  static void adam(State& state, const Values& gradient, const AdamOptions& options, std::int64_t step) {
    const AdamParameter parameter = state.adam(gradient);
    lockstep::adam({&parameter, 1}, options, step);
  }
  static float norm(const std::vector<Values>& gradients) {
    return gradient_norm(std::vector<std::span<const float>>(gradients.begin(), gradients.end()));
  }
  template <class Check>
  static void each(Check check) {
    simd::in_every_form(check);
  }
};

template <class Twin>
class Optimizer : public testing::Test {};
using Twins = testing::Types<Ref, Cpu>;
TYPED_TEST_SUITE(Optimizer, Twins);

TYPED_TEST(Optimizer, SgdGivesTheExpectedBits) {
  TypeParam::each([] {
    for (const SgdVector& vector : kSgdVectors) {
      State state(kOptimizerVectorCount);
      const SgdOptions options{vector.lr,           vector.momentum, vector.dampening,
                               vector.weight_decay, vector.nesterov, vector.maximize};
      for (std::uint32_t step = 1; step <= kOptimizerVectorSteps; ++step)
        TypeParam::sgd(state, gradient_of(step, kOptimizerVectorCount), options, step == 1);
      expect_bits(state.parameter, vector.parameter, "parameter");
      expect_bits(state.a, vector.momentum_bits, "momentum");
    }
  });
}

TYPED_TEST(Optimizer, AdamGivesTheExpectedBits) {
  TypeParam::each([] {
    for (const AdamVector& vector : kAdamVectors) {
      State state(kOptimizerVectorCount);
      const AdamOptions options{vector.lr,           vector.beta1,     vector.beta2,   vector.eps,
                                vector.weight_decay, vector.decoupled, vector.amsgrad, vector.maximize};
      for (std::uint32_t step = 1; step <= kOptimizerVectorSteps; ++step)
        TypeParam::adam(state, gradient_of(step, kOptimizerVectorCount), options, step);
      expect_bits(state.parameter, vector.parameter, "parameter");
      expect_bits(state.a, vector.mean, "mean");
      expect_bits(state.b, vector.square, "square");
    }
  });
}

TYPED_TEST(Optimizer, NormGivesTheExpectedBits) {
  TypeParam::each([] {
    for (const GradientNormVector& vector : kGradientNormVectors) {
      std::vector<Values> gradients;
      for (const std::uint32_t size : vector.sizes)
        gradients.push_back(elements(size, 100000 * static_cast<std::uint32_t>(gradients.size())));
      EXPECT_EQ(bits(TypeParam::norm(gradients)), vector.bits) << vector.sizes.size() << " gradients";
    }
    EXPECT_EQ(bits(TypeParam::norm({})), 0u);
    EXPECT_EQ(bits(TypeParam::norm({{}, {}})), 0u);
  });
}

// ---- The vector forms against the reference

const std::vector<SgdOptions> kSgdKinds{{0.1, 0, 0, 0, false, false},
                                        {0.1, 0, 0, 0.01, false, true},
                                        {0.1, 0.9, 0, 0, false, false},
                                        {0.1, 0.9, 0.5, 0.01, false, true},
                                        {0.1, 0.9, 0, 0.01, true, false}};
const std::vector<AdamOptions> kAdamKinds{{1e-3, 0.9, 0.999, 1e-8, 0, false, false, false},
                                          {1e-3, 0.9, 0.999, 1e-8, 0.1, false, true, true},
                                          {1e-3, 0.9, 0.999, 1e-8, 0.1, true, false, false},
                                          {1e-3, 0.2, 0.5, 1e-8, 0.1, true, true, false}};

TEST(OptimizerCpu, EveryLengthIsTheReference) {
  simd::in_every_form([] {
    for (const std::size_t count : {0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100, 50'001}) {
      for (const SgdOptions& options : kSgdKinds) {
        State got(count), expected(count);
        for (std::uint32_t step = 1; step <= 2; ++step) {
          const Values gradient = gradient_of(step, count);
          Cpu::sgd(got, gradient, options, step == 1);
          Ref::sgd(expected, gradient, options, step == 1);
        }
        expect_same(got, expected);
      }
      for (const AdamOptions& options : kAdamKinds) {
        State got(count), expected(count);
        for (std::uint32_t step = 1; step <= 2; ++step) {
          const Values gradient = gradient_of(step, count);
          Cpu::adam(got, gradient, options, step);
          Ref::adam(expected, gradient, options, step);
        }
        expect_same(got, expected);
      }
    }
  });
}

TEST(OptimizerCpu, ManyParametersAreThoseOneByOne) {
  const std::size_t sizes[] = {3, 0, 20'000, 1, 50'000, 0, 16, 9'999};
  simd::in_every_form([&] {
    std::vector<State> together, alone;
    std::vector<Values> gradients;
    for (const std::size_t size : sizes) {
      together.emplace_back(size, static_cast<std::uint32_t>(7 * size));
      alone.push_back(together.back());
      gradients.push_back(elements(size, static_cast<std::uint32_t>(size)));
    }
    std::vector<AdamParameter> list;
    for (std::size_t i = 0; i < together.size(); ++i) list.push_back(together[i].adam(gradients[i]));
    adam(list, kAdamKinds[1], 3);
    std::vector<SgdParameter> next;
    for (std::size_t i = 0; i < together.size(); ++i)
      next.push_back(together[i].sgd(gradients[i], i % 2 == 0));
    sgd(next, kSgdKinds[4]);
    for (std::size_t i = 0; i < together.size(); ++i) {
      Ref::adam(alone[i], gradients[i], kAdamKinds[1], 3);
      Ref::sgd(alone[i], gradients[i], kSgdKinds[4], i % 2 == 0);
      expect_same(together[i], alone[i]);
    }
  });
}

TEST(OptimizerCpu, SpecialValuesAreTheReferences) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Values kinds{0.0f,       -0.0f,  1.0f,  kInfinity,
                     -kInfinity, 1e-45f, 3e38f, std::numeric_limits<float>::quiet_NaN()};
  State before(0);
  Values gradient;
  for (const float p : kinds)
    for (const float g : kinds)
      for (const float s : kinds) {
        before.parameter.push_back(p), gradient.push_back(g), before.a.push_back(s);
        before.b.push_back(std::fabs(s)), before.c.push_back(std::fabs(g));
      }
  simd::in_every_form([&] {
    for (const AdamOptions& options : kAdamKinds) {
      State got = before, expected = before;
      Cpu::adam(got, gradient, options, 5);
      Ref::adam(expected, gradient, options, 5);
      expect_same(got, expected);
    }
    for (const SgdOptions& options : kSgdKinds) {
      State got = before, expected = before;
      Cpu::sgd(got, gradient, options, false);
      Ref::sgd(expected, gradient, options, false);
      expect_same(got, expected);
    }
  });
}

TEST(OptimizerCpu, NormOfMoreBlocksThanABlockIsTheReference) {
  const std::size_t many = 1024 * 1024 + 1500;  // three levels
  const std::vector<Values> gradients{elements(many, 3), elements(10, 9), elements(30'000, 77)};
  const float expected = gradient_norm_ref(gradients);
  simd::in_every_form([&] { EXPECT_EQ(bits(Cpu::norm(gradients)), bits(expected)); });
}

// ---- The promise to torch.optim: its own calls through `elementwise` are the same step

TEST(OptimizerAndElementwise, SgdIsTorchsSequenceOfCalls) {
  const SgdOptions options{0.05, 0.9, 0.1, 0.01, false, false};
  const std::int64_t n = 101;
  State fused(n), calls(n);
  for (std::uint32_t step = 1; step <= 4; ++step) {
    const Values gradient = gradient_of(step, n);
    Cpu::sgd(fused, gradient, options, step == 1);
    Values g(n);
    add_scaled(g.data(), gradient.data(), calls.parameter.data(), 0.01f,
               n);  // grad.add(param, alpha=weight_decay)
    if (step == 1) {
      calls.a = g;
    } else {
      for (float& momentum : calls.a) momentum = momentum * 0.9f;  // buf.mul_(momentum)
      add_scaled(calls.a.data(), calls.a.data(), g.data(), static_cast<float>(0.9),
                 n);  // .add_(grad, alpha=1-dampening)
    }
    add_scaled(calls.parameter.data(), calls.parameter.data(), calls.a.data(), -0.05f, n);
    expect_same(fused, calls);
  }
}

TEST(OptimizerAndElementwise, AdamWIsTorchsSequenceOfCalls) {
  const AdamOptions options{0.003, 0.9, 0.99, 1e-8, 0.1, true, false, false};
  const std::int64_t n = 101;
  State fused(n), calls(n);
  double power1 = 1, power2 = 1;
  for (std::uint32_t step = 1; step <= 4; ++step) {
    const Values g = gradient_of(step, n);
    Cpu::adam(fused, g, options, step);
    power1 *= 0.9, power2 *= 0.99;
    for (float& p : calls.parameter)
      p = p * static_cast<float>(1 - 0.003 * 0.1);  // param.mul_(1 - lr * weight_decay)
    lerp(calls.a.data(), calls.a.data(), g.data(), static_cast<float>(1 - 0.9),
         n);                                                // exp_avg.lerp_(grad, 1 - beta1)
    for (float& square : calls.b) square = square * 0.99f;  // exp_avg_sq.mul_(beta2)
    addcmul(calls.b.data(), calls.b.data(), g.data(), g.data(), static_cast<float>(1 - 0.99), n);
    Values denominator(n);
    for (std::size_t i = 0; i < denominator.size(); ++i)
      denominator[i] = std::sqrt(calls.b[i]) / static_cast<float>(std::sqrt(1 - power2)) + 1e-8f;
    addcdiv(calls.parameter.data(), calls.parameter.data(), calls.a.data(), denominator.data(),
            static_cast<float>(-(0.003 / (1 - power1))), n);
    expect_same(fused, calls);
  }
}

// ---- CUDA against the reference

/// Values on the device, `misaligned` elements behind a boundary; one element more, so that none is empty.
class OnDevice {
 public:
  explicit OnDevice(const Values& host, std::size_t misaligned = 0)
      : count_(host.size()), misaligned_(misaligned), buffer_((misaligned + count_ + 1) * sizeof(float)) {
    Values padded(misaligned + count_ + 1);
    std::copy(host.begin(), host.end(), padded.begin() + static_cast<std::ptrdiff_t>(misaligned));
    buffer_.copy_from_host(padded.data());
  }
  float* data() const { return static_cast<float*>(buffer_.data()) + misaligned_; }
  std::span<float> span() const { return {data(), count_}; }
  Values read() const {
    Values padded(misaligned_ + count_ + 1);
    buffer_.copy_to_host(padded.data());
    return {padded.begin() + static_cast<std::ptrdiff_t>(misaligned_), padded.end() - 1};
  }

 private:
  std::size_t count_, misaligned_;
  DeviceBuffer buffer_;
};

struct DeviceState {
  explicit DeviceState(const State& host, const Values& gradient_of_step, std::size_t misaligned = 0)
      : parameter(host.parameter, misaligned),
        gradient(gradient_of_step),
        a(host.a),
        b(host.b),
        c(host.c),
        count(host.size()) {}
  SgdParameter sgd(bool first) const { return {parameter.data(), gradient.data(), a.data(), count, first}; }
  AdamParameter adam() const {
    return {parameter.data(), gradient.data(), a.data(), b.data(), c.data(), count};
  }
  void expect(const State& expected) const {
    expect_same(parameter.read(), expected.parameter, "parameter");
    expect_same(a.read(), expected.a, "first state");
    expect_same(b.read(), expected.b, "second state");
    expect_same(c.read(), expected.c, "third state");
  }

  OnDevice parameter, gradient, a, b, c;
  std::int64_t count;
};

class OptimizerGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
  }
};

TEST_F(OptimizerGpu, EveryLengthIsTheReference) {
  for (const std::size_t count : {0, 1, 3, 4, 5, 100, 4095, 4096, 4097, 50'001})
    for (const std::size_t misaligned : {0, 1}) {
      const Values gradient = gradient_of(1, count);
      State before(count, 5);
      before.a = elements(count, 70), before.b = elements(count, 80), before.c = elements(count, 90);
      for (float& square : before.b) square = std::fabs(square);
      for (const bool first : {false, true})
        for (const SgdOptions& options : kSgdKinds) {
          State expected = before;
          const DeviceState got(before, gradient, misaligned);
          const SgdParameter one = got.sgd(first);
          sgd({&one, 1}, options, Device::cuda);
          Ref::sgd(expected, gradient, options, first);
          got.expect(expected);
        }
      for (const AdamOptions& options : kAdamKinds) {
        State expected = before;
        const DeviceState got(before, gradient, misaligned);
        const AdamParameter one = got.adam();
        adam({&one, 1}, options, 3, Device::cuda);
        Ref::adam(expected, gradient, options, 3);
        got.expect(expected);
      }
    }
}

TEST_F(OptimizerGpu, ManyParametersAreThoseOneByOne) {
  std::vector<State> expected;
  std::vector<Values> gradients;
  std::vector<std::unique_ptr<DeviceState>> got;
  std::vector<AdamParameter> list;
  for (std::size_t i = 0; i < 150; ++i) {  // three launches
    const std::size_t size = i % 5 == 0 ? 0 : i * 137 % 9001;
    expected.emplace_back(size, static_cast<std::uint32_t>(7 * i));
    gradients.push_back(elements(size, static_cast<std::uint32_t>(i)));
    got.push_back(std::make_unique<DeviceState>(expected[i], gradients[i], i % 4));
    list.push_back(got[i]->adam());
  }
  adam(list, kAdamKinds[1], 3, Device::cuda);
  for (std::size_t i = 0; i < list.size(); ++i) {
    Ref::adam(expected[i], gradients[i], kAdamKinds[1], 3);
    got[i]->expect(expected[i]);
  }
}

TEST_F(OptimizerGpu, SpecialValuesAreTheReferences) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Values kinds{0.0f,       -0.0f,  1.0f,  kInfinity,
                     -kInfinity, 1e-45f, 3e38f, std::numeric_limits<float>::quiet_NaN()};
  State before(0);
  Values gradient;
  for (const float p : kinds)
    for (const float g : kinds)
      for (const float s : kinds) {
        before.parameter.push_back(p), gradient.push_back(g), before.a.push_back(s);
        before.b.push_back(std::fabs(s)), before.c.push_back(std::fabs(g));
      }
  for (const AdamOptions& options : kAdamKinds) {
    State expected = before;
    const DeviceState got(before, gradient);
    const AdamParameter one = got.adam();
    adam({&one, 1}, options, 5, Device::cuda);
    Ref::adam(expected, gradient, options, 5);
    got.expect(expected);
  }
  for (const SgdOptions& options : kSgdKinds) {
    State expected = before;
    const DeviceState got(before, gradient);
    const SgdParameter one = got.sgd(false);
    sgd({&one, 1}, options, Device::cuda);
    Ref::sgd(expected, gradient, options, false);
    got.expect(expected);
  }
}

TEST_F(OptimizerGpu, NormAndClippingAreTheReference) {
  std::vector<Values> many;
  for (std::size_t i = 0; i < 150; ++i)
    many.push_back(elements(i * 97 % 3000, static_cast<std::uint32_t>(i)));
  const std::vector<std::vector<Values>> lists{
      {},
      {{}, {}},
      {elements(5, 0), elements(40'000, 9), {}, elements(1025, 3)},
      many,
      {elements(1024 * 1024 + 1500, 3), elements(10, 9)},
      {elements(40'000'000, 3)}};  // more blocks of partials than one turn takes
  for (const auto& gradients : lists)
    for (const std::size_t misaligned : {0, 1}) {
      std::vector<std::unique_ptr<OnDevice>> device;
      std::vector<std::span<float>> spans;
      for (const Values& gradient : gradients) {
        device.push_back(std::make_unique<OnDevice>(gradient, misaligned));
        spans.push_back(device.back()->span());
      }
      const std::vector<std::span<const float>> read(spans.begin(), spans.end());
      const OnDevice scratch(Values(static_cast<std::size_t>(gradient_norm_scratch_elements(read)), -1.0f));
      const OnDevice norm(Values{-1.0f, -1.0f});
      gradient_norm(read, norm.data(), scratch.data(), Device::cuda);
      clip_gradient_norm(spans, 0.5f, norm.data() + 1, scratch.data(), Device::cuda);
      const float expected = Cpu::norm(gradients), factor = clip_factor(expected, 0.5f);
      EXPECT_EQ(bits(norm.read()[0]), bits(expected)) << gradients.size() << " gradients";
      EXPECT_EQ(bits(norm.read()[1]), bits(expected)) << gradients.size() << " gradients";
      for (std::size_t g = 0; g < gradients.size(); ++g) {
        Values scaled = gradients[g];
        for (float& x : scaled) x = x * factor;
        expect_same(device[g]->read(), scaled, "gradient " + std::to_string(g));
      }
    }
}

// ---- Bias corrections

TEST(BiasCorrection, MultipliesAgainAndAgain) {
  double power = 1;
  for (std::int64_t step = 0; step <= 3000; ++step, power *= 0.999)
    ASSERT_EQ(bias_correction(0.999, step), 1 - power) << step;
  EXPECT_EQ(bias_correction(0.9, 0), 0.0);
  EXPECT_EQ(bias_correction(0.0, 1), 1.0);
  EXPECT_EQ(bias_correction(0.9, std::int64_t{1} << 60), 1.0) << "and stops where nothing is left to see";
}

TEST(BiasCorrection, IsNotTheLibrarysPower) {
  int different = 0;
  for (std::int64_t step = 1; step < 1000; ++step)
    different += bias_correction(0.999, step) != 1 - std::pow(0.999, static_cast<double>(step));
  EXPECT_GT(different, 10) << "the steps do not tell the two apart";
}

// ---- Clipping

TEST(Clipping, ScalesByOneFactor) {
  const std::vector<Values> before{elements(5, 0), elements(40'000, 9), {}};
  const float norm = gradient_norm_ref(before);
  const float factor = 0.5f / (norm + 1e-6f);
  simd::in_every_form([&] {
    std::vector<Values> gradients = before;
    const std::vector<std::span<float>> spans(gradients.begin(), gradients.end());
    EXPECT_EQ(bits(clip_gradient_norm(spans, 0.5f)), bits(norm));
    for (std::size_t g = 0; g < before.size(); ++g) {
      for (std::size_t i = 0; i < before[g].size(); ++i)
        ASSERT_EQ(bits(gradients[g][i]), bits(before[g][i] * factor)) << g << ", " << i;
    }
  });
}

TEST(Clipping, WritesTheNormToMemory) {
  std::vector<Values> gradients{elements(5, 0), elements(40'000, 9)};
  const std::vector<std::span<float>> spans(gradients.begin(), gradients.end());
  const std::vector<std::span<const float>> read(spans.begin(), spans.end());
  EXPECT_EQ(gradient_norm_scratch_elements(read), 2 + 1 + 40);
  const float expected = gradient_norm_ref(gradients);
  float norm = -1, before = -1;
  gradient_norm(read, &norm, nullptr, Device::cpu);
  clip_gradient_norm(spans, 0.5f, &before, nullptr, Device::cpu);
  EXPECT_EQ(bits(norm), bits(expected));
  EXPECT_EQ(bits(before), bits(expected));
  expect_refusal([&] { gradient_norm(read, nullptr, nullptr, Device::cpu); }, "gradient_norm: norm: ");
  expect_refusal([&] { gradient_norm(read, &norm, nullptr, Device::cuda); },
                 "gradient_norm: scratch: expected 43 elements of memory on the device");
}

TEST(Clipping, FactorIsAtMostOne) {
  EXPECT_EQ(clip_factor(0.5f, 1.0f), 1.0f);
  EXPECT_EQ(bits(clip_factor(3.0f, 1.0f)), bits(1.0f / (3.0f + 1e-6f)));
  EXPECT_EQ(bits(clip_factor(1.0f, 1.0f)), bits(1.0f / (1.0f + 1e-6f))) << "just below 1, as torch's";
  EXPECT_EQ(clip_factor(0.0f, 0.0f), 0.0f);
  EXPECT_EQ(clip_factor(std::numeric_limits<float>::infinity(), 1.0f), 0.0f);
  EXPECT_EQ(clip_factor(1.0f, std::numeric_limits<float>::infinity()), 1.0f);
  EXPECT_TRUE(std::isnan(clip_factor(std::numeric_limits<float>::quiet_NaN(), 1.0f)));
}

// ---- The suite can fail

TEST(OptimizerTwin, APlainSumOfSquaresGoesRed) {
  int different = 0;
  for (const GradientNormVector& vector : kGradientNormVectors) {
    float sum = 0;
    for (std::uint32_t g = 0; g < vector.sizes.size(); ++g)
      for (const float x : elements(vector.sizes[g], 100000 * g)) sum = std::fma(x, x, sum);
    different += bits(std::sqrt(sum)) != vector.bits;
  }
  EXPECT_GE(different, 3);
}

TEST(OptimizerTwin, OneVectorOfAllGradientsGoesRed) {
  int different = 0;
  for (const std::size_t size : {300, 700, 1100, 2500, 4000}) {
    const std::vector<Values> gradients{elements(size, 0), elements(900, 5000)};
    Values joined = gradients[0];
    joined.insert(joined.end(), gradients[1].begin(), gradients[1].end());
    different += bits(gradient_norm_ref(gradients)) != bits(gradient_norm_ref(std::vector<Values>{joined}));
  }
  EXPECT_GE(different, 1);
}

TEST(OptimizerTwin, AMeanOfTwoProductsGoesRed) {
  // beta1 · m + (1 - beta1) · g, as torch's C++ Adam writes it, is not lerp.
  const Values m = elements(100, 0), g = elements(100, 5000);
  int different = 0;
  for (std::size_t i = 0; i < m.size(); ++i)
    different += bits(optimizer::adam_mean(m[i], g[i], 0.1f)) != bits(std::fma(0.1f, g[i], 0.9f * m[i]));
  EXPECT_GE(different, 10);
}

TEST(OptimizerRef, DoubleFollowsTheSameOrder) {
  EXPECT_EQ(square_sum_ref(std::vector<double>(3, 1 + 0x1p-30)), 3 * (1 + 0x1p-29) + 3 * 0x1p-60);
  double parameter = 1, mean = 0, square = 0;
  optimizer::AdamFactors<double> factors;
  factors.minus_step_size = -0.5, factors.mean_weight = 0.25, factors.square_take = 0.25,
  factors.beta2 = 0.75;
  adam_ref(&parameter, &factors.keep, &mean, &square, static_cast<double*>(nullptr), 1, factors);
  EXPECT_EQ(mean, 0.25);
  EXPECT_EQ(square, 0.25);
  EXPECT_EQ(parameter, 1 - 0.5 * (0.25 / 0.5));
}

#if defined(__x86_64__)
TEST(OptimizerCpu, KeepsSubnormalsForACallerThatFlushesThem) {
  State state(3);
  state.parameter.assign(3, std::bit_cast<float>(8u));
  const Values gradient(3, std::bit_cast<float>(2u));
  FlushingCaller caller;
  Cpu::sgd(state, gradient, {1.0, 0, 0, 0, false, false}, true);
  const float norm = Cpu::norm({{std::bit_cast<float>(0x00800000u)}});
  const bool kept = caller.end();
  for (const float p : state.parameter) EXPECT_EQ(bits(p), 6u);
  EXPECT_EQ(norm, 0.0f) << "the square is below the least subnormal";
  EXPECT_TRUE(kept) << "the caller's mode comes back";
}
#endif

// ---- Errors, by code and by words

TEST(OptimizerErrors, SgdSaysWhatIsWrong) {
  float x[2] = {1, 2};
  const auto refuses = [&](SgdOptions options, const std::string& words) {
    const SgdParameter parameter{x, x, x, 2, true};
    expect_refusal([&] { sgd({&parameter, 1}, options); }, words);
    EXPECT_EQ(x[0], 1.0f) << "nothing is written";
  };
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  refuses({-0.1}, "sgd: lr: expected a finite number, 0 or more, got -0.1");
  refuses({kNan}, "sgd: lr");
  refuses({0.1, -1}, "sgd: momentum");
  refuses({0.1, 0.9, kNan}, "sgd: dampening");
  refuses({0.1, 0.9, 0, -1}, "sgd: weight_decay");
  refuses({0.1, 0, 0, 0, true}, "sgd: nesterov: expected momentum above 0 and dampening 0");
  refuses({0.1, 0.9, 0.1, 0, true}, "sgd: nesterov");
  const auto refuses_arrays = [](SgdParameter parameter, const std::string& words) {
    expect_refusal([&] { sgd({&parameter, 1}, {0.1, 0.9}); }, words);
  };
  refuses_arrays({nullptr, x, x, 2},
                 "parameters[0].parameter: expected 2 elements of memory, got a null pointer");
  refuses_arrays({x, nullptr, x, 2}, "parameters[0].gradient");
  refuses_arrays({x, x, nullptr, 2}, "parameters[0].momentum");
  refuses_arrays({x, x, x, -2}, "parameters[0].count: expected 0 or more, got -2");
  const SgdParameter plain{x, x, nullptr, 2};
  EXPECT_NO_THROW(sgd({&plain, 1}, {0.0})) << "without momentum there is no buffer";
}

TEST(OptimizerErrors, AdamSaysWhatIsWrong) {
  float x[2] = {1, 2};
  const AdamParameter good{x, x, x, x, nullptr, 2};
  const auto refuses = [&](AdamOptions options, std::int64_t step, const std::string& words) {
    expect_refusal([&] { adam({&good, 1}, options, step); }, words);
    EXPECT_EQ(x[0], 1.0f) << "nothing is written";
  };
  refuses({-1.0}, 1, "adam: lr");
  refuses({0.1, 1.0}, 1, "adam: beta1: expected at least 0 and below 1, got 1.0");
  refuses({0.1, 0.9, -0.1}, 1, "adam: beta2");
  refuses({0.1, 0.9, 0.9, -1}, 1, "adam: eps");
  refuses({0.1, 0.9, 0.9, 0, -1}, 1, "adam: weight_decay");
  refuses({}, 0, "adam: step: expected 1 or more, got 0");
  refuses({0.1, 0.9, 0.9, 0, 0, false, true}, 1,
          "parameters[0].largest_square: expected 2 elements of memory");
}

TEST(OptimizerErrors, TheRestSaysWhatIsWrong) {
  expect_refusal([] { bias_correction(1.0, 1); }, "bias_correction: beta");
  expect_refusal([] { bias_correction(0.5, -1); }, "bias_correction: step");
  expect_refusal([] { clip_factor(1.0f, -1.0f); }, "clip_factor: max_norm: expected 0 or more, got -1");
  expect_refusal([] { clip_factor(1.0f, std::numeric_limits<float>::quiet_NaN()); }, "max_norm");
  const std::span<const float> none(static_cast<const float*>(nullptr), 3);
  expect_refusal(
      [&] {
        gradient_norm({&none, 1});
      },
      "gradients[0]: expected elements of memory, got a null pointer");
}

TEST(OptimizerErrors, FormsThatReturnANumberAreTheCpus) {
  const auto refuses = [](auto call) {
    expect_refusal(call, "expected Device::cpu", ErrorCode::unsupported);
  };
  refuses([] { gradient_norm({}, Device::cuda); });
  refuses([] { clip_gradient_norm({}, 1.0f, Device::cuda); });
}

TEST(OptimizerErrors, CudaWithoutADeviceIsUnsupported) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  float x[4] = {};
  const SgdParameter s{x, x, x, 2, true};
  const AdamParameter a{x, x, x, x, x, 2};
  const auto refuses = [](auto call) { expect_error(ErrorCode::unsupported, "", call); };
  refuses([&] { sgd({&s, 1}, {}, Device::cuda); });
  refuses([&] { adam({&a, 1}, {}, 1, Device::cuda); });
  refuses([&] { gradient_norm({}, x, x, Device::cuda); });
  refuses([&] { clip_gradient_norm({}, 1.0f, x, x, Device::cuda); });
}

}  // namespace
}  // namespace lockstep
