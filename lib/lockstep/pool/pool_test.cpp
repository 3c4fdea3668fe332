#include "lockstep/pool/pool.h"

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
#include "lockstep/pool/pool_ref.h"
#include "lockstep/pool/pool_vectors.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;
using Indices = std::vector<std::int64_t>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

Values elements(std::int64_t count, std::uint32_t first) {
  Values values(static_cast<std::size_t>(count));
  for (float& value : values) value = pool_element(first++);
  return values;
}

std::size_t differences(const Values& got, const Values& expected) {
  if (got.size() != expected.size()) return std::max(got.size(), expected.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    count += std::isnan(expected[i])
                 ? !std::isnan(got[i])
                 : std::bit_cast<std::uint32_t>(got[i]) != std::bit_cast<std::uint32_t>(expected[i]);
  return count;
}

template <class Word>
std::uint64_t fnv(const std::vector<Word>& values) {
  std::uint64_t word = 14695981039346656037u;
  for (const Word value : values) {
    if constexpr (sizeof(Word) == 4)
      word = (word ^ std::bit_cast<std::uint32_t>(value)) * 1099511628211u;
    else
      word = (word ^ static_cast<std::uint64_t>(value)) * 1099511628211u;
  }
  return word;
}

std::string text(const PoolAxis& axis) {
  std::string words;
  for (const std::int64_t extent : {axis.in, axis.kernel, axis.stride, axis.pad, axis.dilation})
    words += std::to_string(extent) + " ";
  return words + (axis.ceil_mode ? "ceil" : "floor");
}

struct Problem {
  Problem(std::int64_t count, const PoolAxis& height, const PoolAxis& width)
      : planes(count),
        h(height),
        w(width),
        x(elements(planes * h.in * w.in, 0)),
        dy(elements(planes * h.out() * w.out(), 1000003)) {}

  std::int64_t planes;
  PoolAxis h, w;
  Values x, dy;
};

struct Maxima {
  explicit Maxima(const Problem& p) : y(p.dy.size(), -1), dx(p.x.size(), -1), indices(p.dy.size(), -7) {}
  Values y, dx;
  Indices indices;
};

Maxima max_ref(const Problem& p) {
  Maxima r(p);
  max_pool_ref<float>(p.x.data(), r.y.data(), r.indices.data(), p.planes, p.h, p.w);
  max_pool_backward_ref<float>(p.dy.data(), r.indices.data(), r.dx.data(), p.planes, p.h, p.w);
  return r;
}

Maxima max_cpu(const Problem& p) {
  Maxima r(p);
  max_pool({p.x.data(), r.y.data(), r.indices.data(), p.planes, p.h, p.w});
  max_pool_backward({p.dy.data(), r.indices.data(), r.dx.data(), p.planes, p.h, p.w});
  return r;
}

void expect_same(const Maxima& got, const Maxima& expected) {
  EXPECT_EQ(differences(got.y, expected.y), 0u) << "y";
  EXPECT_EQ(got.indices, expected.indices);
  EXPECT_EQ(differences(got.dx, expected.dx), 0u) << "dx";
}

struct Averages {
  explicit Averages(const Problem& p) : y(p.dy.size(), -1), dx(p.x.size(), -1) {}
  Values y, dx;
};

Averages average_ref(const Problem& p, bool include_pad, std::int64_t divisor = 0) {
  Averages r(p);
  const auto row = [&](std::int64_t i) { return pool::window_of(p.h, i, include_pad); };
  const auto col = [&](std::int64_t j) { return pool::window_of(p.w, j, include_pad); };
  average_pool_ref<float>(p.x.data(), r.y.data(), p.planes, p.h.in, p.w.in, p.h.out(), p.w.out(), row, col,
                          divisor);
  average_pool_backward_ref<float>(p.dy.data(), r.dx.data(), p.planes, p.h.in, p.w.in, p.h.out(), p.w.out(),
                                   row, col, divisor);
  return r;
}

Averages average_cpu(const Problem& p, bool include_pad, std::int64_t divisor = 0) {
  Averages r(p);
  average_pool({p.x.data(), r.y.data(), p.planes, p.h, p.w, include_pad, divisor});
  average_pool_backward({p.dy.data(), r.dx.data(), p.planes, p.h, p.w, include_pad, divisor});
  return r;
}

void expect_same(const Averages& got, const Averages& expected) {
  EXPECT_EQ(differences(got.y, expected.y), 0u) << "y";
  EXPECT_EQ(differences(got.dx, expected.dx), 0u) << "dx";
}

// ---- Expected bits

TEST(Pool, GivesTheExpectedBits) {
  for (const PoolVector& vector : kPoolVectors) {
    SCOPED_TRACE(text(vector.h) + " x " + text(vector.w));
    const Problem p(vector.planes, vector.h, vector.w);
    const auto expect_max = [&](const Maxima& r) {
      EXPECT_EQ(fnv(r.y), vector.max);
      EXPECT_EQ(fnv(r.indices), vector.indices);
      EXPECT_EQ(fnv(r.dx), vector.max_dx);
    };
    expect_max(max_ref(p));
    simd::in_every_form([&] { expect_max(max_cpu(p)); });
    if (vector.h.dilation != 1 || vector.w.dilation != 1) continue;
    const auto expect_averages = [&](const Averages& with, const Averages& without) {
      EXPECT_EQ(fnv(with.y), vector.average);
      EXPECT_EQ(fnv(with.dx), vector.average_dx);
      EXPECT_EQ(fnv(without.y), vector.inner);
      EXPECT_EQ(fnv(without.dx), vector.inner_dx);
    };
    expect_averages(average_ref(p, true), average_ref(p, false));
    simd::in_every_form([&] { expect_averages(average_cpu(p, true), average_cpu(p, false)); });
  }
}

TEST(Pool, AdaptiveAveragesGiveTheExpectedBits) {
  for (const AdaptivePoolVector& v : kAdaptivePoolVectors) {
    SCOPED_TRACE(std::to_string(v.in_h) + " x " + std::to_string(v.in_w));
    const Values x = elements(v.planes * v.in_h * v.in_w, 0),
                 dy = elements(v.planes * v.out_h * v.out_w, 1000003);
    const auto row = [&](std::int64_t i) { return pool::adaptive_window_of(v.in_h, v.out_h, i); };
    const auto col = [&](std::int64_t j) { return pool::adaptive_window_of(v.in_w, v.out_w, j); };
    Values y(dy.size()), dx(x.size());
    average_pool_ref<float>(x.data(), y.data(), v.planes, v.in_h, v.in_w, v.out_h, v.out_w, row, col, 0);
    average_pool_backward_ref<float>(dy.data(), dx.data(), v.planes, v.in_h, v.in_w, v.out_h, v.out_w, row,
                                     col, 0);
    EXPECT_EQ(fnv(y), v.y);
    EXPECT_EQ(fnv(dx), v.dx);
    simd::in_every_form([&] {
      Values own_y(dy.size()), own_dx(x.size());
      adaptive_average_pool({x.data(), own_y.data(), v.planes, v.in_h, v.in_w, v.out_h, v.out_w});
      adaptive_average_pool_backward({dy.data(), own_dx.data(), v.planes, v.in_h, v.in_w, v.out_h, v.out_w});
      EXPECT_EQ(fnv(own_y), v.y);
      EXPECT_EQ(fnv(own_dx), v.dx);
    });
  }
}

// ---- The vector forms against the reference

std::vector<Problem> problems() {
  std::vector<Problem> all;
  for (std::int64_t width = 1; width < 80; width += width < 20 ? 1 : 7)
    for (std::int64_t kernel = 1; kernel < 6; ++kernel)
      for (std::int64_t stride = 1; stride < 4; ++stride)
        for (const bool ceil_mode : {false, true})
          for (const std::int64_t pad : {std::int64_t{0}, kernel / 2}) {
            const PoolAxis w{width, kernel, stride, pad, 1, ceil_mode};
            if (w.out() >= 1) all.emplace_back(2, PoolAxis{5, 2, 1, 1, 1, ceil_mode}, w);
          }
  all.emplace_back(3, PoolAxis{}, PoolAxis{50, 3, 2, 1});
  all.emplace_back(40, PoolAxis{28, 2, 2}, PoolAxis{28, 2, 2});
  all.emplace_back(2, PoolAxis{56, 8, 8}, PoolAxis{56, 8, 8});        // a pixel has one window
  all.emplace_back(2, PoolAxis{17, 2, 5, 1}, PoolAxis{90, 3, 4, 1});  // or none
  all.emplace_back(2, PoolAxis{40, 40, 1}, PoolAxis{80, 40, 5});      // more taps than a chain has
  return all;
}

TEST(PoolCpu, IsTheReference) {
  for (const Problem& p : problems()) {
    SCOPED_TRACE(text(p.h) + " x " + text(p.w));
    const Maxima maxima = max_ref(p);
    const Averages with = average_ref(p, true), without = average_ref(p, false),
                   over = average_ref(p, true, 3);
    simd::in_every_form([&] {
      expect_same(max_cpu(p), maxima);
      expect_same(average_cpu(p, true), with);
      expect_same(average_cpu(p, false), without);
      expect_same(average_cpu(p, true, 3), over);
    });
  }
}

TEST(PoolCpu, DilatedWindowsAreTheReference) {
  for (std::int64_t dilation = 2; dilation < 5; ++dilation)
    for (std::int64_t stride = 1; stride < 4; ++stride)
      for (std::int64_t kernel = 1; kernel < 4; ++kernel)
        for (const std::int64_t pad : {std::int64_t{0}, (dilation * (kernel - 1) + 1) / 2}) {
          const PoolAxis axis{33, kernel, stride, pad, dilation};
          const Problem p(2, PoolAxis{9, 2, 2, 1, 2}, axis);
          SCOPED_TRACE(text(axis));
          const Maxima expected = max_ref(p);
          simd::in_every_form([&] { expect_same(max_cpu(p), expected); });
        }
}

TEST(PoolCpu, PlanesDoNotKnowEachOther) {
  const Problem p(7, PoolAxis{9, 3, 2, 1}, PoolAxis{21, 3, 2, 1});
  simd::in_every_form([&] {
    const Maxima together = max_cpu(p);
    const Averages averages = average_cpu(p, true);
    for (std::int64_t n = 0; n < p.planes; ++n) {
      Problem one = p;
      const auto cut = [&](const Values& all) {
        const auto size = static_cast<std::ptrdiff_t>(all.size()) / p.planes;
        return Values(all.begin() + n * size, all.begin() + (n + 1) * size);
      };
      one.planes = 1, one.x = cut(p.x), one.dy = cut(p.dy);
      const Maxima alone = max_cpu(one);
      EXPECT_EQ(differences(alone.y, cut(together.y)), 0u);
      EXPECT_EQ(differences(alone.dx, cut(together.dx)), 0u);
      expect_same(average_cpu(one, true), [&] {
        Averages part(one);
        part.y = cut(averages.y), part.dx = cut(averages.dx);
        return part;
      }());
    }
  });
}

TEST(PoolCpu, OtherOrdersGiveOtherBits) {
  const Problem p(1, PoolAxis{40, 40, 1}, PoolAxis{40, 40, 1});
  float plain = 0;
  for (const float value : p.x) plain += value;  // one chain, where the contract has blocks of 1,024
  simd::in_every_form([&] { EXPECT_NE(average_cpu(p, true).y[0], plain / 1600); });
}

TEST(PoolCpu, TheFirstOfEqualsAndTheFirstNaNWin) {
  for (const std::int64_t stride : {1, 2, 3}) {
    Problem p(1, PoolAxis{4, 2, 2}, PoolAxis{40, 4, stride, 2});
    for (std::size_t i = 0; i < p.x.size(); ++i) p.x[i] = i % 3 == 0 ? 0.0f : -0.0f;
    p.x[5] = kNaN;
    p.x[6] = -kNaN;
    p.x[7] = kInfinity;
    for (std::size_t i = 20; i < 30; ++i) p.x[i] = p.x[i + 40] = -kInfinity;  // windows of nothing else
    const Maxima expected = max_ref(p);
    simd::in_every_form([&] { expect_same(max_cpu(p), expected); });
  }
  const Values x{1, kNaN, kNaN, 5, -0.0f, 0.0f, -kInfinity, -kInfinity};
  simd::in_every_form([&] {
    Values y(4);
    Indices indices(4);
    max_pool({x.data(), y.data(), indices.data(), 1, PoolAxis{}, PoolAxis{8, 2, 2}});
    EXPECT_EQ(indices, (Indices{1, 2, 4, 6}));
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]));
    EXPECT_TRUE(std::signbit(y[2]));
    EXPECT_EQ(y[3], -kInfinity);
  });
}

