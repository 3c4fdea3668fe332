#include "lockstep/loss/loss.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device_values_test.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/float_bits_test.h"
#include "lockstep/loss/loss_inl.h"
#include "lockstep/loss/loss_ref.h"
#include "lockstep/loss/loss_vectors.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep {
namespace {

namespace ref = loss_ref;
namespace scalar = math::internal::loss;
using Values = std::vector<float>;

Values random_values(std::size_t count, std::uint32_t seed) {
  std::uint32_t state = seed;
  Values values(count);
  for (float& value : values) {
    state = state * 1664525 + 1013904223;
    value = std::ldexp(static_cast<float>(static_cast<std::int32_t>(state >> 8) - (1 << 23)),
                       static_cast<int>(state >> 5 & 7) - 25);
  }
  return values;
}

/// Two operands that meet in every pair of special values, and random ones behind them.
struct Inputs {
  Inputs() {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const Values special{0.0f,   -0.0f,     1.0f,       -1.0f,
                         1e-42f, -1e-42f,   120.0f,     -120.0f,
                         3e38f,  kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()};
    for (const float a : special) {
      for (const float b : special) {
        x.push_back(a);
        t.push_back(b);
      }
    }
    const Values more_x = random_values(40000, 1), more_t = random_values(40000, 2);
    x.insert(x.end(), more_x.begin(), more_x.end());
    t.insert(t.end(), more_t.begin(), more_t.end());
    x.resize(x.size() / 7 * 7);
    t.resize(x.size());
    third = random_values(x.size(), 3);
    g = random_values(x.size(), 4);
    positive = random_values(7, 5);
    rows = {static_cast<std::int64_t>(x.size()) / 7, 7};
  }
  Values x, t, third, g, positive;
  LossExtents rows;
};

/// Inputs where an operation reads them.
struct Arrays {
  const float *x, *t, *third, *g, *positive;
  LossExtents rows;
  Device device;
};

Arrays on_cpu(const Inputs& in) {
  return {in.x.data(), in.t.data(), in.third.data(), in.g.data(), in.positive.data(), in.rows, Device::cpu};
}

const Inputs& inputs() {
  static const Inputs of;
  return of;
}

constexpr float kMargin = 0.75f;

struct Operation {
  const char* name;
  void (*run)(const Arrays& in, float* result);
  float (*ref)(const Inputs& in, std::size_t i);
  float (*one)(const Inputs& in, std::size_t i);
};

const Operation kOperations[] = {
    {"mse", [](const Arrays& in, float* out) { mse(in.x, in.t, out, in.rows, in.device); },
     [](const Inputs& in, std::size_t i) { return ref::mse(in.x[i], in.t[i]); },
     [](const Inputs& in, std::size_t i) { return scalar::mse(in.x[i], in.t[i]); }},
    {"mse_backward",
     [](const Arrays& in, float* out) { mse_backward(in.x, in.t, {in.g}, out, in.rows, in.device); },
     [](const Inputs& in, std::size_t i) { return ref::mse_backward(in.x[i], in.t[i], in.g[i]); },
     [](const Inputs& in, std::size_t i) { return scalar::mse_backward(in.x[i], in.t[i], in.g[i]); }},
    {"mse_backward of one gradient",
     [](const Arrays& in, float* out) {
       mse_backward(in.x, in.t, {nullptr, 0.3f}, out, in.rows, in.device);
     },
     [](const Inputs& in, std::size_t i) { return ref::mse_backward(in.x[i], in.t[i], 0.3f); },
     [](const Inputs& in, std::size_t i) { return scalar::mse_backward(in.x[i], in.t[i], 0.3f); }},
    {"l1", [](const Arrays& in, float* out) { l1(in.x, in.t, out, in.rows, in.device); },
     [](const Inputs& in, std::size_t i) { return ref::l1(in.x[i], in.t[i]); },
     [](const Inputs& in, std::size_t i) { return scalar::l1(in.x[i], in.t[i]); }},
    {"l1_backward",
     [](const Arrays& in, float* out) { l1_backward(in.x, in.t, {in.g}, out, in.rows, in.device); },
     [](const Inputs& in, std::size_t i) { return ref::l1_backward(in.x[i], in.t[i], in.g[i]); },
     [](const Inputs& in, std::size_t i) { return scalar::l1_backward(in.x[i], in.t[i], in.g[i]); }},
    {"bce_with_logits",
     [](const Arrays& in, float* out) { bce_with_logits(in.x, in.t, {}, out, in.rows, in.device); },
     [](const Inputs& in, std::size_t i) { return ref::bce_with_logits(in.x[i], in.t[i], 1.0f, 1.0f); },
     [](const Inputs& in, std::size_t i) { return scalar::bce_with_logits(in.x[i], in.t[i], 1.0f, 1.0f); }},
    {"bce_with_logits with weights",
     [](const Arrays& in, float* out) {
       bce_with_logits(in.x, in.t, {in.third, in.positive}, out, in.rows, in.device);
     },
     [](const Inputs& in, std::size_t i) {
       return ref::bce_with_logits(in.x[i], in.t[i], in.positive[i % 7], in.third[i]);
     },
     [](const Inputs& in, std::size_t i) {
       return scalar::bce_with_logits(in.x[i], in.t[i], in.positive[i % 7], in.third[i]);
     }},
    {"bce_with_logits_backward",
     [](const Arrays& in, float* out) {
       bce_with_logits_backward(in.x, in.t, {in.third, in.positive}, {in.g}, out, in.rows, in.device);
     },
     [](const Inputs& in, std::size_t i) {
       return ref::bce_with_logits_backward(in.x[i], in.t[i], in.positive[i % 7], in.third[i], in.g[i]);
     },
     [](const Inputs& in, std::size_t i) {
       return scalar::bce_with_logits_backward(in.x[i], in.t[i], in.positive[i % 7], in.third[i], in.g[i]);
     }},
    {"margin_ranking",
     [](const Arrays& in, float* out) {
       margin_ranking(in.x, in.t, in.third, kMargin, out, in.rows, in.device);
     },
     [](const Inputs& in, std::size_t i) {
       return ref::margin_ranking(in.x[i], in.t[i], in.third[i], kMargin);
     },
     [](const Inputs& in, std::size_t i) {
       return scalar::margin_ranking(in.x[i], in.t[i], in.third[i], kMargin);
     }},
    {"margin_ranking_backward",
     [](const Arrays& in, float* out) {
       margin_ranking_backward(in.x, in.t, in.third, kMargin, {in.g}, out, in.rows, in.device);
     },
     [](const Inputs& in, std::size_t i) {
       return ref::margin_ranking_backward(in.x[i], in.t[i], in.third[i], kMargin, in.g[i]);
     },
     [](const Inputs& in, std::size_t i) {
       return scalar::margin_ranking_backward(in.x[i], in.t[i], in.third[i], kMargin, in.g[i]);
     }},
};

TEST(Loss, HasTheReferencesBitsInEveryForm) {
  const Inputs& in = inputs();
  for (const Operation& operation : kOperations) {
    std::vector<std::uint32_t> expected;
    for (std::size_t i = 0; i < in.x.size(); ++i) {
      expected.push_back(bits(operation.ref(in, i)));
      ASSERT_EQ(bits(operation.one(in, i)), expected.back())
          << operation.name << ", one number, " << in.x[i] << " and " << in.t[i];
    }
    simd::in_every_form([&] {
      Values result(in.x.size() + 1, -7.0f);
      operation.run(on_cpu(in), result.data());
      for (std::size_t i = 0; i < in.x.size(); ++i)
        ASSERT_EQ(bits(result[i]), expected[i]) << operation.name << " of " << in.x[i] << " and " << in.t[i];
      EXPECT_EQ(result.back(), -7.0f) << "nothing behind the end is written";
    });
  }
}

float by_name(const std::string& name, float x, float target) {
  const LossExtents one{1, 1};
  const LossGradient g{nullptr, 0.3f};
  const float positive = 3.0f, weight = 0.625f, ranking = -1.0f;
  float result = -7;
  if (name == "mse") mse(&x, &target, &result, one);
  if (name == "mse_backward") mse_backward(&x, &target, g, &result, one);
  if (name == "l1") l1(&x, &target, &result, one);
  if (name == "l1_backward") l1_backward(&x, &target, g, &result, one);
  if (name == "bce_with_logits") bce_with_logits(&x, &target, {&weight, &positive}, &result, one);
  if (name == "bce_with_logits_backward")
    bce_with_logits_backward(&x, &target, {&weight, &positive}, g, &result, one);
  if (name == "margin_ranking") margin_ranking(&x, &target, &ranking, 0.75f, &result, one);
  if (name == "margin_ranking_backward")
    margin_ranking_backward(&x, &target, &ranking, 0.75f, g, &result, one);
  return result;
}

TEST(Loss, GivesTheExpectedBitsInEveryForm) {
  simd::in_every_form([] {
    for (const LossVector& vector : kLossVectors)
      EXPECT_EQ(
          bits(by_name(vector.name, std::bit_cast<float>(vector.x), std::bit_cast<float>(vector.target))),
          vector.result)
          << vector.name;
  });
}

TEST(Loss, AnElementDoesNotKnowItsPlace) {
  const Inputs& in = inputs();
  for (std::int64_t count = 0; count < 40; ++count) {
    Values loss(40), slope(40);
    bce_with_logits(in.x.data() + 150, in.t.data() + 150, {}, loss.data(), {count, 1});
    bce_with_logits_backward(in.x.data() + 150, in.t.data() + 150, {}, {nullptr, 0.5f}, slope.data(),
                             {1, count});
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      EXPECT_EQ(bits(loss[i]), bits(ref::bce_with_logits(in.x[i + 150], in.t[i + 150], 1.0f, 1.0f)));
      EXPECT_EQ(bits(slope[i]),
                bits(ref::bce_with_logits_backward(in.x[i + 150], in.t[i + 150], 1.0f, 1.0f, 0.5f)));
    }
  }
}

