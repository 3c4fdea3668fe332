#include "lockstep/activation/activation.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/activation/activation_inl.h"
#include "lockstep/activation/activation_ref.h"
#include "lockstep/activation/activation_vectors.h"
#include "lockstep/base/device_values_test.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/float_bits_test.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep {
namespace {

namespace ref = activation_ref;
namespace scalar = math::internal::activation;
using Values = std::vector<float>;

/// Numbers of every size and kind: strided bit patterns, and what lies around the special ones.
Values inputs() {
  Values values;
  for (std::uint64_t word = 0; word < (std::uint64_t{1} << 32); word += 104729)
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(word)));
  for (int i = -2400; i <= 2400; ++i) values.push_back(static_cast<float>(i) / 100.0f);
  for (const std::uint32_t around : {0u, 0x80000000u, 0x00800000u, 0x7f800000u, 0xff800000u, 0x3f800000u})
    for (std::uint32_t near = 0; near < 8; ++near) values.push_back(std::bit_cast<float>(around + near - 4));
  return values;
}

Values upstream(std::size_t count) {
  std::uint32_t state = 3;
  Values values(count);
  for (float& value : values) {
    state = state * 1664525 + 1013904223;
    value = static_cast<float>(static_cast<std::int32_t>(state)) * 0x1p-30f;
  }
  return values;
}

// ---- The operations as a table

struct Forward {
  const char* name;
  void (*run)(const float* x, float* y, std::int64_t count, Device device);
  float (*ref)(float);
  float (*one)(float);
  double (*wide)(double);
};

struct Backward {
  const char* name;
  void (*run)(const float* dy, const float* x, float* dx, std::int64_t count, Device device);
  float (*ref)(float, float);
  float (*one)(float, float);
};

constexpr SoftplusOptions kSoftplus{2.0f, 5.0f};

const Forward kForward[] = {
    {"relu", [](const float* x, float* y, std::int64_t n, Device on) { relu(x, y, n, on); }, ref::relu<float>,
     scalar::relu<float>, ref::relu<double>},
    {"sigmoid", [](const float* x, float* y, std::int64_t n, Device on) { sigmoid(x, y, n, on); },
     ref::sigmoid, math::sigmoid, ref::sigmoid},
    {"tanh", [](const float* x, float* y, std::int64_t n, Device on) { tanh(x, y, n, on); }, ref::tanh,
     math::tanh, ref::tanh},
    {"silu", [](const float* x, float* y, std::int64_t n, Device on) { silu(x, y, n, on); }, ref::silu<float>,
     scalar::silu<float>, ref::silu<double>},
    {"gelu", [](const float* x, float* y, std::int64_t n, Device on) { gelu(x, y, n, GeluForm::erf, on); },
     ref::gelu_erf<float>, scalar::gelu_erf<float>, ref::gelu_erf<double>},
    {"gelu, tanh form",
     [](const float* x, float* y, std::int64_t n, Device on) { gelu(x, y, n, GeluForm::tanh, on); },
     ref::gelu_tanh<float>, scalar::gelu_tanh<float>, ref::gelu_tanh<double>},
    {"softplus", [](const float* x, float* y, std::int64_t n, Device on) { softplus(x, y, n, {}, on); },
     [](float x) { return ref::softplus(x, 1.0f, 20.0f); },
     [](float x) { return scalar::softplus(x, 1.0f, 20.0f); },
     [](double x) { return ref::softplus(x, 1.0, 20.0); }},
    {"softplus with options",
     [](const float* x, float* y, std::int64_t n, Device on) { softplus(x, y, n, kSoftplus, on); },
     [](float x) { return ref::softplus(x, 2.0f, 5.0f); },
     [](float x) { return scalar::softplus(x, 2.0f, 5.0f); },
     [](double x) { return ref::softplus(x, 2.0, 5.0); }},
};