TEST(PoolCpu, WindowsWithoutAPixelWinNothing) {
  // The only pixel lies between the two taps.
  const Problem p(1, PoolAxis{}, PoolAxis{1, 2, 1, 3, 5});
  ASSERT_EQ(p.w.out(), 2);
  simd::in_every_form([&] {
    const Maxima r = max_cpu(p);
    EXPECT_EQ(r.indices, (Indices{-1, -1}));
    EXPECT_EQ(r.y, (Values{-kInfinity, -kInfinity}));
    EXPECT_EQ(r.dx, (Values{0}));
  });
}

TEST(PoolCpu, InfinitiesAndSubnormalsOfAFlushingCaller) {
  Problem p(2, PoolAxis{6, 3, 1, 1}, PoolAxis{37, 3, 1, 1});
  for (float& value : p.x) value = std::ldexp(value, -132);
  for (float& value : p.dy) value = std::ldexp(value, -132);
  p.x[3] = kInfinity, p.x[90] = kNaN, p.x[91] = -kInfinity;
  p.dy[4] = -kInfinity;
  const Maxima maxima = max_ref(p);
  const Averages averages = average_ref(p, true);
  ASSERT_TRUE(std::any_of(averages.y.begin(), averages.y.end(),
                          [](float v) { return std::fpclassify(v) == FP_SUBNORMAL; }));
  simd::in_every_form([&] {
    FlushingCaller caller;
    const Maxima got_maxima = max_cpu(p);
    const Averages got_averages = average_cpu(p, true);
    const bool kept = caller.end();
    EXPECT_TRUE(kept);
    expect_same(got_maxima, maxima);
    expect_same(got_averages, averages);
  });
}