TEST(Loss, OneFeatureHasItsWeightToo) {
  const Inputs& in = inputs();
  const float positive = 3.0f;
  Values loss(100);
  bce_with_logits(in.x.data() + 150, in.t.data() + 150, {nullptr, &positive}, loss.data(), {100, 1});
  for (std::size_t i = 0; i < 100; ++i)
    EXPECT_EQ(bits(loss[i]), bits(ref::bce_with_logits(in.x[i + 150], in.t[i + 150], 3.0f, 1.0f)));
}

TEST(Loss, BackwardIsTheSlopeOfForward) {
  const double h = 1e-5;
  for (double x = -4.03; x < 4; x += 0.37) {
    for (const double t : {0.0, 1.0, 0.25}) {
      const auto slope = [&](auto f) { return (f(x + h) - f(x - h)) / (2 * h); };
      EXPECT_NEAR(ref::mse_backward(x, t, 1.0), slope([&](double v) { return ref::mse(v, t); }), 1e-8);
      EXPECT_NEAR(ref::l1_backward(x, t, 1.0), slope([&](double v) { return ref::l1(v, t); }), 1e-8);
      EXPECT_NEAR(ref::bce_with_logits_backward(x, t, 3.0, 0.5, 1.0),
                  slope([&](double v) { return ref::bce_with_logits(v, t, 3.0, 0.5); }), 1e-8);
      EXPECT_NEAR(ref::margin_ranking_backward(x, t, -1.0, 0.75, 1.0),
                  slope([&](double v) { return ref::margin_ranking(v, t, -1.0, 0.75); }), 1e-8);
    }
  }
}

