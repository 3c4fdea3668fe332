#include "lockstep/conv/conv.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device_values_test.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/flushing_caller_test.h"
#include "lockstep/conv/conv_ref.h"
#include "lockstep/conv/conv_vectors.h"
#include "lockstep/order/cuts_test.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

Values elements(std::int64_t count, std::uint32_t first) {
  Values values(static_cast<std::size_t>(count));
  for (float& value : values) value = conv_element(first++);
  return values;
}

std::size_t differences(const Values& got, const Values& expected) {
  if (got.size() != expected.size()) return std::max(got.size(), expected.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    count += std::isnan(expected[i]) ? !std::isnan(got[i]) : bits(got[i]) != bits(expected[i]);
  return count;
}

std::uint64_t fnv(const Values& values) {
  std::uint64_t word = 14695981039346656037u;
  for (const float value : values) word = (word ^ bits(value)) * 1099511628211u;
  return word;
}

std::string text(const ConvGeometry& g) {
  std::string words;
  for (const std::int64_t extent :
       {g.samples, g.in_channels, g.in_h, g.in_w, g.out_channels, g.kernel_h, g.kernel_w, g.stride_h,
        g.stride_w, g.pad_h, g.pad_w, g.dilation_h, g.dilation_w, g.groups})
    words += std::to_string(extent) + " ";
  return words;
}

/// A batch, its upstream gradient and a filter bank.
struct Problem {
  explicit Problem(const ConvGeometry& geometry)
      : g(geometry),
        x(elements(g.samples * g.in_channels * g.in_h * g.in_w, 0)),
        dy(elements(g.samples * g.out_channels * g.out_pixels(), 1000003)),
        weight(elements(g.out_channels * g.taps(), 2000003)),
        bias(elements(g.out_channels, 3000003)) {}

  std::int64_t x_per_sample() const { return g.in_channels * g.in_h * g.in_w; }
  std::int64_t y_per_sample() const { return g.out_channels * g.out_pixels(); }

  ConvGeometry g;
  Values x, dy, weight, bias;
};

struct Results {
  Values y, dx, dweight, dbias;

  explicit Results(const Problem& p)
      : y(p.dy.size(), -1), dx(p.x.size(), -1), dweight(p.weight.size()), dbias(p.bias.size()) {}
};

void expect_same(const Results& got, const Results& expected) {
  EXPECT_EQ(differences(got.y, expected.y), 0u) << "y";
  EXPECT_EQ(differences(got.dx, expected.dx), 0u) << "dx";
  EXPECT_EQ(differences(got.dweight, expected.dweight), 0u) << "dweight";
  EXPECT_EQ(differences(got.dbias, expected.dbias), 0u) << "dbias";
}

Results run_ref(const Problem& p) {
  Results r(p);
  conv_ref<float>(p.x.data(), p.weight.data(), p.bias.data(), r.y.data(), p.g);
  conv_input_gradient_ref<float>(p.dy.data(), p.weight.data(), r.dx.data(), p.g);
  conv_weight_gradient_ref<float>(p.dy.data(), p.x.data(), r.dweight.data(), nullptr, r.dbias.data(), nullptr,
                                  {0, p.g.samples * p.g.out_pixels(), true}, p.g);
  return r;
}

/// The CPU twin, the global batch cut after `ends` samples.
Results run_cpu(const Problem& p, const std::vector<std::int64_t>& ends) {
  Results r(p);
  Values weight_open(p.weight.size(), kNaN), bias_open(p.bias.size(), kNaN);
  std::int64_t first = 0;
  for (std::size_t cut = 0; cut < ends.size(); first = ends[cut], ++cut) {
    ConvGeometry g = p.g;
    g.samples = ends[cut] - first;
    const order::FoldSpan span{first * g.out_pixels(), g.samples * g.out_pixels(), cut + 1 == ends.size()};
    const bool has_open = order::needs_open_partial(span);
    const float* const x = p.x.data() + first * p.x_per_sample();
    const float* const dy = p.dy.data() + first * p.y_per_sample();
    conv({x, p.weight.data(), p.bias.data(), r.y.data() + first * p.y_per_sample(), g});
    conv_input_gradient({dy, p.weight.data(), r.dx.data() + first * p.x_per_sample(), g});
    conv_weight_gradient({dy,
                          x,
                          {r.dweight.data(), has_open ? weight_open.data() : nullptr},
                          {r.dbias.data(), has_open ? bias_open.data() : nullptr},
                          span,
                          g});
  }
  return r;
}

Results run_cpu(const Problem& p) { return run_cpu(p, {p.g.samples}); }

ConvGeometry plane(std::int64_t samples, std::int64_t channels, std::int64_t size, std::int64_t filters,
                   std::int64_t kernel, std::int64_t stride = 1, std::int64_t pad = 0,
                   std::int64_t dilation = 1, std::int64_t groups = 1) {
  return {samples, channels, size, size, filters,  kernel,   kernel,
          stride,  stride,   pad,  pad,  dilation, dilation, groups};
}

ConvGeometry line(std::int64_t samples, std::int64_t channels, std::int64_t length, std::int64_t filters,
                  std::int64_t kernel, std::int64_t stride = 1, std::int64_t pad = 0,
                  std::int64_t dilation = 1, std::int64_t groups = 1) {
  return {samples, channels, 1, length, filters, 1, kernel, 1, stride, 0, pad, 1, dilation, groups};
}

std::vector<ConvGeometry> geometries() {
  std::vector<ConvGeometry> all{
      plane(2, 1, 28, 16, 3, 1, 1),
      plane(2, 16, 14, 32, 3, 1, 1),
      plane(3, 5, 9, 7, 3, 2, 1),
      plane(2, 3, 11, 5, 5, 3, 2, 2),
      plane(2, 6, 8, 9, 2, 2, 0, 3, 3),
      plane(2, 4, 6, 4, 1),
      plane(1, 4, 7, 8, 1, 2),            // taps that some pixels never meet
      plane(3, 8, 10, 8, 3, 1, 1, 1, 8),  // depthwise
      plane(2, 4, 12, 8, 3, 2, 1, 1, 4),  // with a multiplier
      plane(1, 3, 5, 2, 3, 1, 6),         // windows that lie outside altogether
      plane(1, 2, 3, 3, 2, 5, 4),         // a stride above the kernel
      plane(2, 3, 4, 33, 4),              // one output pixel
      plane(5, 2, 1, 3, 1),               // one input pixel
      plane(1, 130, 5, 3, 3, 1, 1),       // blocks of the dot
      plane(1, 3, 6, 400, 3, 1, 1),       // blocks of the input gradient's dot
      plane(1, 230, 4, 260, 3, 2, 1),     // of both, and a stride
      plane(3, 3, 40, 20, 2, 1, 0),       // several chunks of pixels, a cut inside a row
      plane(1, 1, 70, 3, 7, 1, 3),        // a chunk within one sample
      {2, 3, 13, 70, 17, 3, 2, 1, 3, 2, 1, 2, 4, 1},
      {2, 4, 37, 6, 6, 5, 1, 2, 1, 0, 0, 1, 1, 2},
      line(3, 4, 50, 6, 5, 1, 2),
      line(2, 3, 1500, 20, 3, 2, 1, 4),
      line(2, 8, 33, 8, 4, 1, 3, 1, 8),
      line(1100, 2, 1, 3, 1),  // a fold over samples alone
  };
  for (std::int64_t filters = 1; filters < 40; filters += 3) all.push_back(plane(1, 2, 6, filters, 3, 1, 1));
  for (std::int64_t channels = 1; channels < 20; channels += 2)
    all.push_back(line(2, channels, 21, 4, 3, 1, 1));
  for (std::int64_t width = 1; width < 70; width += 5) all.push_back(line(1, 2, width, 3, 3, 1, 1));
  for (std::int64_t stride = 1; stride < 5; ++stride)
    for (std::int64_t kernel = 1; kernel < 6; ++kernel)
      for (std::int64_t dilation = 1; dilation < 4; ++dilation)
        all.push_back(plane(1, 1, 17, 2, kernel, stride, kernel / 2 * dilation, dilation));
  return all;
}

TEST(Conv, GivesTheExpectedBits) {
  for (const ConvVector& vector : kConvVectors) {
    SCOPED_TRACE(text(vector.geometry));
    const Problem p(vector.geometry);
    const auto expect_vector = [&](const Results& r) {
      EXPECT_EQ(fnv(r.y), vector.y);
      EXPECT_EQ(fnv(r.dx), vector.dx);
      EXPECT_EQ(fnv(r.dweight), vector.dweight);
      EXPECT_EQ(fnv(r.dbias), vector.dbias);
    };
    expect_vector(run_ref(p));
    simd::in_every_form([&] { expect_vector(run_cpu(p)); });
  }
}

TEST(ConvCpu, IsTheReference) {
  for (const ConvGeometry& g : geometries()) {
    SCOPED_TRACE(text(g));
    const Problem p(g);
    const Results expected = run_ref(p);
    simd::in_every_form([&] { expect_same(run_cpu(p), expected); });
  }
}

TEST(ConvCpu, SamplesDoNotKnowEachOther) {
  for (const ConvGeometry& g :
       {plane(9, 3, 8, 5, 3, 1, 1), plane(5, 4, 9, 6, 3, 2, 1, 1, 2), line(7, 2, 30, 3, 4)}) {
    const Problem p(g);
    simd::in_every_form([&] {
      const Results together = run_cpu(p);
      std::vector<std::int64_t> singles;
      for (std::int64_t n = 1; n <= g.samples; ++n) singles.push_back(n);
      const Results alone = run_cpu(p, singles);
      EXPECT_EQ(differences(alone.y, together.y), 0u);
      EXPECT_EQ(differences(alone.dx, together.dx), 0u);
    });
  }
}

TEST(ConvCpu, EveryCutOfTheBatchGivesTheSameBits) {
  for (const ConvGeometry& g : {plane(30, 3, 13, 5, 3, 1, 1), plane(3, 2, 50, 3, 3, 1, 1),
                                plane(300, 4, 3, 6, 2, 1, 0, 1, 2), plane(30, 19, 9, 19, 3, 1, 1, 1, 19)}) {
    const Problem p(g);
    const Results whole = run_ref(p);
    simd::in_every_form([&] {
      for (const std::int64_t size : {1, 7, 16}) {
        if (g.samples / size > 50) continue;
        std::vector<std::int64_t> ends = ends_of_pieces(g.samples, size);
        expect_same(run_cpu(p, ends), whole);
        ends.push_back(g.samples);  // a last call without samples closes the fold
        expect_same(run_cpu(p, ends), whole);
      }
      expect_same(run_cpu(p, {0, 1, g.samples - 1, g.samples}), whole);
    });
  }
}

TEST(ConvCpu, OtherOrdersGiveOtherBits) {
  const Problem p(plane(24, 8, 12, 6, 3, 1, 1));
  const Results expected = run_cpu(p);
  // A chain for each channel, added up, is not the chain over all of them.
  Values by_channel(p.dy.size()), part(p.dy.size());
  for (std::int64_t c = 0; c < p.g.in_channels; ++c) {
    Problem one(plane(24, 1, 12, 6, 3, 1, 1));
    for (std::int64_t n = 0; n < p.g.samples; ++n)
      std::copy_n(p.x.data() + (n * p.g.in_channels + c) * 144, 144, one.x.data() + n * 144);
    for (std::int64_t o = 0; o < p.g.out_channels; ++o)
      std::copy_n(p.weight.data() + (o * p.g.in_channels + c) * 9, 9, one.weight.data() + o * 9);
    conv({one.x.data(), one.weight.data(), nullptr, part.data(), one.g});
    for (std::size_t i = 0; i < part.size(); ++i) by_channel[i] += part[i];
  }
  for (std::size_t i = 0; i < part.size(); ++i)
    by_channel[i] += p.bias[i / static_cast<std::size_t>(p.g.out_pixels()) % p.bias.size()];
  EXPECT_GT(differences(by_channel, expected.y), expected.y.size() / 10);

  // A gradient for each micro-batch, added up, is not the fold.
  Values of_parts(p.weight.size());
  for (std::int64_t n = 0; n < p.g.samples; n += 8) {
    ConvGeometry g = p.g;
    g.samples = 8;
    conv_weight_gradient({p.dy.data() + n * p.y_per_sample(),
                          p.x.data() + n * p.x_per_sample(),
                          {of_parts.data()},
                          {},
                          {0, 8 * g.out_pixels(), true},
                          g});
  }
  EXPECT_GT(differences(of_parts, expected.dweight), expected.dweight.size() / 10);
}

TEST(ConvCpu, TapsOutsideOfTheImageAreNoTerms) {
  // Infinities and NaN times a padding's zero would be NaN.
  Problem p(plane(2, 3, 6, 5, 3, 1, 1));
  p.weight[0] = kInfinity;
  p.weight[4] = -kInfinity;
  p.weight[40] = kNaN;
  p.x[7] = kInfinity;
  p.dy[0] = -kInfinity;
  p.dy[200] = kNaN;
  const Results expected = run_ref(p);
  const auto finite = [](const Values& values) {
    return std::count_if(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
  };
  EXPECT_GT(finite(expected.y), 0);
  EXPECT_GT(finite(expected.dx), 0);
  EXPECT_GT(finite(expected.dweight), 0);
  simd::in_every_form([&] { expect_same(run_cpu(p), expected); });
  const Problem strided = [&] {
    Problem other(plane(2, 2, 9, 3, 3, 2, 2, 2));
    other.weight[3] = kInfinity;
    other.dy[5] = kNaN;
    return other;
  }();
  const Results strided_expected = run_ref(strided);
  simd::in_every_form([&] { expect_same(run_cpu(strided), strided_expected); });
  Problem depthwise(plane(2, 21, 6, 42, 3, 1, 1, 1, 21));
  depthwise.weight[9] = -kInfinity;
  depthwise.dy[0] = kInfinity;
  depthwise.dy[1000] = kNaN;
  const Results depthwise_expected = run_ref(depthwise);
  simd::in_every_form([&] { expect_same(run_cpu(depthwise), depthwise_expected); });
}

TEST(ConvCpu, ZerosKeepTheirRules) {
  // Products that underflow to -0 before taps outside, whose zeros would change the sign of a zero.
  Problem p(plane(2, 2, 5, 3, 3, 1, 1));
  for (float& value : p.x) value = std::ldexp(value, -90);
  for (float& value : p.weight) value = std::ldexp(value, -90);
  for (float& value : p.dy) value = -std::ldexp(std::abs(value), -90);
  p.bias.assign(p.bias.size(), -0.0f);
  const Results expected = run_ref(p);
  EXPECT_EQ(bits(expected.y[0]), 0u);  // sums start at +0, and +0 + -0 is +0
  simd::in_every_form([&] { expect_same(run_cpu(p), expected); });
}

TEST(ConvCpu, KeepsSubnormalsForACallerThatFlushesThem) {
  Problem p(plane(2, 2, 8, 4, 3, 1, 1));
  for (float& value : p.x) value = std::ldexp(value, -132);
  for (float& value : p.dy) value = std::ldexp(value, -132);
  const Results expected = run_ref(p);
  ASSERT_TRUE(std::any_of(expected.dx.begin(), expected.dx.end(),
                          [](float v) { return std::fpclassify(v) == FP_SUBNORMAL; }));
  simd::in_every_form([&] {
    FlushingCaller caller;
    const Results got = run_cpu(p);
    const bool kept = caller.end();
    EXPECT_TRUE(kept);
    expect_same(got, expected);
  });
}

TEST(ConvCpu, WhatIsNotWantedIsNotNeeded) {
  const Problem p(plane(4, 3, 12, 5, 3, 1, 1));
  const Results expected = run_ref(p);
  const order::FoldSpan span{0, p.g.samples * p.g.out_pixels(), true};
  simd::in_every_form([&] {
    Results r(p);
    conv_weight_gradient({p.dy.data(), p.x.data(), {r.dweight.data()}, {}, span, p.g});
    conv_weight_gradient({p.dy.data(), nullptr, {}, {r.dbias.data()}, span, p.g});
    conv_weight_gradient({p.dy.data(), nullptr, {}, {}, span, p.g});
    EXPECT_EQ(differences(r.dweight, expected.dweight), 0u);
    EXPECT_EQ(differences(r.dbias, expected.dbias), 0u);
    Values y(p.dy.size());
    conv({p.x.data(), p.weight.data(), nullptr, y.data(), p.g});
    for (std::size_t i = 0; i < y.size(); ++i)
      y[i] += p.bias[i / static_cast<std::size_t>(p.g.out_pixels()) % p.bias.size()];
    EXPECT_EQ(differences(y, expected.y), 0u);
  });
}

TEST(ConvCpu, AFoldContinuesFromWhatItsTotalHolds) {
  const Problem p(plane(2, 3, 12, 5, 3, 1, 1));
  Results expected(p);
  expected.dweight = elements(static_cast<std::int64_t>(p.weight.size()), 77);
  expected.dbias = elements(5, 99);
  const Results before = expected;
  const order::FoldSpan span{2048, 288, true};
  conv_weight_gradient_ref<float>(p.dy.data(), p.x.data(), expected.dweight.data(), nullptr,
                                  expected.dbias.data(), nullptr, span, p.g);
  simd::in_every_form([&] {
    Results r = before;
    conv_weight_gradient({p.dy.data(), p.x.data(), {r.dweight.data()}, {r.dbias.data()}, span, p.g});
    EXPECT_EQ(differences(r.dweight, expected.dweight), 0u);
    EXPECT_EQ(differences(r.dbias, expected.dbias), 0u);
  });
}

TEST(ConvCpu, EmptyArraysAreFine) {
  for (const ConvGeometry& g : {plane(0, 3, 5, 4, 3), plane(2, 0, 5, 4, 3), plane(2, 3, 5, 0, 3)}) {
    SCOPED_TRACE(text(g));
    const Problem p(g);
    const Results expected = run_ref(p);
    simd::in_every_form([&] { expect_same(run_cpu(p), expected); });
  }
}

// ---- CUDA: the CPU's bits

/// As run_cpu. Arrays lie `offset` elements behind 16 bytes.
Results run_gpu(const Problem& p, const std::vector<std::int64_t>& ends, std::size_t offset = 0) {
  Results r(p);
  const Values nothing(r.dweight.size() + r.dbias.size(), kNaN);
  const DeviceValues<float> all_x(p.x, offset), all_dy(p.dy, offset), weight(p.weight, offset),
      bias(p.bias, offset), y(r.y, offset), dx(r.dx, offset), dweight(r.dweight, offset),
      dbias(r.dbias, offset), open(nothing, offset);
  std::int64_t first = 0;
  for (std::size_t cut = 0; cut < ends.size(); first = ends[cut], ++cut) {
    ConvGeometry g = p.g;
    g.samples = ends[cut] - first;
    const order::FoldSpan span{first * g.out_pixels(), g.samples * g.out_pixels(), cut + 1 == ends.size()};
    const bool has_open = order::needs_open_partial(span);
    const DeviceValues<float> scratch(
        Values(static_cast<std::size_t>(conv_weight_gradient_scratch_elements(g, span)), kNaN), offset);
    const float* const x = all_x.data() + first * p.x_per_sample();
    const float* const dy = all_dy.data() + first * p.y_per_sample();
    conv({x, weight.data(), bias.data(), y.data() + first * p.y_per_sample(), g}, Device::cuda);
    conv_input_gradient({dy, weight.data(), dx.data() + first * p.x_per_sample(), g}, Device::cuda);
    conv_weight_gradient({dy,
                          x,
                          {dweight.data(), has_open ? open.data() : nullptr},
                          {dbias.data(), has_open ? open.data() + r.dweight.size() : nullptr},
                          span,
                          g,
                          scratch.data()},
                         Device::cuda);
    scratch.values();  // looks for writes behind its end
  }
  r.y = y.values(), r.dx = dx.values(), r.dweight = dweight.values(), r.dbias = dbias.values();
  return r;
}

class ConvGpu : public GpuSuite<> {
 protected:
  static void expect_the_cpus_bits(const Problem& p, std::size_t offset = 0) {
    SCOPED_TRACE(text(p.g));
    expect_same(run_gpu(p, {p.g.samples}, offset), run_cpu(p));
  }
};

TEST_F(ConvGpu, GivesTheExpectedBits) {
  for (const ConvVector& vector : kConvVectors) {
    SCOPED_TRACE(text(vector.geometry));
    const Problem p(vector.geometry);
    const Results r = run_gpu(p, {p.g.samples});
    EXPECT_EQ(fnv(r.y), vector.y);
    EXPECT_EQ(fnv(r.dx), vector.dx);
    EXPECT_EQ(fnv(r.dweight), vector.dweight);
    EXPECT_EQ(fnv(r.dbias), vector.dbias);
  }
}

TEST_F(ConvGpu, HasTheCpusBits) {
  for (const ConvGeometry& g : geometries()) expect_the_cpus_bits(Problem(g));
}

TEST_F(ConvGpu, ArraysMayLieAnywhere) {
  for (const std::size_t offset : {1, 2, 3}) {
    expect_the_cpus_bits(Problem(plane(3, 5, 8, 7, 3, 1, 1)), offset);
    expect_the_cpus_bits(Problem(plane(2, 3, 9, 40, 3, 2, 1)), offset);
  }
}

// Each tile begins and ends at one of these numbers of channels, in the dots and in the folds.
TEST_F(ConvGpu, EveryTileHasTheCpusBits) {
  for (const std::int64_t channels : {2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100}) {
    expect_the_cpus_bits(Problem(plane(7, 5, 6, channels, 3, 1, 1)));
    expect_the_cpus_bits(Problem(plane(7, channels, 6, 5, 3, 1, 1)));
  }
  for (const std::int64_t filters : {5, 16, 32, 64})  // more than fills the device with narrow tiles
    expect_the_cpus_bits(Problem(plane(90, 3, 15, filters, 3, 1, 1)));
  for (Problem p : {Problem(plane(65, 8, 32, 64, 3, 1, 1)), Problem(plane(44, 5, 32, 32, 3, 1, 1)),
                    Problem(plane(88, 5, 32, 16, 3, 1, 1))}) {  // tiles of the folds
    expect_the_cpus_bits(p);
    p.dy[p.dy.size() / 2] = kNaN;
    expect_the_cpus_bits(p);
  }
}

TEST_F(ConvGpu, EveryCutOfTheBatchGivesTheSameBits) {
  for (const ConvGeometry& g : {plane(30, 3, 13, 5, 3, 1, 1), plane(3, 2, 50, 3, 3, 1, 1),
                                plane(300, 4, 3, 6, 2, 1, 0, 1, 2), plane(30, 19, 9, 19, 3, 1, 1, 1, 19)}) {
    const Problem p(g);
    const Results whole = run_cpu(p);
    for (const std::int64_t size : {1, 7, 16}) {
      if (g.samples / size > 50) continue;
      std::vector<std::int64_t> ends = ends_of_pieces(g.samples, size);
      expect_same(run_gpu(p, ends), whole);
      ends.push_back(g.samples);  // a last call without samples closes the fold
      expect_same(run_gpu(p, ends), whole);
    }
    expect_same(run_gpu(p, {0, 1, g.samples - 1, g.samples}), whole);
  }
}

TEST_F(ConvGpu, TapsOutsideOfTheImageAreNoTerms) {
  for (const ConvGeometry& g :
       {plane(2, 3, 6, 5, 3, 1, 1), plane(2, 2, 9, 3, 3, 2, 2, 2), plane(2, 21, 6, 42, 3, 1, 1, 1, 21),
        plane(1, 130, 5, 30, 3, 1, 1), plane(6, 3, 20, 70, 3, 1, 1), plane(1, 3, 5, 2, 3, 1, 6)}) {
    Problem p(g);
    for (std::size_t i = 0; i < p.weight.size(); i += 37) p.weight[i] = i % 2 == 0 ? kInfinity : -kInfinity;
    p.weight[p.weight.size() / 2] = kNaN;
    p.dy[0] = -kInfinity;
    p.dy[p.dy.size() / 3] = kNaN;
    p.dy.back() = kInfinity;
    expect_the_cpus_bits(p);
    p.x[7] = kInfinity;
    p.bias[0] = kNaN;
    expect_the_cpus_bits(p);
  }
  Problem open(plane(4, 2, 20, 3, 3, 1, 1));  // what is not finite lies in a chunk that a cut leaves open
  open.dy[5] = kInfinity, open.dy[800] = kNaN;
  const Results expected = run_cpu(open, {1, 3, 4});
  expect_same(run_gpu(open, {1, 3, 4}), expected);
}

TEST_F(ConvGpu, ZerosAndSubnormalsKeepTheirRules) {
  Problem p(plane(2, 2, 5, 3, 3, 1, 1));
  for (float& value : p.x) value = std::ldexp(value, -90);
  for (float& value : p.weight) value = std::ldexp(value, -90);
  for (float& value : p.dy) value = -std::ldexp(std::abs(value), -90);
  p.bias.assign(p.bias.size(), -0.0f);
  expect_the_cpus_bits(p);
  Problem small(plane(2, 2, 8, 4, 3, 1, 1));
  for (float& value : small.x) value = std::ldexp(value, -132);
  for (float& value : small.dy) value = std::ldexp(value, -132);
  expect_the_cpus_bits(small);
}

TEST_F(ConvGpu, WhatIsNotWantedIsNotNeeded) {
  const Problem p(plane(4, 3, 24, 5, 3, 1, 1));
  const Results expected = run_cpu(p);
  const order::FoldSpan span{0, p.g.samples * p.g.out_pixels(), true};
  const DeviceValues<float> x(p.x), dy(p.dy), weight(p.weight), y(Values(p.dy.size(), -1)),
      dweight(Values(p.weight.size(), 0)), dbias(Values(5, 0)),
      scratch(Values(static_cast<std::size_t>(conv_weight_gradient_scratch_elements(p.g, span))));
  conv_weight_gradient({dy.data(), x.data(), {dweight.data()}, {}, span, p.g, scratch.data()}, Device::cuda);
  conv_weight_gradient({dy.data(), nullptr, {}, {dbias.data()}, span, p.g, scratch.data()}, Device::cuda);
  conv_weight_gradient({dy.data(), nullptr, {}, {}, span, p.g}, Device::cuda);
  EXPECT_EQ(differences(dweight.values(), expected.dweight), 0u);
  EXPECT_EQ(differences(dbias.values(), expected.dbias), 0u);
  conv({x.data(), weight.data(), nullptr, y.data(), p.g}, Device::cuda);
  Values without_bias(p.dy.size());
  conv({p.x.data(), p.weight.data(), nullptr, without_bias.data(), p.g});
  EXPECT_EQ(differences(y.values(), without_bias), 0u);
}

TEST_F(ConvGpu, AFoldContinuesFromWhatItsTotalHolds) {
  const Problem p(plane(2, 3, 12, 5, 3, 1, 1));
  const Values of_weight = elements(static_cast<std::int64_t>(p.weight.size()), 77),
               of_bias = elements(5, 99);
  Values expected = of_weight, expected_bias = of_bias;
  const order::FoldSpan span{2048, 288, true};
  conv_weight_gradient({p.dy.data(), p.x.data(), {expected.data()}, {expected_bias.data()}, span, p.g});
  const DeviceValues<float> x(p.x), dy(p.dy), dweight(of_weight), dbias(of_bias);
  conv_weight_gradient({dy.data(), x.data(), {dweight.data()}, {dbias.data()}, span, p.g}, Device::cuda);
  EXPECT_EQ(differences(dweight.values(), expected), 0u);
  EXPECT_EQ(differences(dbias.values(), expected_bias), 0u);
}

TEST_F(ConvGpu, EmptyArraysAreFine) {
  for (const ConvGeometry& g : {plane(0, 3, 5, 4, 3), plane(2, 0, 5, 4, 3), plane(2, 3, 5, 0, 3)})
    expect_the_cpus_bits(Problem(g));
}

TEST_F(ConvGpu, NumbersBeyond32BitsHaveAFormOfTheirOwn) {
  ConvGeometry far = plane(2, 3, 6, 4, 3, 1, 1);
  far.stride_w = std::int64_t{1} << 40;
  expect_the_cpus_bits(Problem(far));
  far.dilation_w = 2;
  expect_the_cpus_bits(Problem(far));
  far = plane(600, 3, 6, 4, 1, 1, 0, std::int64_t{1} << 40);
  expect_the_cpus_bits(Problem(far));
}

TEST_F(ConvGpu, RandomShapesHaveTheCpusBits) {
  const std::uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto from = [&](std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random);
  };
  for (int i = 0; i < 250; ++i) {
    ConvGeometry g;
    g.groups = from(0, 2) == 0 ? from(2, 6) : 1;
    g.samples = from(1, 5);
    g.in_channels = g.groups * from(1, i % 5 == 0 ? 40 : 7);
    g.out_channels = g.groups * from(1, i % 5 == 1 ? 70 : 9);
    g.kernel_h = from(0, 2) == 0 ? 1 : from(1, 5), g.kernel_w = from(1, 5);
    g.stride_h = from(1, 3), g.stride_w = from(1, 4);
    g.dilation_h = from(1, 2), g.dilation_w = from(1, 3);
    g.pad_h = from(0, 4), g.pad_w = from(0, 5);
    g.in_h = std::max<std::int64_t>(from(1, 16), g.dilation_h * (g.kernel_h - 1) + 1 - 2 * g.pad_h);
    g.in_w = std::max<std::int64_t>(from(1, 24), g.dilation_w * (g.kernel_w - 1) + 1 - 2 * g.pad_w);
    expect_the_cpus_bits(Problem(g), static_cast<std::size_t>(i % 4));
  }
}

// ---- Refusals

ConvGeometry changed(std::int64_t ConvGeometry::*extent, std::int64_t value) {
  ConvGeometry g = plane(1, 4, 8, 6, 3);
  g.*extent = value;
  return g;
}

TEST(Conv, RefusesExtentsThatMakeNoSense) {
  const Values memory(100000);
  Values out(100000);
  const auto refused = [&](std::int64_t ConvGeometry::*extent, std::int64_t value, const char* words) {
    const ConvGeometry g = changed(extent, value);
    expect_refusal([&] { conv({memory.data(), memory.data(), nullptr, out.data(), g}); }, words);
    expect_refusal([&] { conv_input_gradient({memory.data(), memory.data(), out.data(), g}); }, words);
    expect_refusal(
        [&] {
          conv_weight_gradient({memory.data(), memory.data(), {out.data()}, {}, {0, 36, true}, g});
        },
        words);
  };
  refused(&ConvGeometry::samples, -1, "samples");
  refused(&ConvGeometry::in_channels, -4, "in_channels");
  refused(&ConvGeometry::out_channels, -6, "out_channels");
  refused(&ConvGeometry::in_w, 0, "in_w");
  refused(&ConvGeometry::kernel_h, 0, "kernel_h");
  refused(&ConvGeometry::kernel_w, 9, "a kernel that fits the padded image of 8");
  refused(&ConvGeometry::dilation_h, 4, "one of 9 with its dilation");
  refused(&ConvGeometry::dilation_w, 0, "dilation_w");
  refused(&ConvGeometry::stride_w, 0, "stride_w");
  refused(&ConvGeometry::pad_h, -1, "pad_h");
  refused(&ConvGeometry::groups, 0, "groups");
  refused(&ConvGeometry::groups, 4, "a divisor of 4 input and 6 output channels");
}

TEST(Conv, RefusesMissingMemory) {
  const ConvGeometry g = plane(1, 4, 8, 6, 3);
  const Values memory(1000);
  Values out(1000);
  expect_refusal([&] { conv({nullptr, memory.data(), nullptr, out.data(), g}); }, "x");
  expect_refusal([&] { conv({memory.data(), nullptr, nullptr, out.data(), g}); }, "weight");
  expect_refusal([&] { conv({memory.data(), memory.data(), nullptr, nullptr, g}); }, "a null pointer");
  expect_refusal([&] { conv_input_gradient({memory.data(), memory.data(), nullptr, g}); }, "dx");
  expect_refusal(
      [&] {
        conv_weight_gradient({memory.data(), nullptr, {out.data()}, {}, {0, 36, true}, g});
      },
      "x");
  expect_refusal(
      [&] {
        conv_weight_gradient({memory.data(), memory.data(), {out.data()}, {}, {0, 35, true}, g});
      },
      "samples · output pixels, 36");
  expect_refusal(
      [&] {
        conv_weight_gradient({memory.data(), memory.data(), {out.data()}, {}, {0, 36, false}, g});
      },
      "dweight.open");
  expect_refusal(
      [&] {
        conv_weight_gradient({memory.data(), memory.data(), {}, {out.data()}, {7, 36, true}, g});
      },
      "dbias.open");
}

TEST(Conv, RefusesCudaWithoutADeviceByName) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  const ConvGeometry g = plane(1, 4, 8, 6, 3);
  const Values memory(1000);
  Values out(1000);
  const auto unsupported = [](auto call) { expect_refusal(call, "conv", ErrorCode::unsupported); };
  unsupported([&] { conv({memory.data(), memory.data(), nullptr, out.data(), g}, Device::cuda); });
  unsupported([&] { conv_input_gradient({memory.data(), memory.data(), out.data(), g}, Device::cuda); });
  unsupported([&] {
    conv_weight_gradient({memory.data(), memory.data(), {out.data()}, {}, {0, 36, true}, g}, Device::cuda);
  });
}