TEST(PoolCpu, IndicesMayBeUnwantedAndPlanesMayBeNone) {
  const Problem p(2, PoolAxis{6, 2, 2}, PoolAxis{40, 2, 2}), none(0, PoolAxis{6, 2, 2}, PoolAxis{40, 2, 2});
  const Maxima expected = max_ref(p);
  simd::in_every_form([&] {
    Values y(p.dy.size());
    max_pool({p.x.data(), y.data(), nullptr, p.planes, p.h, p.w});
    EXPECT_EQ(differences(y, expected.y), 0u);
    expect_same(max_cpu(none), max_ref(none));
    expect_same(average_cpu(none, true), average_ref(none, true));
  });
}

// ---- CUDA: the CPU's bits

Maxima max_gpu(const Problem& p) {
  Maxima r(p);
  const DeviceValues<float> x(p.x), dy(p.dy), y(r.y), dx(r.dx);
  const DeviceValues<std::int64_t> indices(r.indices);
  max_pool({x.data(), y.data(), indices.data(), p.planes, p.h, p.w}, Device::cuda);
  max_pool_backward({dy.data(), indices.data(), dx.data(), p.planes, p.h, p.w}, Device::cuda);
  r.y = y.values(), r.dx = dx.values(), r.indices = indices.values();
  return r;
}