TEST(Loss, BinaryCrossEntropyDoesNotOverflow) {
  const Values x{200.0f, -200.0f, 1e30f}, t{0.0f, 1.0f, 1.0f};
  Values loss(3);
  bce_with_logits(x.data(), t.data(), {}, loss.data(), {3, 1});
  EXPECT_EQ(loss, (Values{200.0f, 200.0f, 0.0f}));
}

TEST(RowLosses, AreLaneSumsInEveryForm) {
  for (const std::int64_t features : {0, 1, 5, 127, 128, 129, 1000, 9000, 70000}) {
    const Values loss = random_values(static_cast<std::size_t>(11 * features), 9);
    simd::in_every_form([&] {
      Values rows(11, -7.0f);
      row_losses(loss.data(), rows.data(), {11, features});
      for (std::size_t r = 0; r < 11; ++r) {
        const auto width = static_cast<std::size_t>(features);
        EXPECT_EQ(bits(rows[r]), bits(ref::row_loss(loss.data() + r * width, width))) << features;
      }
    });
  }
}

// ---- CUDA

class LossGpu : public GpuSuite<> {};

TEST_F(LossGpu, HasTheBitsOfTheCpu) {
  const Inputs& in = inputs();
  for (const DeviceOffsets& offsets : kDeviceOffsets) {
    const DeviceValues<float> x(in.x, offsets.operand), t(in.t, offsets.operand),
        third(in.third, offsets.operand), g(in.g, offsets.operand), positive(in.positive);
    const Arrays all{x.data(), t.data(), third.data(), g.data(), positive.data(), in.rows, Device::cuda};
    for (const Operation& operation : kOperations) {
      Values expected(in.x.size());
      operation.run(on_cpu(in), expected.data());
      const DeviceValues<float> own(in.x, offsets.result);
      operation.run(all, own.data());
      EXPECT_EQ(bits(own.values()), bits(expected)) << operation.name;
      const DeviceValues<float> in_place(in.x, offsets.operand);
      Arrays over = all;
      over.x = in_place.data();
      operation.run(over, in_place.data());
      EXPECT_EQ(bits(in_place.values()), bits(expected)) << operation.name << ", in place";
    }
  }
}