const Backward kBackward[] = {
    {"relu",
     [](const float* dy, const float* x, float* dx, std::int64_t n, Device on) {
       relu_backward(dy, x, dx, n, on);
     },
     ref::relu_backward<float>, scalar::relu_backward<float>},
    {"sigmoid",
     [](const float* dy, const float* x, float* dx, std::int64_t n, Device on) {
       sigmoid_backward(dy, x, dx, n, on);
     },
     ref::sigmoid_backward<float>, scalar::sigmoid_backward<float>},
    {"tanh",
     [](const float* dy, const float* x, float* dx, std::int64_t n, Device on) {
       tanh_backward(dy, x, dx, n, on);
     },
     ref::tanh_backward<float>, scalar::tanh_backward<float>},
    {"silu",
     [](const float* dy, const float* x, float* dx, std::int64_t n, Device on) {
       silu_backward(dy, x, dx, n, on);
     },
     ref::silu_backward<float>, scalar::silu_backward<float>},
    {"gelu",
     [](const float* dy, const float* x, float* dx, std::int64_t n, Device on) {
       gelu_backward(dy, x, dx, n, GeluForm::erf, on);
     },
     ref::gelu_erf_backward<float>, scalar::gelu_erf_backward<float>},
    {"gelu, tanh form",
     [](const float* dy, const float* x, float* dx, std::int64_t n, Device on) {
       gelu_backward(dy, x, dx, n, GeluForm::tanh, on);
     },
     ref::gelu_tanh_backward<float>, scalar::gelu_tanh_backward<float>},
    {"softplus",
     [](const float* dy, const float* x, float* dx, std::int64_t n, Device on) {
       softplus_backward(dy, x, dx, n, {}, on);
     },
     [](float dy, float x) { return ref::softplus_backward(dy, x, 1.0f, 20.0f); },
     [](float dy, float x) { return scalar::softplus_backward(dy, x, 1.0f, 20.0f); }},
};

/// The first few elements that differ, for a message.
std::string difference(const Values& got, const Values& expected) {
  std::string text;
  int shown = 0;
  for (std::size_t i = 0; i < got.size() && shown < 5; ++i) {
    if (bits(got[i]) == bits(expected[i])) continue;
    text += std::to_string(got[i]);
    text += " for " + std::to_string(expected[i]) + " at " + std::to_string(i) + "; ";
    ++shown;
  }
  return text;
}

TEST(Activation, ForwardHasTheReferencesBitsInEveryForm) {
  const Values x = inputs();
  for (const Forward& operation : kForward) {
    Values expected, one;
    for (const float value : x) {
      expected.push_back(operation.ref(value));
      one.push_back(operation.one(value));
    }
    EXPECT_EQ(difference(one, expected), "") << operation.name << ", one number";
    simd::in_every_form([&] {
      Values y(x.size(), -7.0f);
      operation.run(x.data(), y.data(), static_cast<std::int64_t>(x.size()), Device::cpu);
      EXPECT_EQ(difference(y, expected), "") << operation.name;
    });
  }
}

TEST(Activation, BackwardHasTheReferencesBitsInEveryForm) {
  const Values x = inputs(), dy = upstream(x.size());
  for (const Backward& operation : kBackward) {
    Values expected, one;
    for (std::size_t i = 0; i < x.size(); ++i) {
      expected.push_back(operation.ref(dy[i], x[i]));
      one.push_back(operation.one(dy[i], x[i]));
    }
    EXPECT_EQ(difference(one, expected), "") << operation.name << ", one number";
    simd::in_every_form([&] {
      Values dx(x.size(), -7.0f);
      operation.run(dy.data(), x.data(), dx.data(), static_cast<std::int64_t>(x.size()), Device::cpu);
      EXPECT_EQ(difference(dx, expected), "") << operation.name;
    });
  }
}