Averages average_gpu(const Problem& p, bool include_pad, std::int64_t divisor = 0) {
  Averages r(p);
  const DeviceValues<float> x(p.x), dy(p.dy), y(r.y), dx(r.dx);
  average_pool({x.data(), y.data(), p.planes, p.h, p.w, include_pad, divisor}, Device::cuda);
  average_pool_backward({dy.data(), dx.data(), p.planes, p.h, p.w, include_pad, divisor}, Device::cuda);
  r.y = y.values(), r.dx = dx.values();
  return r;
}

/// Adaptive windows over `in` pixels, as many of them as the axes' kernels say.
Averages adaptive(const Problem& p, Device device) {
  const std::int64_t out_h = p.h.kernel, out_w = p.w.kernel;
  const Values gradient = elements(p.planes * out_h * out_w, 1000003);
  const DeviceValues<float> x(p.x), dy(gradient);
  const DeviceValues<float> y(gradient), dx(p.x);
  Averages r(p);
  if (device == Device::cuda) {
    adaptive_average_pool({x.data(), y.data(), p.planes, p.h.in, p.w.in, out_h, out_w}, device);
    adaptive_average_pool_backward({dy.data(), dx.data(), p.planes, p.h.in, p.w.in, out_h, out_w}, device);
    r.y = y.values(), r.dx = dx.values();
  } else {
    r.y.assign(gradient.size(), -1);
    adaptive_average_pool({p.x.data(), r.y.data(), p.planes, p.h.in, p.w.in, out_h, out_w});
    adaptive_average_pool_backward({gradient.data(), r.dx.data(), p.planes, p.h.in, p.w.in, out_h, out_w});
  }
  return r;
}