TEST_F(LossGpu, AnElementDoesNotKnowItsPlace) {
  const Inputs& in = inputs();
  for (const std::int64_t rows : {0, 1, 2, 3, 300}) {
    for (const std::int64_t features : {0, 1, 2, 3, 4, 7, 33, 130}) {
      const auto count = static_cast<std::size_t>(rows * features);
      const auto first = [&](const Values& of) {
        return Values(of.begin() + 150, of.begin() + 150 + static_cast<std::ptrdiff_t>(count));
      };
      const Values x = first(in.x), t = first(in.t), weight = first(in.third);
      const Values positive(in.g.begin() + 200, in.g.begin() + 200 + features);
      Values loss(count), slope(count);
      bce_with_logits(x.data(), t.data(), {weight.data(), positive.data()}, loss.data(), {rows, features});
      bce_with_logits_backward(x.data(), t.data(), {nullptr, positive.data()}, {nullptr, 0.5f}, slope.data(),
                               {rows, features});
      const DeviceValues<float> dx(x), dt(t), dweight(weight), dpositive(positive), dloss(x), dslope(x);
      bce_with_logits(dx.data(), dt.data(), {dweight.data(), dpositive.data()}, dloss.data(),
                      {rows, features}, Device::cuda);
      bce_with_logits_backward(dx.data(), dt.data(), {nullptr, dpositive.data()}, {nullptr, 0.5f},
                               dslope.data(), {rows, features}, Device::cuda);
      EXPECT_EQ(bits(dloss.values()), bits(loss)) << rows << " × " << features;
      EXPECT_EQ(bits(dslope.values()), bits(slope)) << rows << " × " << features;
    }
  }
}

TEST_F(LossGpu, RowLossesAreLaneSums) {
  std::vector<std::int64_t> widths{15,    16,    17,    31,    32,    33,      127,    128,
                                   129,   130,   1000,  8191,  8192,  8193,    8196,   9000,
                                   65535, 65536, 65537, 65540, 70000, 300'001, 600'000};
  for (std::int64_t features = 0; features < 14; ++features) widths.push_back(features);
  for (const std::int64_t features : widths) {
    for (const std::int64_t rows : {1, 3, 19}) {
      Values loss = random_values(static_cast<std::size_t>(rows * features), 9);
      for (std::size_t i = 0; i < loss.size(); i += 3) loss[i] = -0.0f;
      if (loss.size() > 2) loss[loss.size() / 2 + 1] = std::numeric_limits<float>::infinity();
      Values expected(static_cast<std::size_t>(rows));
      row_losses(loss.data(), expected.data(), {rows, features});
      for (const std::size_t offset : {0, 1}) {
        const DeviceValues<float> source(loss, offset), sums(expected, offset);
        row_losses(source.data(), sums.data(), {rows, features}, Device::cuda);
        EXPECT_EQ(bits(sums.values()), bits(expected)) << rows << " × " << features;
      }
    }
  }
}