TEST(Activation, GivesTheExpectedBitsInEveryForm) {
  simd::in_every_form([] {
    for (const ActivationVector& vector : kForwardVectors) {
      for (const Forward& operation : kForward) {
        if (std::string(operation.name) != vector.name) continue;
        const Values x(20, std::bit_cast<float>(vector.x));
        Values y(20);
        operation.run(x.data(), y.data(), 20, Device::cpu);
        EXPECT_EQ(bits(y[0]), vector.result) << vector.name << " of " << x[0];
        EXPECT_EQ(bits(y[19]), vector.result) << vector.name << " of " << x[0];
      }
    }
    for (const ActivationVector& vector : kBackwardVectors) {
      for (const Backward& operation : kBackward) {
        if (std::string(operation.name) != vector.name) continue;
        const Values dy(20, std::bit_cast<float>(vector.dy)), x(20, std::bit_cast<float>(vector.x));
        Values dx(20);
        operation.run(dy.data(), x.data(), dx.data(), 20, Device::cpu);
        EXPECT_EQ(bits(dx[0]), vector.result) << vector.name << " of " << dy[0] << " and " << x[0];
        EXPECT_EQ(bits(dx[19]), vector.result) << vector.name << " of " << dy[0] << " and " << x[0];
      }
    }
  });
}

TEST(Activation, AnElementDoesNotKnowItsPlace) {
  const Values x = upstream(100), dy = upstream(200);
  simd::in_every_form([&] {
    for (std::size_t count = 0; count <= 67; ++count) {
      for (const Forward& operation : kForward) {
        Values y(count + 1, -7.0f);
        operation.run(x.data() + 1, y.data(), static_cast<std::int64_t>(count), Device::cpu);
        for (std::size_t i = 0; i < count; ++i)
          EXPECT_EQ(bits(y[i]), bits(operation.ref(x[i + 1]))) << operation.name;
        EXPECT_EQ(y[count], -7.0f) << "nothing behind the end is written";
      }
      for (const Backward& operation : kBackward) {
        Values dx(count + 1, -7.0f);
        operation.run(dy.data() + 3, x.data() + 1, dx.data(), static_cast<std::int64_t>(count), Device::cpu);
        for (std::size_t i = 0; i < count; ++i)
          EXPECT_EQ(bits(dx[i]), bits(operation.ref(dy[i + 3], x[i + 1]))) << operation.name;
        EXPECT_EQ(dx[count], -7.0f) << "nothing behind the end is written";
      }
    }
  });
}

TEST(Activation, WorksInPlace) {
  const Values x = upstream(5000);
  for (const Backward& operation : kBackward) {
    Values dx(x.size()), over_dy = x, over_x = x;
    const auto count = static_cast<std::int64_t>(x.size());
    operation.run(x.data(), x.data(), dx.data(), count, Device::cpu);
    operation.run(over_dy.data(), x.data(), over_dy.data(), count, Device::cpu);
    operation.run(x.data(), over_x.data(), over_x.data(), count, Device::cpu);
    EXPECT_EQ(difference(over_dy, dx), "") << operation.name;
    EXPECT_EQ(difference(over_x, dx), "") << operation.name;
  }
}

TEST(Activation, IsCloseToItsDoubleForm) {
  for (const Forward& operation : kForward) {
    for (int i = -2000; i <= 2000; ++i) {
      const float x = static_cast<float>(i) / 100.0f;
      const double expected = operation.wide(x);
      EXPECT_NEAR(operation.ref(x), expected, 3e-7 * (std::fabs(expected) + std::fmin(1.0, std::fabs(x))))
          << operation.name << " of " << x;
    }
  }
}