class PoolGpu : public GpuSuite<> {
 protected:
  static void expect_the_cpus_bits(const Problem& p) {
    SCOPED_TRACE(std::to_string(p.planes) + " planes, " + text(p.h) + " x " + text(p.w));
    expect_same(max_gpu(p), max_cpu(p));
    if (p.h.dilation != 1 || p.w.dilation != 1) return;
    expect_same(average_gpu(p, true), average_cpu(p, true));
    expect_same(average_gpu(p, false), average_cpu(p, false));
    expect_same(average_gpu(p, true, 3), average_cpu(p, true, 3));
    expect_same(adaptive(p, Device::cuda), adaptive(p, Device::cpu));
  }
};

TEST_F(PoolGpu, GivesTheExpectedBits) {
  for (const PoolVector& vector : kPoolVectors) {
    SCOPED_TRACE(text(vector.h) + " x " + text(vector.w));
    const Problem p(vector.planes, vector.h, vector.w);
    const Maxima maxima = max_gpu(p);
    EXPECT_EQ(fnv(maxima.y), vector.max);
    EXPECT_EQ(fnv(maxima.indices), vector.indices);
    EXPECT_EQ(fnv(maxima.dx), vector.max_dx);
    if (vector.h.dilation != 1 || vector.w.dilation != 1) continue;
    const Averages averages = average_gpu(p, true);
    EXPECT_EQ(fnv(averages.y), vector.average);
    EXPECT_EQ(fnv(averages.dx), vector.average_dx);
  }
}

TEST_F(PoolGpu, HasTheCpusBits) {
  for (const Problem& p : problems()) expect_the_cpus_bits(p);
  for (std::int64_t dilation = 2; dilation < 5; ++dilation)
    for (std::int64_t stride = 1; stride < 4; ++stride)
      for (const std::int64_t pad : {std::int64_t{0}, dilation})
        expect_the_cpus_bits(Problem(2, PoolAxis{9, 2, 2, 1, 2}, PoolAxis{33, 3, stride, pad, dilation}));
  expect_the_cpus_bits(Problem(0, PoolAxis{6, 2, 2}, PoolAxis{40, 2, 2}));
}