TEST_F(LossGpu, ManyRowsAreEachSummedAlone) {
  for (const std::int64_t features : {1, 6, 12, 9001}) {
    const std::int64_t rows = features > 9000 ? 9000 : 2'500'000 / features;  // more than one round of blocks
    const Values loss = random_values(static_cast<std::size_t>(rows * features), 11);
    Values expected(static_cast<std::size_t>(rows));
    row_losses(loss.data(), expected.data(), {rows, features});
    const DeviceValues<float> source(loss), sums(Values(expected.size()));
    row_losses(source.data(), sums.data(), {rows, features}, Device::cuda);
    EXPECT_EQ(bits(sums.values()), bits(expected)) << features;
  }
}

// ---- The suite can fail

TEST(LossTwin, AnotherFormulaGoesRed) {
  const Inputs& in = inputs();
  int differs = 0;
  for (std::size_t i = 150; i < 1150; ++i) {
    const float p = math::sigmoid(in.x[i]);
    const float plain = -(in.t[i] * math::log(p) + (1.0f - in.t[i]) * math::log(1.0f - p));
    differs += bits(plain) != bits(ref::bce_with_logits(in.x[i], in.t[i], 1.0f, 1.0f)) ? 1 : 0;
  }
  EXPECT_GT(differs, 100);
}

// ---- float64

struct WideLoss {
  const char* name;
  double (*formula)(double x, double target);
  void (*forward)(const double* x, const double* target, double* loss, const LossExtents& extents);
  void (*backward)(const double* x, const double* target, double* dx, const LossExtents& extents);
};

constexpr double kWidePositive[2] = {3.0, 0.5};
constexpr LossGradient64 kWideGradient{nullptr, -0.3};

const WideLoss kWideLosses[] = {
    {"mse", [](double x, double t) { return (x - t) * (x - t); },
     [](const double* x, const double* t, double* loss, const LossExtents& e) { mse(x, t, loss, e); },
     [](const double* x, const double* t, double* dx, const LossExtents& e) {
       mse_backward(x, t, kWideGradient, dx, e);
     }},
    {"l1", [](double x, double t) { return std::fabs(x - t); },
     [](const double* x, const double* t, double* loss, const LossExtents& e) { l1(x, t, loss, e); },
     [](const double* x, const double* t, double* dx, const LossExtents& e) {
       l1_backward(x, t, kWideGradient, dx, e);
     }},
    {"bce_with_logits",
     [](double x, double t) {
       const double p = 1 / (1 + std::exp(-x));
       return -(t * std::log(p) + (1 - t) * std::log(1 - p));
     },
     [](const double* x, const double* t, double* loss, const LossExtents& e) {
       bce_with_logits(x, t, {}, loss, e);
     },
     [](const double* x, const double* t, double* dx, const LossExtents& e) {
       bce_with_logits_backward(x, t, {}, kWideGradient, dx, e);
     }},
    {"margin_ranking", [](double x, double t) { return std::fmax(0.0, 0.75 - t * (x + 1)); },
     [](const double* x, const double* t, double* loss, const LossExtents& e) {
       const std::vector<double> second(static_cast<std::size_t>(e.rows * e.features), -1.0);
       margin_ranking(x, second.data(), t, 0.75, loss, e);
     },
     [](const double* x, const double* t, double* dx, const LossExtents& e) {
       const std::vector<double> second(static_cast<std::size_t>(e.rows * e.features), -1.0);
       margin_ranking_backward(x, second.data(), t, 0.75, kWideGradient, dx, e);
     }},
};