TEST(Activation, BackwardIsTheSlopeOfForward) {
  struct Pair {
    const char* name;
    double (*forward)(double);
    double (*backward)(double);
  };
  const Pair pairs[] = {
      {"sigmoid", ref::sigmoid, [](double x) { return ref::sigmoid_backward(1.0, ref::sigmoid(x)); }},
      {"tanh", ref::tanh, [](double x) { return ref::tanh_backward(1.0, ref::tanh(x)); }},
      {"silu", ref::silu<double>, [](double x) { return ref::silu_backward(1.0, x); }},
      {"gelu", ref::gelu_erf<double>, [](double x) { return ref::gelu_erf_backward(1.0, x); }},
      {"gelu, tanh form", ref::gelu_tanh<double>, [](double x) { return ref::gelu_tanh_backward(1.0, x); }},
      {"softplus", [](double x) { return ref::softplus(x, 2.0, 20.0); },
       [](double x) { return ref::softplus_backward(1.0, x, 2.0, 20.0); }},
  };
  for (const Pair& pair : pairs) {
    for (double x = -6; x <= 6; x += 0.0625) {
      const double h = 1e-5, slope = (pair.forward(x + h) - pair.forward(x - h)) / (2 * h);
      EXPECT_NEAR(pair.backward(x), slope, 1e-9) << pair.name << " at " << x;
    }
  }
}

TEST(Activation, SpecialValues) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Values x{0.0f,   -0.0f,  kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(),
                 1e-45f, -1e-45f};
  const auto of = [&](auto run) {
    Values y(x.size());
    run(x.data(), y.data());
    std::vector<std::uint32_t> words;
    for (const float value : y) words.push_back(bits(value));
    return words;
  };
  using Words = std::vector<std::uint32_t>;
  EXPECT_EQ(of([](const float* a, float* y) { relu(a, y, 7); }),
            (Words{0, 0x80000000, 0x7f800000, 0, 0x7fc00000, 1, 0}));
  EXPECT_EQ(of([](const float* a, float* y) { sigmoid(a, y, 7); }),
            (Words{0x3f000000, 0x3f000000, 0x3f800000, 0, 0x7fc00000, 0x3f000000, 0x3f000000}));
  EXPECT_EQ(of([](const float* a, float* y) { tanh(a, y, 7); }),
            (Words{0, 0x80000000, 0x3f800000, 0xbf800000, 0x7fc00000, 1, 0x80000001}));
  EXPECT_EQ(of([](const float* a, float* y) { softplus(a, y, 7); }),
            (Words{0x3f317218, 0x3f317218, 0x7f800000, 0, 0x7fc00000, 0x3f317218, 0x3f317218}));
}

// ---- CUDA

class ActivationGpu : public GpuSuite<> {};

/// Dy of every size and kind too, so that a pair meets what its operands do not.
Values turned(const Values& x) {
  const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 3);
  Values of(middle, x.end());
  of.insert(of.end(), x.begin(), middle);
  return of;
}

TEST_F(ActivationGpu, HasTheBitsOfTheCpu) {
  const Values x = inputs(), dy = turned(x);
  const auto count = static_cast<std::int64_t>(x.size());
  Values expected(x.size());
  for (const Forward& operation : kForward) {
    operation.run(x.data(), expected.data(), count, Device::cpu);
    const DeviceValues<float> source(x), y(x), in_place(x);
    operation.run(source.data(), y.data(), count, Device::cuda);
    operation.run(in_place.data(), in_place.data(), count, Device::cuda);
    EXPECT_EQ(difference(y.values(), expected), "") << operation.name;
    EXPECT_EQ(difference(in_place.values(), expected), "") << operation.name << ", in place";
  }
  for (const Backward& operation : kBackward) {
    operation.run(dy.data(), x.data(), expected.data(), count, Device::cpu);
    const DeviceValues<float> upstream_values(dy), source(x), dx(x);
    operation.run(upstream_values.data(), source.data(), dx.data(), count, Device::cuda);
    EXPECT_EQ(difference(dx.values(), expected), "") << operation.name << ", backward";
    operation.run(upstream_values.data(), source.data(), source.data(), count, Device::cuda);
    EXPECT_EQ(difference(source.values(), expected), "") << operation.name << ", over x";
    const DeviceValues<float> again(x);
    operation.run(upstream_values.data(), again.data(), upstream_values.data(), count, Device::cuda);
    EXPECT_EQ(difference(upstream_values.values(), expected), "") << operation.name << ", over dy";
  }
}