TEST_F(PoolGpu, RandomShapesHaveTheCpusBits) {
  const std::uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto from = [&](std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random);
  };
  const auto axis = [&](std::int64_t most_dilation) {
    PoolAxis a;
    do {
      a = {from(1, 40), from(1, 6), from(1, 5), 0, from(1, most_dilation), from(0, 1) == 1};
      a.pad = from(0, (a.dilation * (a.kernel - 1) + 1) / 2);
    } while (a.out() < 1);
    return a;
  };
  for (int i = 0; i < 300; ++i) {
    const std::int64_t most_dilation = i % 3 == 0 ? 3 : 1;
    const PoolAxis h = axis(most_dilation), w = axis(most_dilation);
    expect_the_cpus_bits(Problem(from(1, 5), h, w));
  }
}

TEST_F(PoolGpu, SpecialValuesGoWhereTheCpusGo) {
  const float special[] = {
      0.0f, -0.0f, std::bit_cast<float>(1u), -std::bit_cast<float>(7u), 3e38f, -kInfinity, kNaN, kInfinity};
  for (const std::int64_t stride : {1, 2, 3}) {
    Problem p(4, PoolAxis{9, 3, stride, 1}, PoolAxis{21, 2, stride, 1, 1, true});
    for (std::size_t i = 0; i < p.x.size(); i += 3) p.x[i] = special[i / 3 * 2654435761u % 8];
    for (std::size_t i = 0; i < p.dy.size(); i += 3) p.dy[i] = special[i * 2654435761u % 8];
    expect_the_cpus_bits(p);
    for (float& value : p.x) value = std::signbit(value) ? -kInfinity : -0.0f;
    std::fill(p.dy.begin(), p.dy.end(), -0.0f);
    expect_the_cpus_bits(p);
  }
  expect_the_cpus_bits(Problem(1, PoolAxis{}, PoolAxis{1, 2, 1, 3, 5}));  // windows without a pixel
}

TEST_F(PoolGpu, IndicesMayBeUnwantedAndForeignOnesAreNaN) {
  const Problem p(2, PoolAxis{4, 2, 2}, PoolAxis{4, 2, 2});
  const DeviceValues<float> x(p.x), dy(p.dy), y(Values(8)), dx(Values(32));
  max_pool({x.data(), y.data(), nullptr, 2, p.h, p.w}, Device::cuda);
  EXPECT_EQ(differences(y.values(), max_cpu(p).y), 0u);
  // Of no plane, of no plane, of another window; -1 wins nothing.
  const DeviceValues<std::int64_t> indices(Indices{0, 16, -2, 10, -1, 2, 5, 14});
  max_pool_backward({dy.data(), indices.data(), dx.data(), 2, p.h, p.w}, Device::cuda);
  Values expected(32, 0.0f);
  for (const std::size_t lost : {2, 3, 6, 7, 8, 9, 12, 13, 24, 25, 28, 29}) expected[lost] = kNaN;
  expected[0] = p.dy[0], expected[10] = p.dy[3], expected[16 + 2] = p.dy[5], expected[16 + 14] = p.dy[7];
  EXPECT_EQ(differences(dx.values(), expected), 0u);
}

TEST_F(PoolGpu, NumbersBeyond32BitsHaveAFormOfTheirOwn) {
  constexpr std::int64_t kFar = std::int64_t{1} << 40;
  expect_the_cpus_bits(Problem(3, PoolAxis{7, 3, 2, 1}, PoolAxis{40, 7, kFar}));
  expect_the_cpus_bits(Problem(3, PoolAxis{7, 1, 2, 0, kFar}, PoolAxis{40, 3, 2, 1}));
}

TEST_F(PoolGpu, ManyPlanesTakeSeveralRoundsOfBlocks) {
  expect_the_cpus_bits(Problem(3000, PoolAxis{28, 2, 2}, PoolAxis{28, 2, 2}));
}

// ---- Refusals