TEST(LossFp64, IsTheFormulaAndItsSlope) {
  std::vector<double> x, t;
  for (int i = 0; i < 20; ++i) x.push_back(0.37 * i - 3.99), t.push_back(i % 3 - 0.75);
  for (const WideLoss& loss : kWideLosses) {
    std::vector<double> y(20), dx(20);
    loss.forward(x.data(), t.data(), y.data(), {10, 2});
    loss.backward(x.data(), t.data(), dx.data(), {10, 2});
    for (std::size_t i = 0; i < 20; ++i) {
      const double h = 1e-5, slope = (loss.formula(x[i] + h, t[i]) - loss.formula(x[i] - h, t[i])) / (2 * h);
      EXPECT_NEAR(y[i], loss.formula(x[i], t[i]), 1e-13) << loss.name << " of " << x[i];
      EXPECT_NEAR(dx[i], -0.3 * slope, 1e-8) << loss.name << " at " << x[i];
    }
  }
}

TEST(LossFp64, WeightsAndRowSums) {
  const std::vector<double> x{0.5, -1.25, 2.0, 0.75}, t{1.0, 1.0, 0.0, 1.0}, weight{0.5, 2.0, 1.5, 3.0};
  std::vector<double> plain(4), weighted(4), rows(2);
  bce_with_logits(x.data(), t.data(), {}, plain.data(), {2, 2});
  bce_with_logits(x.data(), t.data(), {weight.data(), kWidePositive}, weighted.data(), {2, 2});
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(weighted[i], plain[i] * weight[i] * (t[i] > 0 ? kWidePositive[i % 2] : 1.0), 1e-14);
  row_losses(plain.data(), rows.data(), {2, 2});
  EXPECT_EQ(rows, (std::vector<double>{plain[0] + plain[1], plain[2] + plain[3]}));
}

TEST(LossFp64, RefusesAsTheFloatFormDoes) {
  double a[4] = {};
  expect_error(ErrorCode::invalid_argument, "mse: extents: expected 0 or more, got -1", [&] {
    mse(a, a, a, {-1, 2});
  });
  expect_error(ErrorCode::invalid_argument, "margin_ranking: data", [&] {
    margin_ranking(a, a, nullptr, 1.0, a, {2, 2});
  });
  expect_error(ErrorCode::unsupported, "mse: device: expected Device::cpu", [&] {
    mse(a, a, a, {2, 2}, Device::cuda);
  });
}

// ---- Errors, by code and by words

TEST(LossErrors, SayWhatIsWrong) {
  float a[4] = {};
  expect_error(ErrorCode::invalid_argument, "mse: extents: expected 0 or more, got -1", [&] {
    mse(a, a, a, {-1, 2});
  });
  expect_error(ErrorCode::invalid_argument,
               "l1: data: expected [2, 2] elements of memory, got a null pointer", [&] {
                 l1(a, nullptr, a, {2, 2});
               });
  expect_error(ErrorCode::invalid_argument, "bce_with_logits_backward: data", [&] {
    bce_with_logits_backward(a, a, {}, {}, nullptr, {2, 2});
  });
  expect_error(ErrorCode::invalid_argument, "margin_ranking: data", [&] {
    margin_ranking(a, a, nullptr, 1.0f, a, {2, 2});
  });
  expect_error(ErrorCode::invalid_argument, "row_losses: rows_loss", [&] { row_losses(a, nullptr, {2, 0}); });
  expect_error(ErrorCode::invalid_argument, "mse: device: expected Device::cpu or Device::cuda", [&] {
    mse(a, a, a, {2, 2}, static_cast<Device>(7));
  });
  expect_error(ErrorCode::invalid_argument, "row_losses: device: expected Device::cpu or Device::cuda", [&] {
    row_losses(a, a, {2, 2}, static_cast<Device>(7));
  });
  expect_error(ErrorCode::invalid_argument, "mse: data", [&] { mse(a, nullptr, a, {2, 2}, Device::cuda); });
  if (cuda_device_count() > 0) return;
  expect_error(ErrorCode::unsupported, "Device::cpu", [&] { mse(a, a, a, {2, 2}, Device::cuda); });
  expect_error(ErrorCode::unsupported, "Device::cpu", [&] { row_losses(a, a, {2, 2}, Device::cuda); });
}

}  // namespace
}  // namespace lockstep