TEST_F(ActivationGpu, AnElementDoesNotKnowItsPlace) {
  for (const std::size_t size : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 1023, 2051, 50'001}) {
    const Values x = upstream(size), dy = turned(x);
    const auto count = static_cast<std::int64_t>(size);
    Values expected(size);
    for (const DeviceOffsets& offsets : kDeviceOffsets) {
      const DeviceValues<float> source(x, offsets.operand), gradient(dy, offsets.result),
          result(x, offsets.result);
      for (const Forward& operation : kForward) {
        operation.run(x.data(), expected.data(), count, Device::cpu);
        operation.run(source.data(), result.data(), count, Device::cuda);
        EXPECT_EQ(difference(result.values(), expected), "") << operation.name << " of " << size;
      }
      for (const Backward& operation : kBackward) {
        operation.run(dy.data(), x.data(), expected.data(), count, Device::cpu);
        operation.run(gradient.data(), source.data(), result.data(), count, Device::cuda);
        EXPECT_EQ(difference(result.values(), expected), "") << operation.name << ", backward, of " << size;
      }
    }
  }
}

TEST_F(ActivationGpu, SlowBeyondTwoToTheThirtyFirst) {
  const std::int64_t count = (std::int64_t{1} << 31) + 5;
  DeviceBuffer buffer(static_cast<std::size_t>(count) * sizeof(float));
  Values values(static_cast<std::size_t>(count), -1.0f);
  buffer.copy_from_host(values.data());
  auto* const data = static_cast<float*>(buffer.data());
  relu(data, data, count, Device::cuda);
  buffer.copy_to_host(values.data());
  for (const float value : values) ASSERT_EQ(value, 0.0f);
}

// ---- The suite can fail

TEST(ActivationTwin, AnotherFormulaGoesRed) {
  const Values x = upstream(1000);
  int silu_differs = 0, gelu_differs = 0;
  for (const float value : x) {
    silu_differs += bits(value / (1.0f + math::exp(-value))) != bits(ref::silu(value)) ? 1 : 0;
    const float plain = value * 0.5f * (1.0f + math::erf(value * 0.70710678f));
    gelu_differs += bits(plain) != bits(ref::gelu_erf(value)) ? 1 : 0;
  }
  EXPECT_GT(silu_differs, 100);
  EXPECT_GT(gelu_differs, 100);
}

// ---- float64, against the formulas in long double