TEST(Pool, RefusesAxesThatMakeNoSense) {
  const Values memory(1000);
  Values out(1000);
  const auto refused = [&](const PoolAxis& axis, const char* words) {
    expect_refusal([&] { max_pool({memory.data(), out.data(), nullptr, 1, PoolAxis{}, axis}); }, words);
    expect_refusal([&] { average_pool({memory.data(), out.data(), 1, axis, PoolAxis{}}); }, words);
    expect_refusal([&] { average_pool_backward({memory.data(), out.data(), 1, axis, PoolAxis{}}); }, words);
  };
  refused({0, 2, 2}, "in");
  refused({8, 0, 2}, "kernel");
  refused({8, 2, 0}, "stride");
  refused({8, 2, 2, -1}, "pad");
  refused({8, 2, 2, 2}, "at most half of the window's 2");
  refused({8, 2, 2, 0, 0}, "dilation");
  refused({8, 9, 2}, "fits the padded image of 8");
  expect_refusal([&] { average_pool({memory.data(), out.data(), 1, {8, 2, 2, 0, 2}, {}}); }, "dilation");
  expect_refusal([&] { average_pool({memory.data(), out.data(), -1, {8, 2, 2}, {}}); }, "planes");
  expect_refusal([&] { average_pool({memory.data(), out.data(), 1, {8, 2, 2}, {}, true, -2}); }, "divisor");
  expect_refusal([&] { adaptive_average_pool({memory.data(), out.data(), 1, 4, 4, 0, 1}); }, "out_h");
  expect_refusal([&] { adaptive_average_pool_backward({memory.data(), out.data(), 1, 4, 0, 1, 1}); }, "in_w");
}

TEST(Pool, AWindowLargerThanTheImageNeedsCeilMode) {
  EXPECT_EQ((PoolAxis{2, 3, 2, 0, 1, true}.out()), 1);
  EXPECT_EQ((PoolAxis{2, 3, 2}.out()), 0);
}

TEST(Pool, RefusesMissingMemoryAndForeignIndices) {
  const Values memory(1000);
  Values out(1000);
  const Indices indices{0, 8};
  const PoolAxis axis{4, 2, 2};
  expect_refusal([&] { max_pool({nullptr, out.data(), nullptr, 1, {}, axis}); }, "x");
  expect_refusal([&] { max_pool({memory.data(), nullptr, nullptr, 1, {}, axis}); }, "y");
  expect_refusal([&] { max_pool_backward({memory.data(), nullptr, out.data(), 1, {}, axis}); }, "indices");
  expect_refusal(
      [&] {
        max_pool_backward({memory.data(), indices.data(), out.data(), 1, {}, axis});
      },
      "a pixel of the plane, 0 … 3");
  expect_refusal([&] { average_pool_backward({memory.data(), nullptr, 1, {}, axis}); }, "dx");
  expect_refusal([&] { adaptive_average_pool({nullptr, out.data(), 1, 4, 4, 2, 2}); }, "x");
}

TEST(Pool, RefusesCudaWithoutADeviceByName) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  const PoolAxis axis{4, 2, 2};
  const Values memory(16);
  const Indices indices(2);
  Values out(16);
  const float* const in = memory.data();
  const auto unsupported = [](auto call, const char* words) {
    expect_refusal(call, words, ErrorCode::unsupported);
  };
  unsupported([&] { max_pool(MaxPool{in, out.data(), nullptr, 1, {}, axis}, Device::cuda); }, "pool");
  unsupported(
      [&] {
        max_pool_backward(MaxPoolBackward{in, indices.data(), out.data(), 1, {}, axis}, Device::cuda);
      },
      "Device::cpu");
  unsupported([&] { average_pool(AveragePool{in, out.data(), 1, {}, axis}, Device::cuda); }, "pool");
  unsupported(
      [&] {
        average_pool_backward(AveragePoolBackward{in, out.data(), 1, {}, axis}, Device::cuda);
      },
      "pool");
  unsupported(
      [&] {
        adaptive_average_pool(AdaptiveAveragePool{in, out.data(), 1, 4, 4, 2, 2}, Device::cuda);
      },
      "pool");
  unsupported(
      [&] {
        adaptive_average_pool_backward(AdaptiveAveragePoolBackward{in, out.data(), 1, 4, 4, 2, 2},
                                       Device::cuda);
      },
      "pool");
}