TEST(Conv, RefusesCudaWithoutScratch) {
  const ConvGeometry g = plane(2, 4, 40, 6, 3, 1, 1);
  const order::FoldSpan span{0, 3200, true};
  const Values memory(20000);
  Values out(1000);
  EXPECT_GT(conv_weight_gradient_scratch_elements(g, span), 0);
  EXPECT_EQ(conv_weight_gradient_scratch_elements(plane(1, 4, 8, 6, 3), {0, 36, true}), 0);
  for (const std::int64_t channels : {1, 16, 40, 64, 512}) {
    const ConvGeometry large = plane(1024, channels, 64, channels, 3, 1, 1);
    EXPECT_LE(conv_weight_gradient_scratch_elements(large, {0, 1024 * 64 * 64, true}), 4 << 20) << channels;
  }
  expect_refusal([&] { conv_weight_gradient_scratch_elements(g, {0, 3201, true}); }, "span.rows");
  expect_refusal(
      [&] {
        conv_weight_gradient({memory.data(), memory.data(), {out.data()}, {}, span, g}, Device::cuda);
      },
      "scratch");
}

// ---- float64

TEST(ConvFp64, IsCloseToTheFloatFormWhereverABatchIsCut) {
  using Wide = std::vector<double>;
  for (const ConvGeometry& whole :
       {plane(3, 4, 9, 6, 3, 2, 1, 2, 2), line(4, 3, 500, 2, 5, 1, 2), line(1100, 2, 1, 3, 1)}) {
    SCOPED_TRACE(text(whole));
    const Problem p(whole);
    const Results narrow = run_cpu(p);
    const Wide x(p.x.begin(), p.x.end()), dy(p.dy.begin(), p.dy.end()),
        weight(p.weight.begin(), p.weight.end()), bias(p.bias.begin(), p.bias.end());
    Wide y(dy.size()), dx(x.size());
    conv({x.data(), weight.data(), bias.data(), y.data(), whole});
    conv_input_gradient({dy.data(), weight.data(), dx.data(), whole});
    const auto fold = [&](const std::vector<std::int64_t>& ends) {
      Wide gradient(weight.size() + bias.size(), 0.0), open(gradient.size(), std::nan(""));
      double* const dbias = gradient.data() + weight.size();
      std::int64_t first = 0;
      for (const std::int64_t end : ends) {
        ConvGeometry g = whole;
        g.samples = end - first;
        conv_weight_gradient({dy.data() + first * p.y_per_sample(),
                              x.data() + first * p.x_per_sample(),
                              {gradient.data(), open.data()},
                              {dbias, open.data() + weight.size()},
                              {first * g.out_pixels(), g.samples * g.out_pixels(), end == whole.samples},
                              g});
        first = end;
      }
      return gradient;
    };
    const Wide gradient = fold({whole.samples});
    EXPECT_EQ(fold({1, 2, whole.samples}), gradient);

    const auto expect_close = [](const Wide& got, const Values& expected, const char* what) {
      long double apart = 0, size = 0;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        apart += std::pow(static_cast<long double>(got[i]) - expected[i], 2);
        size += std::pow(static_cast<long double>(got[i]), 2);
      }
      EXPECT_LT(std::sqrt(apart), 1e-6L * std::sqrt(size)) << what;
      EXPECT_GT(apart, 0.0L) << what << " is computed in float";
    };
    expect_close(y, narrow.y, "y");
    expect_close(dx, narrow.dx, "dx");
    expect_close(gradient, narrow.dweight, "dweight");
    expect_close(Wide(gradient.end() - whole.out_channels, gradient.end()), narrow.dbias, "dbias");
  }
}