TEST(ActivationFp64, IsTheFormulaAndItsSlope) {
  using Wide = long double;
  constexpr Wide kSqrtTwo = 1.4142135623730950488L, kSqrtTwoOverPi = 0.7978845608028653559L;
  struct Operation {
    const char* name;
    void (*forward)(const double* x, double* y, std::int64_t n);
    void (*backward)(const double* dy, const double* x, const double* y, double* dx, std::int64_t n);
    Wide (*formula)(Wide x);
  };
  const Operation operations[] = {
      {"relu", [](const double* x, double* y, std::int64_t n) { relu(x, y, n); },
       [](const double* dy, const double* x, const double*, double* dx, std::int64_t n) {
         relu_backward(dy, x, dx, n);
       },
       [](Wide x) { return std::fmax(x, 0); }},
      {"sigmoid", [](const double* x, double* y, std::int64_t n) { sigmoid(x, y, n); },
       [](const double* dy, const double*, const double* y, double* dx, std::int64_t n) {
         sigmoid_backward(dy, y, dx, n);
       },
       [](Wide x) { return 1 / (1 + std::exp(-x)); }},
      {"tanh", [](const double* x, double* y, std::int64_t n) { tanh(x, y, n); },
       [](const double* dy, const double*, const double* y, double* dx, std::int64_t n) {
         tanh_backward(dy, y, dx, n);
       },
       [](Wide x) { return std::tanh(x); }},
      {"silu", [](const double* x, double* y, std::int64_t n) { silu(x, y, n); },
       [](const double* dy, const double* x, const double*, double* dx, std::int64_t n) {
         silu_backward(dy, x, dx, n);
       },
       [](Wide x) { return x / (1 + std::exp(-x)); }},
      {"gelu", [](const double* x, double* y, std::int64_t n) { gelu(x, y, n, GeluForm::erf); },
       [](const double* dy, const double* x, const double*, double* dx, std::int64_t n) {
         gelu_backward(dy, x, dx, n, GeluForm::erf);
       },
       [](Wide x) { return x * (1 + std::erf(x / kSqrtTwo)) / 2; }},
      {"gelu, tanh form", [](const double* x, double* y, std::int64_t n) { gelu(x, y, n, GeluForm::tanh); },
       [](const double* dy, const double* x, const double*, double* dx, std::int64_t n) {
         gelu_backward(dy, x, dx, n, GeluForm::tanh);
       },
       [](Wide x) { return x * (1 + std::tanh(kSqrtTwoOverPi * (x + 0.044715L * x * x * x))) / 2; }},
      {"softplus",
       [](const double* x, double* y, std::int64_t n) {
         softplus(x, y, n, {2.0, 5.0});
       },
       [](const double* dy, const double* x, const double*, double* dx, std::int64_t n) {
         softplus_backward(dy, x, dx, n, {2.0, 5.0});
       },
       [](Wide x) { return 2 * x > 5 ? x : std::log1p(std::exp(2 * x)) / 2; }},
  };
  std::vector<double> x;
  for (int i = -40; i < 40; ++i) x.push_back((i + 0.375) / 8);
  const std::vector<double> dy(x.size(), -1.5);
  const auto count = static_cast<std::int64_t>(x.size());
  for (const Operation& operation : operations) {
    std::vector<double> y(x.size()), dx(x.size());
    operation.forward(x.data(), y.data(), count);
    operation.backward(dy.data(), x.data(), y.data(), dx.data(), count);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const Wide h = 1e-5L, slope = (operation.formula(x[i] + h) - operation.formula(x[i] - h)) / (2 * h);
      EXPECT_NEAR(y[i], static_cast<double>(operation.formula(x[i])), 1e-15)
          << operation.name << " of " << x[i];
      EXPECT_NEAR(dx[i], static_cast<double>(-1.5L * slope), 1e-9) << operation.name << " at " << x[i];
    }
  }
}

TEST(ActivationFp64, RefusesAsTheFloatFormDoes) {
  double a[4] = {};
  expect_error(ErrorCode::invalid_argument, "relu: count: expected 0 or more, got -1",
               [&] { relu(a, a, -1); });
  expect_error(ErrorCode::invalid_argument, "silu_backward: data", [&] { silu_backward(a, nullptr, a, 4); });
  expect_error(ErrorCode::unsupported, "softplus: device: expected Device::cpu",
               [&] { softplus(a, a, 4, {}, Device::cuda); });
}

// ---- Errors, by code and by words

TEST(ActivationErrors, SayWhatIsWrong) {
  float a[4] = {};
  expect_error(ErrorCode::invalid_argument, "relu: count: expected 0 or more, got -1",
               [&] { relu(a, a, -1); });
  expect_error(ErrorCode::invalid_argument, "gelu: data: expected memory of 4 elements, got a null pointer",
               [&] { gelu(nullptr, a, 4, GeluForm::erf); });
  expect_error(ErrorCode::invalid_argument, "silu_backward: data", [&] { silu_backward(a, nullptr, a, 4); });
  expect_error(ErrorCode::invalid_argument, "softplus: device: expected Device::cpu or Device::cuda",
               [&] { softplus(a, a, 4, {}, static_cast<Device>(7)); });
  expect_error(ErrorCode::invalid_argument, "silu: data", [&] { silu(nullptr, a, 4, Device::cuda); });
  if (cuda_device_count() == 0)
    expect_error(ErrorCode::unsupported, "Device::cpu", [&] { softplus(a, a, 4, {}, Device::cuda); });
}

}  // namespace
}  // namespace lockstep