// ---- float64

TEST(PoolFp64, IsCloseToTheFloatForm) {
  using Wide = std::vector<double>;
  const Problem p(3, {9, 3, 2, 1}, {8, 2, 1, 1, 1, true});
  const Wide x(p.x.begin(), p.x.end()), dy(p.dy.begin(), p.dy.end());
  const auto expect_close = [](const Wide& got, const Values& expected) {
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i)
      EXPECT_NEAR(got[i], expected[i], 1e-5 * (1 + std::fabs(got[i])));
  };
  Wide y(dy.size()), dx(x.size());
  Indices indices(dy.size());
  max_pool({x.data(), y.data(), indices.data(), p.planes, p.h, p.w});
  max_pool_backward({dy.data(), indices.data(), dx.data(), p.planes, p.h, p.w});
  const Maxima maxima = max_cpu(p);
  EXPECT_EQ(indices, maxima.indices);
  expect_close(y, maxima.y);
  expect_close(dx, maxima.dx);

  average_pool({x.data(), y.data(), p.planes, p.h, p.w, false});
  average_pool_backward({dy.data(), dx.data(), p.planes, p.h, p.w, false});
  const Averages averages = average_cpu(p, false);
  expect_close(y, averages.y);
  expect_close(dx, averages.dx);

  Wide adaptive(3 * 4 * 3), adaptive_dx(x.size());
  Values narrow(adaptive.size()), narrow_dx(x.size());
  adaptive_average_pool({x.data(), adaptive.data(), 3, 9, 8, 4, 3});
  adaptive_average_pool({p.x.data(), narrow.data(), 3, 9, 8, 4, 3});
  adaptive_average_pool_backward({dy.data(), adaptive_dx.data(), 3, 9, 8, 4, 3});
  adaptive_average_pool_backward({p.dy.data(), narrow_dx.data(), 3, 9, 8, 4, 3});
  expect_close(adaptive, narrow);
  expect_close(adaptive_dx, narrow_dx);
}

TEST(PoolFp64, AnAverageIsNotRoundedToAFloat) {
  const double x[3] = {1.0, 1.0, 1.0 + 1e-12};
  double y = 0;
  average_pool({x, &y, 1, {}, {3, 3, 1}});
  EXPECT_DOUBLE_EQ(y, 1.0 + 1e-12 / 3);
}

TEST(PoolFp64, RefusesAsTheFloatFormDoes) {
  double m[8] = {};
  const Indices indices{0, -2};
  const PoolAxis axis{4, 2, 2};
  expect_refusal([&] { max_pool({m, m, nullptr, -1, {}, axis}); }, "planes: expected 0 or more, got -1");
  expect_refusal([&] { max_pool({nullptr, m, nullptr, 1, {}, axis}); }, "x");
  expect_refusal(
      [&] {
        max_pool_backward({m, indices.data(), m, 1, {}, axis});
      },
      "a pixel of the plane, 0 … 3");
  expect_refusal(
      [&] {
        average_pool({m, m, 1, {}, axis}, Device::cuda);
      },
      "Device::cuda", ErrorCode::unsupported);
}

TEST(PoolRef, TakesDoubles) {
  const std::vector<double> x{1, 3, 2, 1e-300};
  std::vector<double> y(2);
  const PoolAxis axis{4, 2, 2};
  max_pool_ref<double>(x.data(), y.data(), nullptr, 1, PoolAxis{}, axis);
  EXPECT_EQ(y, (std::vector<double>{3, 2}));
}

}  // namespace
}  // namespace lockstep