TEST(ConvFp64, RefusesAsTheFloatFormDoes) {
  double memory[300] = {};
  const ConvGeometry g = plane(1, 4, 8, 6, 3), none = plane(-1, 4, 8, 6, 3);
  expect_refusal(
      [&] {
        conv({memory, memory, nullptr, memory, none});
      },
      "samples: expected 0 or more, got -1");
  expect_refusal([&] { conv_input_gradient({memory, memory, nullptr, g}); }, "dx");
  expect_refusal(
      [&] {
        conv_weight_gradient({memory, memory, {memory}, {}, {0, 36, false}, g});
      },
      "dweight.open");
  expect_refusal(
      [&] {
        conv({memory, memory, nullptr, memory, g}, Device::cuda);
      },
      "Device::cuda", ErrorCode::unsupported);
}

TEST(ConvRef, TakesDoubles) {
  const ConvGeometry g = plane(1, 2, 3, 1, 3);
  std::vector<double> x(18), weight(18), y(1);
  for (std::size_t i = 0; i < 18; ++i) x[i] = 1.0 + static_cast<double>(i) * 1e-12, weight[i] = 1;
  conv_ref<double>(x.data(), weight.data(), nullptr, y.data(), g);
  EXPECT_DOUBLE_EQ(y[0], 18.0 + 153e-12);
}

}  // namespace
}  // namespace lockstep
