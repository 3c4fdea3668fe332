#include "lockstep/norm/norm.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device_values_test.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/flushing_caller_test.h"
#include "lockstep/norm/norm_ref.h"
#include "lockstep/norm/norm_vectors.h"
#include "lockstep/order/cuts_test.h"
#include "lockstep/simd/every_form_test.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

Values elements(std::int64_t count, std::uint32_t first) {
  Values values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = norm_element(first + static_cast<std::uint32_t>(i));
  return values;
}

void expect_same(const Values& got, const Values& expected, const char* what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(expected[i])) {  // payloads are outside the promise
      ASSERT_TRUE(std::isnan(got[i])) << what << ", element " << i;
    } else {
      ASSERT_EQ(bits(got[i]), bits(expected[i])) << what << ", element " << i << " of " << got.size();
    }
  }
}

std::uint64_t fnv(const Values& values) {
  std::uint64_t word = 14695981039346656037u;
  for (const float value : values) word = (word ^ bits(value)) * 1099511628211u;
  return word;
}

/// What a forward and a backward give.
struct Results {
  Values y, mean, rstd, dx, dgamma, dbeta;
};

void expect_same(const Results& got, const Results& expected) {
  expect_same(got.y, expected.y, "y");
  expect_same(got.mean, expected.mean, "mean");
  expect_same(got.rstd, expected.rstd, "rstd");
  expect_same(got.dx, expected.dx, "dx");
  expect_same(got.dgamma, expected.dgamma, "dgamma");
  expect_same(got.dbeta, expected.dbeta, "dbeta");
}

/// A batch [samples, channels, pixels] in groups. LayerNorm and RMSNorm: a sample is a row, a channel a
/// feature, one pixel.
struct Problem {
  enum class Kind { layer, rms, group };

  Problem(Kind kind_, std::int64_t samples_, std::int64_t channels_, std::int64_t pixels_ = 1,
          std::int64_t groups_ = 1)
      : kind(kind_),
        samples(samples_),
        channels(channels_),
        pixels(pixels_),
        groups(groups_),
        x(elements(samples * channels * pixels, 0)),
        dy(elements(samples * channels * pixels, 1000003)),
        gamma(elements(channels, 2000003)),
        beta(elements(channels, 3000003)) {}

  bool is_centered() const { return kind != Kind::rms; }
  std::int64_t sample_elements() const { return channels * pixels; }
  const float* gamma_or_null() const { return has_gamma ? gamma.data() : nullptr; }
  const float* beta_or_null() const { return has_beta ? beta.data() : nullptr; }
  Problem one_sample(std::int64_t n) const {
    Problem one = *this;
    one.samples = 1;
    const auto cut = [&](const Values& all) {
      return Values(all.begin() + n * sample_elements(), all.begin() + (n + 1) * sample_elements());
    };
    one.x = cut(x), one.dy = cut(dy);
    return one;
  }
  Results empty() const {
    Results r;
    r.y.assign(x.size(), -1), r.dx.assign(x.size(), -1);
    r.mean.assign(static_cast<std::size_t>(samples * groups), is_centered() ? -1.0f : 0.0f);
    r.rstd.assign(r.mean.size(), -1);
    r.dgamma.assign(static_cast<std::size_t>(channels), 0),
        r.dbeta.assign(static_cast<std::size_t>(channels), 0);
    return r;
  }

  Kind kind;
  std::int64_t samples, channels, pixels, groups;
  Values x, dy, gamma, beta;
  bool has_gamma = true, has_beta = true;
};

// ---- The reference

Results run_ref(const Problem& p) {
  Results r = p.empty();
  const std::int64_t n = p.sample_elements() / p.groups, wide = p.channels / p.groups;
  for (std::int64_t sample = 0; sample < p.samples; ++sample) {
    for (std::int64_t group = 0; group < p.groups; ++group) {
      const std::int64_t offset = (sample * p.groups + group) * n;
      const auto statistic = static_cast<std::size_t>(sample * p.groups + group);
      const auto channel = [&](std::int64_t j) {
        return static_cast<std::size_t>(group * wide + j / p.pixels);
      };
      const auto gamma = [&](std::int64_t j) { return p.has_gamma ? p.gamma[channel(j)] : 1.0f; };
      const auto beta = [&](std::int64_t j) { return p.has_beta ? p.beta[channel(j)] : 0.0f; };
      norm_row_ref<float>(p.x.data() + offset, gamma, beta, r.y.data() + offset, r.mean[statistic],
                          r.rstd[statistic], n, 1e-5f, p.is_centered());
      norm_row_backward_ref<float>(p.dy.data() + offset, p.x.data() + offset, r.mean[statistic],
                                   r.rstd[statistic], gamma, r.dx.data() + offset, n, p.is_centered());
    }
  }
  const order::FoldSpan span{0, p.samples * p.pixels, true};
  for (std::int64_t channel = 0; channel < p.channels; ++channel) {
    const auto place = [&](std::int64_t row) {
      return static_cast<std::size_t>((row / p.pixels * p.channels + channel) * p.pixels + row % p.pixels);
    };
    const auto normalized = [&](std::int64_t row) {
      const auto statistic = static_cast<std::size_t>(row / p.pixels * p.groups + channel / wide);
      return p.is_centered() ? norm::centered(p.x[place(row)], r.mean[statistic], r.rstd[statistic])
                             : norm::uncentered(p.x[place(row)], r.rstd[statistic]);
    };
    const auto c = static_cast<std::size_t>(channel);
    const auto dy = [&](std::int64_t row) { return p.dy[place(row)]; };
    norm_gamma_fold_ref<float>(span, dy, normalized, r.dgamma[c], nullptr);
    norm_beta_fold_ref<float>(span, dy, r.dbeta[c], nullptr);
  }
  if (!p.is_centered()) std::fill(r.dbeta.begin(), r.dbeta.end(), 0.0f);  // RMSNorm has none
  return r;
}

// ---- The CPU twin, the global batch cut after `ends` samples

Results run_cpu(const Problem& p, const std::vector<std::int64_t>& ends, bool in_place = false) {
  Results r = p.empty();
  Values dgamma_open(r.dgamma.size(), std::nanf("")), dbeta_open = dgamma_open;
  if (in_place) r.y = p.x, r.dx = p.dy;
  const float* const source = in_place ? r.y.data() : p.x.data();
  const float* const gradient = in_place ? r.dx.data() : p.dy.data();
  std::int64_t first = 0;
  for (std::size_t cut = 0; cut < ends.size(); first = ends[cut], ++cut) {
    const std::int64_t count = ends[cut] - first, offset = first * p.sample_elements(),
                       group = first * p.groups;
    const order::FoldSpan span{first * p.pixels, count * p.pixels, cut + 1 == ends.size()};
    const bool has_open = order::needs_open_partial(span);
    const NormFold dgamma{r.dgamma.data(), has_open ? dgamma_open.data() : nullptr};
    const NormFold dbeta{r.dbeta.data(), has_open ? dbeta_open.data() : nullptr};
    const float* const x = source + offset;
    float* const mean = r.mean.data() + group;
    float* const rstd = r.rstd.data() + group;
    float* const y = r.y.data() + offset;
    const float* const kept = p.x.data() + offset;  // the backward needs x as it was
    if (p.kind == Problem::Kind::layer) {
      layer_norm({x, p.gamma_or_null(), p.beta_or_null(), y, mean, rstd, count, p.channels});
      layer_norm_backward({gradient + offset, kept, mean, rstd, p.gamma_or_null(), r.dx.data() + offset,
                           dgamma, dbeta, span, p.channels});
    } else if (p.kind == Problem::Kind::rms) {
      rms_norm({x, p.gamma_or_null(), y, rstd, count, p.channels});
      rms_norm_backward(
          {gradient + offset, kept, rstd, p.gamma_or_null(), r.dx.data() + offset, dgamma, span, p.channels});
    } else {
      group_norm(
          {x, p.gamma_or_null(), p.beta_or_null(), y, mean, rstd, count, p.channels, p.pixels, p.groups});
      group_norm_backward({gradient + offset, kept, mean, rstd, p.gamma_or_null(), r.dx.data() + offset,
                           dgamma, dbeta, span, count, p.channels, p.pixels, p.groups});
    }
  }
  return r;
}

Results run_cpu(const Problem& p) { return run_cpu(p, {p.samples}); }

using Kind = Problem::Kind;

// ---- Expected bits

template <class Vector>
void expect_vector(const Results& got, const Vector& vector, bool has_beta) {
  EXPECT_EQ(bits(got.y[0]), vector.first_y);
  EXPECT_EQ(bits(got.dx[0]), vector.first_dx);
  EXPECT_EQ(bits(got.dgamma[0]), vector.first_dgamma);
  EXPECT_EQ(fnv(got.y), vector.y);
  EXPECT_EQ(fnv(got.dx), vector.dx);
  EXPECT_EQ(fnv(got.dgamma), vector.dgamma);
  if (!has_beta) return;
  EXPECT_EQ(bits(got.dbeta[0]), vector.first_dbeta);
  EXPECT_EQ(fnv(got.dbeta), vector.dbeta);
}

TEST(Norm, RowsGiveTheExpectedBits) {
  for (const NormVector& vector : kNormVectors) {
    SCOPED_TRACE(std::to_string(vector.rows) + " × " + std::to_string(vector.features));
    const Problem p(vector.is_centered ? Kind::layer : Kind::rms, vector.rows, vector.features);
    expect_vector(run_ref(p), vector, vector.is_centered);
    simd::in_every_form([&] { expect_vector(run_cpu(p), vector, vector.is_centered); });
  }
}

TEST(Norm, GroupsGiveTheExpectedBits) {
  for (const GroupNormVector& vector : kGroupNormVectors) {
    SCOPED_TRACE(std::to_string(vector.channels) + " × " + std::to_string(vector.pixels));
    const Problem p(Kind::group, vector.samples, vector.channels, vector.pixels, vector.groups);
    expect_vector(run_ref(p), vector, true);
    simd::in_every_form([&] { expect_vector(run_cpu(p), vector, true); });
  }
}

// ---- The vector forms against the reference

std::vector<Problem> problems() {
  std::vector<Problem> all;
  for (const Kind kind : {Kind::layer, Kind::rms}) {
    for (std::int64_t features = 1; features < 36; ++features) all.emplace_back(kind, 3, features);
    for (const std::int64_t features : {64, 127, 128, 129, 200, 384, 1000, 8192, 8193, 9300, 70000})
      all.emplace_back(kind, 2, features);
    all.emplace_back(kind, 2500, 33);
    all.emplace_back(kind, 3073, 4);
  }
  all.emplace_back(Kind::group, 3, 6, 7, 2);
  all.emplace_back(Kind::group, 2, 32, 64, 8);
  all.emplace_back(Kind::group, 5, 20, 225, 4);
  all.emplace_back(Kind::group, 2, 17, 1030, 17);
  all.emplace_back(Kind::group, 1, 40, 40, 1);
  all.emplace_back(Kind::group, 33, 8, 100, 2);
  all.emplace_back(Kind::group, 3, 20, 144, 5);  // channels of whole vectors
  all.emplace_back(Kind::group, 2, 24, 1040, 2);
  return all;
}

TEST(NormCpu, IsTheReference) {
  for (const Problem& p : problems()) {
    SCOPED_TRACE(std::to_string(p.samples) + " × " + std::to_string(p.channels) + " × " +
                 std::to_string(p.pixels));
    const Results expected = run_ref(p);
    simd::in_every_form([&] { expect_same(run_cpu(p), expected); });
  }
}

TEST(NormCpu, GammaAndBetaMayBeAbsent) {
  for (Problem p : {Problem(Kind::layer, 5, 24), Problem(Kind::rms, 5, 24),
                    Problem(Kind::group, 5, 24, 10, 3), Problem(Kind::group, 3, 24, 48, 3)}) {
    for (int which = 0; which < 3; ++which) {
      p.has_gamma = (which & 1) != 0, p.has_beta = (which & 2) != 0;
      const Results expected = run_ref(p);
      simd::in_every_form([&] { expect_same(run_cpu(p), expected); });
    }
  }
}

TEST(NormCpu, InPlaceGivesTheSame) {
  for (const Problem& p : {Problem(Kind::layer, 1500, 40), Problem(Kind::rms, 7, 300),
                           Problem(Kind::layer, 2100, 40), Problem(Kind::group, 4, 12, 50, 3)}) {
    const Results expected = run_ref(p);
    simd::in_every_form([&] { expect_same(run_cpu(p, {p.samples}, true), expected); });
  }
}

TEST(NormCpu, SamplesDoNotKnowEachOther) {
  for (const Problem& p :
       {Problem(Kind::layer, 9, 200), Problem(Kind::rms, 9, 9000), Problem(Kind::group, 5, 12, 30, 3)}) {
    simd::in_every_form([&] {
      const Results together = run_cpu(p);
      for (std::int64_t n = 0; n < p.samples; ++n) {
        const Results alone = run_cpu(p.one_sample(n));
        const auto begin = static_cast<std::ptrdiff_t>(n * p.sample_elements());
        const auto end = begin + static_cast<std::ptrdiff_t>(p.sample_elements());
        expect_same(Values(together.y.begin() + begin, together.y.begin() + end), alone.y, "y");
        expect_same(Values(together.dx.begin() + begin, together.dx.begin() + end), alone.dx, "dx");
      }
    });
  }
}

TEST(NormCpu, EveryCutOfTheBatchGivesTheSameBits) {
  for (const Problem& p :
       {Problem(Kind::layer, 2600, 19), Problem(Kind::rms, 2600, 19), Problem(Kind::group, 26, 20, 100, 4)}) {
    const Results whole = run_cpu(p);
    simd::in_every_form([&] {
      for (const std::int64_t size : {7, 333, 1024}) {
        if (size < 300 && p.samples > 100) continue;
        std::vector<std::int64_t> ends = ends_of_pieces(p.samples, size);
        expect_same(run_cpu(p, ends), whole);
        ends.push_back(p.samples);  // a last call without samples closes the fold
        expect_same(run_cpu(p, ends), whole);
      }
      expect_same(run_cpu(p, {3, 5, p.samples - 1, p.samples}), whole);
    });
  }
}

TEST(NormCpu, WhatIsNotWantedIsNotNeeded) {
  const Problem p(Kind::layer, 1100, 21);
  const Results expected = run_ref(p);
  const order::FoldSpan span{0, 1100, true};
  simd::in_every_form([&] {
    Results r = p.empty();
    layer_norm({p.x.data(), p.gamma.data(), p.beta.data(), r.y.data(), nullptr, nullptr, 1100, 21});
    expect_same(r.y, expected.y, "y");
    const auto backward = [&](float* dx, NormFold dgamma, NormFold dbeta) {
      layer_norm_backward({p.dy.data(), p.x.data(), expected.mean.data(), expected.rstd.data(),
                           p.gamma.data(), dx, dgamma, dbeta, span, 21});
    };
    backward(r.dx.data(), {}, {});
    expect_same(r.dx, expected.dx, "dx");
    backward(nullptr, {r.dgamma.data()}, {});
    expect_same(r.dgamma, expected.dgamma, "dgamma");
    layer_norm_backward(
        {p.dy.data(), nullptr, nullptr, nullptr, nullptr, nullptr, {}, {r.dbeta.data()}, span, 21});
    expect_same(r.dbeta, expected.dbeta, "dbeta");
    backward(nullptr, {}, {});
  });
}

TEST(NormCpu, EmptyExtents) {
  for (const Kind kind : {Kind::layer, Kind::rms}) {
    const Results none = run_cpu(Problem(kind, 0, 7));
    EXPECT_TRUE(none.y.empty());
    for (const float gradient : none.dgamma) EXPECT_EQ(bits(gradient), 0u);
    EXPECT_TRUE(run_cpu(Problem(kind, 3, 0)).y.empty());
  }
  EXPECT_TRUE(run_cpu(Problem(Kind::group, 2, 4, 0, 2)).y.empty());
  EXPECT_TRUE(run_cpu(Problem(Kind::group, 0, 4, 5, 2)).y.empty());
}

TEST(NormCpu, SpecialValuesStayInTheirRow) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float special :
       {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity, 3e38f, 1e-45f, -0.0f}) {
    for (const Kind kind : {Kind::layer, Kind::rms}) {
      Problem p(kind, 3, 37);
      p.x[37 + 5] = special;
      const Results expected = run_ref(p);
      EXPECT_FALSE(std::isnan(expected.y[0]) || std::isnan(expected.y[80]));
      simd::in_every_form([&] { expect_same(run_cpu(p), expected); });
    }
  }
  Problem same(Kind::layer, 1, 40);
  std::fill(same.x.begin(), same.x.end(), 2.5f);
  const Results constant = run_cpu(same);
  for (std::size_t j = 0; j < 40; ++j) EXPECT_EQ(constant.y[j], same.beta[j]) << "no deviation, only beta";
}

// ---- CUDA: the CPU's bits

/// As many numbers as a backward's scratch has, which would show.
Values scratch_values(std::int64_t features, const order::FoldSpan& span) {
  return Values(static_cast<std::size_t>(norm_backward_scratch_bytes(features, span)) / sizeof(float),
                std::nanf(""));
}

/// As run_cpu.
Results run_gpu(const Problem& p, const std::vector<std::int64_t>& ends, bool in_place = false) {
  Results r = p.empty();
  DeviceValues<float> x(p.x), kept(p.x), dy(p.dy), gamma(p.gamma), beta(p.beta), y(r.y), mean(r.mean),
      rstd(r.rstd), dx(r.dx), dgamma(r.dgamma), dbeta(r.dbeta),
      dgamma_open(Values(r.dgamma.size(), std::nanf(""))), dbeta_open(Values(r.dgamma.size(), std::nanf("")));
  const float* const gamma_or_null = p.has_gamma ? gamma.data() : nullptr;
  const float* const beta_or_null = p.has_beta ? beta.data() : nullptr;
  DeviceValues<float>& target = in_place ? x : y;
  DeviceValues<float>& gradient = in_place ? dy : dx;
  std::int64_t first = 0;
  for (std::size_t cut = 0; cut < ends.size(); first = ends[cut], ++cut) {
    const std::int64_t count = ends[cut] - first, offset = first * p.sample_elements(),
                       group = first * p.groups;
    const order::FoldSpan span{first * p.pixels, count * p.pixels, cut + 1 == ends.size()};
    const bool has_open = order::needs_open_partial(span);
    const DeviceValues<float> scratch(scratch_values(p.channels, span));
    const NormFold of_gamma{dgamma.data(), has_open ? dgamma_open.data() : nullptr};
    const NormFold of_beta{dbeta.data(), has_open ? dbeta_open.data() : nullptr};
    if (p.kind == Problem::Kind::layer) {
      layer_norm({x.data() + offset, gamma_or_null, beta_or_null, target.data() + offset, mean.data() + first,
                  rstd.data() + first, count, p.channels},
                 Device::cuda);
      layer_norm_backward(
          {dy.data() + offset, kept.data() + offset, mean.data() + first, rstd.data() + first, gamma_or_null,
           gradient.data() + offset, of_gamma, of_beta, span, p.channels, scratch.data()},
          Device::cuda);
    } else if (p.kind == Problem::Kind::group) {
      group_norm({x.data() + offset, gamma_or_null, beta_or_null, target.data() + offset, mean.data() + group,
                  rstd.data() + group, count, p.channels, p.pixels, p.groups},
                 Device::cuda);
      group_norm_backward({dy.data() + offset, kept.data() + offset, mean.data() + group, rstd.data() + group,
                           gamma_or_null, gradient.data() + offset, of_gamma, of_beta, span, count,
                           p.channels, p.pixels, p.groups, scratch.data()},
                          Device::cuda);
    } else {
      rms_norm(
          {x.data() + offset, gamma_or_null, target.data() + offset, rstd.data() + first, count, p.channels},
          Device::cuda);
      rms_norm_backward({dy.data() + offset, kept.data() + offset, rstd.data() + first, gamma_or_null,
                         gradient.data() + offset, of_gamma, span, p.channels, scratch.data()},
                        Device::cuda);
    }
    scratch.values();  // no more than it is written
  }
  r.y = target.values(), r.mean = mean.values(), r.rstd = rstd.values(), r.dx = gradient.values();
  r.dgamma = dgamma.values(), r.dbeta = dbeta.values();
  return r;
}

class NormDevice : public GpuSuite<> {
 protected:
  static void expect_the_cpus_bits(const Problem& p, const std::vector<std::int64_t>& ends,
                                   bool in_place = false) {
    SCOPED_TRACE(std::to_string(p.samples) + " × " + std::to_string(p.channels) + " × " +
                 std::to_string(p.pixels) + " / " + std::to_string(p.groups));
    expect_same(run_gpu(p, ends, in_place), run_cpu(p));
  }
  static void expect_the_cpus_bits(const Problem& p) { expect_the_cpus_bits(p, {p.samples}); }
};

class NormGpu : public NormDevice, public testing::WithParamInterface<Kind> {};
INSTANTIATE_TEST_SUITE_P(Gpu, NormGpu, testing::Values(Kind::layer, Kind::rms));

// Each way to work on a row begins and ends at one of these lengths.
TEST_P(NormGpu, HasTheCpusBits) {
  for (const std::int64_t edge : {2, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536}) {
    for (const std::int64_t features : {edge - 1, edge, edge + 1})
      expect_the_cpus_bits(Problem(GetParam(), edge > 1024 ? 3 : 35, features));
  }
  for (const auto& [rows, features] : {std::pair{2500, 33}, {3073, 4}, {70'000, 3}, {2, 200'001}})
    expect_the_cpus_bits(Problem(GetParam(), rows, features));
}

TEST_P(NormGpu, GammaAndBetaMayBeAbsent) {
  for (Problem p : {Problem(GetParam(), 5, 24), Problem(GetParam(), 3, 9000)}) {
    for (int which = 0; which < 3; ++which) {
      p.has_gamma = (which & 1) != 0, p.has_beta = (which & 2) != 0;
      expect_the_cpus_bits(p);
    }
  }
}

TEST_P(NormGpu, InPlaceGivesTheSame) {
  for (const auto& [rows, features] : {std::pair{2100, 40}, {7, 300}, {3, 5000}, {2, 20'000}}) {
    const Problem p(GetParam(), rows, features);
    expect_the_cpus_bits(p, {p.samples}, true);
  }
}

TEST_P(NormGpu, EveryCutOfTheBatchGivesTheSameBits) {
  const Problem p(GetParam(), 2600, 19);
  for (const std::int64_t size : {333, 1024, 1500}) {
    std::vector<std::int64_t> ends = ends_of_pieces(p.samples, size);
    expect_the_cpus_bits(p, ends);
    ends.push_back(p.samples);  // a last call without samples closes the fold
    expect_the_cpus_bits(p, ends);
  }
  expect_the_cpus_bits(p, {3, 5, p.samples - 1, p.samples});
}

TEST_P(NormGpu, EmptyExtentsAndSpecialValues) {
  expect_the_cpus_bits(Problem(GetParam(), 0, 7));
  expect_the_cpus_bits(Problem(GetParam(), 3, 0));
  const float special[] = {0.0f,       -0.0f,        std::bit_cast<float>(1u), 3e38f, -3e38f, HUGE_VALF,
                           -HUGE_VALF, std::nanf("")};
  for (const std::int64_t features : {5, 300, 3000}) {
    Problem p(GetParam(), 70, features);
    for (std::int64_t r = 0; r < 70; r += 2) {
      p.x[static_cast<std::size_t>(r * features + 1)] = special[r / 2 % 8];
      p.dy[static_cast<std::size_t>(r * features + 2)] = special[(r / 2 + r / 16) % 8];
    }
    expect_the_cpus_bits(p);
    std::fill(p.x.begin(), p.x.end(), 2.5f);
    std::fill(p.dy.begin(), p.dy.end(), -0.0f);
    expect_the_cpus_bits(p);
  }
}

class GroupNormGpu : public NormDevice {};

TEST_F(GroupNormGpu, HasTheCpusBits) {
  for (const Problem& p : problems())
    if (p.kind == Kind::group) expect_the_cpus_bits(p);
  // Each way to work on a group begins and ends at one of these numbers of elements.
  for (const std::int64_t edge : {2, 16, 32, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536}) {
    for (const std::int64_t pixels : {edge / 2 - 1, edge / 2, edge / 2 + 1})
      if (pixels > 0) expect_the_cpus_bits(Problem(Kind::group, edge > 1024 ? 2 : 9, 6, pixels, 3));
  }
  expect_the_cpus_bits(Problem(Kind::group, 3, 70'000, 1, 70'000));
  expect_the_cpus_bits(Problem(Kind::group, 70'000, 3, 2, 1));  // chunks of many waves
}

TEST_F(GroupNormGpu, GammaAndBetaMayBeAbsentAndInPlaceGivesTheSame) {
  Problem p(Kind::group, 5, 24, 10, 3);
  for (int which = 0; which < 4; ++which) {
    p.has_gamma = (which & 1) != 0, p.has_beta = (which & 2) != 0;
    expect_the_cpus_bits(p);
    expect_the_cpus_bits(p, {p.samples}, true);
  }
}

TEST_F(GroupNormGpu, EveryCutOfTheBatchGivesTheSameBits) {
  for (const Problem& p : {Problem(Kind::group, 26, 20, 100, 4), Problem(Kind::group, 2600, 4, 1, 2)}) {
    for (const std::int64_t size : {7, 10, 333, 1024}) {
      if (p.samples / size > 20) continue;
      std::vector<std::int64_t> ends = ends_of_pieces(p.samples, size);
      expect_the_cpus_bits(p, ends);
      ends.push_back(p.samples);  // a last call without samples closes the fold
      expect_the_cpus_bits(p, ends);
    }
    expect_the_cpus_bits(p, {3, 5, p.samples - 1, p.samples});
  }
}

TEST_F(GroupNormGpu, EmptyExtentsAndSpecialValues) {
  expect_the_cpus_bits(Problem(Kind::group, 2, 4, 0, 2));
  expect_the_cpus_bits(Problem(Kind::group, 0, 4, 5, 2));
  expect_the_cpus_bits(Problem(Kind::group, 2, 0, 5, 2));
  const float special[] = {0.0f,       -0.0f,        std::bit_cast<float>(1u), 3e38f, -3e38f, HUGE_VALF,
                           -HUGE_VALF, std::nanf("")};
  Problem p(Kind::group, 40, 6, 30, 3);
  for (std::size_t i = 0; i < p.x.size(); i += 120) {
    p.x[i] = special[i / 120 % 8];
    p.dy[i + 60] = special[(i / 120 + i / 960) % 8];
  }
  expect_the_cpus_bits(p);
}

TEST_F(GroupNormGpu, RandomShapesHaveTheCpusBits) {
  const std::uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto from = [&](std::int64_t least, std::int64_t most) {
    return std::uniform_int_distribution<std::int64_t>(least, most)(random);
  };
  for (int i = 0; i < 200; ++i) {
    const std::int64_t groups = from(1, 5), samples = from(1, 40);
    expect_the_cpus_bits(
        Problem(Kind::group, samples, groups * from(1, 4), from(1, i % 10 == 0 ? 700 : 60), groups));
  }
}

using NormGpuParts = GpuSuite<>;

TEST_F(NormGpuParts, NeedNoMoreThanWhatIsWanted) {
  const Problem p(Kind::layer, 1100, 21);
  const Results expected = run_ref(p);
  DeviceValues<float> x(p.x), dy(p.dy), gamma(p.gamma), beta(p.beta), mean(expected.mean),
      rstd(expected.rstd);
  DeviceValues<float> y(Values(p.x.size(), -1)), dx(Values(p.x.size(), -1)), dgamma(Values(21, 0)),
      dbeta(Values(21, 0));
  const order::FoldSpan span{0, 1100, true};
  const DeviceValues<float> scratch(scratch_values(21, span));
  layer_norm({x.data(), gamma.data(), beta.data(), y.data(), nullptr, nullptr, 1100, 21}, Device::cuda);
  expect_same(y.values(), expected.y, "y");
  layer_norm_backward(
      {dy.data(), x.data(), mean.data(), rstd.data(), gamma.data(), dx.data(), {}, {}, span, 21},
      Device::cuda);
  expect_same(dx.values(), expected.dx, "dx");
  layer_norm_backward({dy.data(),
                       x.data(),
                       mean.data(),
                       rstd.data(),
                       nullptr,
                       nullptr,
                       {dgamma.data()},
                       {},
                       span,
                       21,
                       scratch.data()},
                      Device::cuda);
  expect_same(dgamma.values(), expected.dgamma, "dgamma");
  layer_norm_backward(
      {dy.data(), nullptr, nullptr, nullptr, nullptr, nullptr, {}, {dbeta.data()}, span, 21, scratch.data()},
      Device::cuda);
  expect_same(dbeta.values(), expected.dbeta, "dbeta");
}

// ---- The suite can fail

TEST(NormTwin, OtherOrdersGoRed) {
  const Problem p(Kind::layer, 1, 1000);
  const Results expected = run_ref(p);
  float sum = 0;
  for (const float x : p.x) sum += x;
  EXPECT_NE(bits(sum / 1000), bits(expected.mean[0])) << "a plain sum";
  double exact = 0;
  for (const float x : p.x) exact += (x - expected.mean[0]) * (x - expected.mean[0]);
  EXPECT_NEAR(1 / std::sqrt(exact / 1000 + 1e-5), expected.rstd[0], 1e-6);
  const Problem columns(Kind::layer, 2100, 3);
  float chain = 0;
  for (std::size_t r = 0; r < 2100; ++r) chain += columns.dy[3 * r];
  EXPECT_NE(bits(chain), bits(run_ref(columns).dbeta[0])) << "one chain over all rows";
}

TEST(NormRef, GradientsAreThoseOfFiniteDifferences) {
  const std::int64_t n = 12;
  const auto widen = [](const Values& x) { return std::vector<double>(x.begin(), x.end()); };
  for (const bool is_centered : {true, false}) {
    auto x = widen(elements(n, 0));
    const auto dy = widen(elements(n, 900)), gamma = widen(elements(n, 1900)),
               beta = widen(elements(n, 2900));
    const auto at = [](const std::vector<double>& v) {
      return [&v](std::int64_t j) { return v[static_cast<std::size_t>(j)]; };
    };
    std::vector<double> y(n), dx(n);
    double mean = 0, rstd = 0;
    const auto loss = [&] {
      norm_row_ref<double>(x.data(), at(gamma), at(beta), y.data(), mean, rstd, n, 1e-5, is_centered);
      double sum = 0;
      for (std::size_t j = 0; j < y.size(); ++j) sum += y[j] * dy[j];
      return sum;
    };
    loss();
    norm_row_backward_ref<double>(dy.data(), x.data(), mean, rstd, at(gamma), dx.data(), n, is_centered);
    for (std::size_t j = 0; j < x.size(); ++j) {
      const double before = x[j], step = 1e-6;
      x[j] = before + step;
      const double above = loss();
      x[j] = before - step;
      const double below = loss();
      x[j] = before;
      EXPECT_NEAR((above - below) / (2 * step), dx[j], 1e-5 * (1 + std::fabs(dx[j])));
    }
  }
}

#if defined(__x86_64__)
TEST(NormCpu, KeepsSubnormalsForACallerThatFlushesThem) {
  Problem p(Kind::layer, 2, 5);
  for (float& beta : p.beta) beta = std::bit_cast<float>(3u);
  std::fill(p.x.begin(), p.x.end(), 1.0f);
  FlushingCaller caller;
  const Results got = run_cpu(p);
  const bool kept = caller.end();
  EXPECT_EQ(bits(got.y[4]), 3u);
  EXPECT_TRUE(kept) << "the caller's mode comes back";
}
#endif

// ---- float64

using Wide = std::vector<double>;

/// The problem of a Problem, and its results.
struct WideProblem {
  Problem of;
  Wide x, dy, gamma, beta;
  Wide y, mean, rstd, dx, dgamma, dbeta;

  explicit WideProblem(const Problem& p)
      : of(p),
        x(p.x.begin(), p.x.end()),
        dy(p.dy.begin(), p.dy.end()),
        gamma(p.gamma.begin(), p.gamma.end()),
        beta(p.beta.begin(), p.beta.end()),
        y(x.size()),
        mean(static_cast<std::size_t>(p.samples * p.groups)),
        rstd(mean.size()),
        dx(dy) {}

  void forward() {
    if (of.kind == Kind::layer)
      layer_norm(
          {x.data(), gamma.data(), beta.data(), y.data(), mean.data(), rstd.data(), of.samples, of.channels});
    else if (of.kind == Kind::rms)
      rms_norm({x.data(), gamma.data(), y.data(), rstd.data(), of.samples, of.channels});
    else
      group_norm({x.data(), gamma.data(), beta.data(), y.data(), mean.data(), rstd.data(), of.samples,
                  of.channels, of.pixels, of.groups});
  }
  /// In place: dx lies where dy did. Cut after `ends` samples.
  void backward(const std::vector<std::int64_t>& ends) {
    dx = dy;
    dgamma.assign(gamma.size(), 0.0), dbeta = dgamma;
    Wide dgamma_open(gamma.size(), std::nan("")), dbeta_open = dgamma_open;
    const NormFold64 to_gamma{dgamma.data(), dgamma_open.data()}, to_beta{dbeta.data(), dbeta_open.data()};
    std::int64_t first = 0;
    for (const std::int64_t end : ends) {
      const std::int64_t count = end - first, offset = first * of.sample_elements(),
                         group = first * of.groups;
      const order::FoldSpan span{first * of.pixels, count * of.pixels, end == of.samples};
      double* const at = dx.data() + offset;
      if (of.kind == Kind::layer)
        layer_norm_backward({at, x.data() + offset, mean.data() + group, rstd.data() + group, gamma.data(),
                             at, to_gamma, to_beta, span, of.channels});
      else if (of.kind == Kind::rms)
        rms_norm_backward(
            {at, x.data() + offset, rstd.data() + group, gamma.data(), at, to_gamma, span, of.channels});
      else
        group_norm_backward({at, x.data() + offset, mean.data() + group, rstd.data() + group, gamma.data(),
                             at, to_gamma, to_beta, span, count, of.channels, of.pixels, of.groups});
      first = end;
    }
  }
  double loss() {
    forward();
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  }
  void expect_slopes(Wide& values, const Wide& gradient, const char* what) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double value = values[i], step = 1e-5;
      values[i] = value + step;
      const double above = loss();
      values[i] = value - step;
      const double below = loss();
      values[i] = value;
      EXPECT_NEAR((above - below) / (2 * step), gradient[i], 1e-7 * (1 + std::fabs(gradient[i])))
          << what << ' ' << i;
    }
  }
};

const Problem kSmallProblems[] = {{Kind::layer, 3, 7}, {Kind::rms, 3, 7}, {Kind::group, 2, 6, 3, 2}};

TEST(NormFp64, IsCloseToTheFloatForm) {
  for (const Problem& p : kSmallProblems) {
    const Results narrow = run_cpu(p);
    WideProblem wide(p);
    wide.forward();
    for (std::size_t i = 0; i < wide.y.size(); ++i)
      EXPECT_NEAR(wide.y[i], narrow.y[i], 1e-5 * (1 + std::fabs(wide.y[i])));
    for (std::size_t i = 0; i < wide.rstd.size(); ++i) {
      EXPECT_NEAR(wide.rstd[i], narrow.rstd[i], 1e-5 * wide.rstd[i]);
      EXPECT_NEAR(wide.mean[i], narrow.mean[i], 1e-5);
    }
  }
}

TEST(NormFp64, GradientsAreThoseOfFiniteDifferences) {
  for (const Problem& p : kSmallProblems) {
    WideProblem wide(p);
    wide.forward();
    wide.backward({p.samples});
    wide.expect_slopes(wide.x, wide.dx, "x");
    wide.expect_slopes(wide.gamma, wide.dgamma, "gamma");
    if (p.is_centered()) wide.expect_slopes(wide.beta, wide.dbeta, "beta");
  }
}

TEST(NormFp64, AFoldDoesNotKnowItsCuts) {
  for (const Problem& p :
       {Problem{Kind::layer, 2100, 2}, Problem{Kind::rms, 2100, 2}, Problem{Kind::group, 700, 4, 3, 2}}) {
    WideProblem wide(p);
    wide.forward();
    wide.backward({p.samples});
    const Wide dx = wide.dx, dgamma = wide.dgamma, dbeta = wide.dbeta;
    wide.backward({1, 300, 500, p.samples});
    EXPECT_EQ(wide.dx, dx);
    EXPECT_EQ(wide.dgamma, dgamma);
    EXPECT_EQ(wide.dbeta, dbeta);
  }
}

TEST(NormFp64, RefusesAsTheFloatFormDoes) {
  double m[8] = {};
  expect_refusal(
      [&] {
        layer_norm({m, m, m, m, m, m, -1, 3});
      },
      "layer_norm: rows: expected 0 or more, got -1");
  expect_refusal([&] { rms_norm({nullptr, m, m, m, 2, 3}); }, "rms_norm: x: expected 6 elements of memory");
  expect_refusal(
      [&] {
        layer_norm_backward({m, m, m, m, m, m, {m, m}, {m, nullptr}, {0, 2, false}, 3});
      },
      "dbeta.open: expected memory");
  expect_refusal([] { group_norm(GroupNorm64{}, Device::cuda); }, "expected Device::cpu",
                 ErrorCode::unsupported);
}

// ---- Errors, by code and by words

TEST(NormErrors, SayWhatIsWrong) {
  float m[8] = {};
  const LayerNorm good{m, m, m, m, m, m, 2, 3};
  const auto forward = [&](auto change, const char* words) {
    LayerNorm call = good;
    change(call);
    expect_refusal([&] { layer_norm(call); }, words);
  };
  forward([](LayerNorm& c) { c.rows = -1; }, "layer_norm: rows: expected 0 or more, got -1");
  forward([](LayerNorm& c) { c.features = -2; }, "layer_norm: features: ");
  forward([](LayerNorm& c) { c.eps = -1; }, "layer_norm: eps: expected a finite number, 0 or more");
  forward([](LayerNorm& c) { c.eps = std::nan(""); }, "layer_norm: eps");
  forward([](LayerNorm& c) { c.x = nullptr; },
          "layer_norm: x: expected 6 elements of memory, got a null pointer");
  forward([](LayerNorm& c) { c.y = nullptr; }, "layer_norm: y: ");
  const LayerNormBackward fine{m, m, m, m, m, m, {m, m}, {m, m}, {0, 2, true}, 3};
  const auto backward = [&](auto change, const char* words) {
    LayerNormBackward call = fine;
    change(call);
    expect_refusal([&] { layer_norm_backward(call); }, words);
  };
  backward([](LayerNormBackward& c) { c.dy = nullptr; }, "layer_norm_backward: dy: ");
  backward([](LayerNormBackward& c) { c.rstd = nullptr; }, "layer_norm_backward: rstd: expected 2 elements");
  backward([](LayerNormBackward& c) { c.span.first_row = -1; }, "span.first_row: expected 0 or more, got -1");
  backward([](LayerNormBackward& c) { c.span.last = false, c.dbeta.open = nullptr; },
           "dbeta.open: expected memory, since the span's cuts leave a chunk open, got a null pointer");
  expect_refusal([&] { rms_norm({m, m, m, m, 2, 3, -1}); }, "rms_norm: eps");
  expect_refusal(
      [&] {
        rms_norm_backward({m, nullptr, m, m, m, {}, {0, 2, true}, 3});
      },
      "rms_norm_backward: x: ");
  expect_refusal(
      [&] {
        group_norm({m, m, m, m, m, m, 1, 4, 2, 3});
      },
      "groups: expected a divisor of 4 channels, got 3");
  expect_refusal([&] { group_norm({m, m, m, m, m, m, 1, 4, 2, 0}); }, "groups: expected 1 or more, got 0");
  expect_refusal(
      [&] {
        group_norm_backward({m, m, m, m, m, m, {}, {}, {0, 3, true}, 1, 4, 2, 2});
      },
      "span.rows: expected samples · pixels, 2, got 3");
}

TEST(NormErrors, ScratchOnADevice) {
  float m[8] = {};
  std::vector<float> rows(3 * 2000);
  const order::FoldSpan two_chunks{0, 2000, true};
  expect_refusal(
      [&] {
        layer_norm_backward(
            {rows.data(), rows.data(), rows.data(), rows.data(), m, m, {m}, {m}, two_chunks, 3},
            Device::cuda);
      },
      "layer_norm_backward: scratch: expected memory of 48 bytes on the device, got a null pointer");
  EXPECT_EQ(norm_backward_scratch_bytes(3, two_chunks), 48);
  EXPECT_EQ(norm_backward_scratch_bytes(768, {0, 1024, true}), 0) << "one chunk";
  EXPECT_EQ(norm_backward_scratch_bytes(768, {0, 0, true}), 0);
  for (const std::int64_t features : {1, 33, 4096, 100'000})
    EXPECT_LE(norm_backward_scratch_bytes(features, {5, 100'000'000, false}), 2 << 20) << features;
  expect_refusal([] { norm_backward_scratch_bytes(-1, {}); },
                 "norm_backward_scratch_bytes: features: expected 0 or more, got -1");
}

TEST(NormErrors, CudaWithoutADeviceIsUnsupported) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  float m[8] = {};
  const auto refuses = [](auto call) { expect_refusal(call, "Device::cpu", ErrorCode::unsupported); };
  refuses([&] { layer_norm({m, m, m, m, m, m, 2, 3}, Device::cuda); });
  refuses([&] { layer_norm_backward({m, m, m, m, m, m, {m}, {m}, {0, 2, true}, 3}, Device::cuda); });
  refuses([&] { rms_norm({m, m, m, m, 2, 3}, Device::cuda); });
  refuses([&] { rms_norm_backward({m, m, m, m, m, {m}, {0, 2, true}, 3}, Device::cuda); });
  refuses([&] { group_norm({m, m, m, m, m, m, 1, 2, 3, 1}, Device::cuda); });
  refuses([&] { group_norm_backward({m, m, m, m, m, m, {m}, {m}, {0, 3, true}, 1, 2, 3, 1}, Device::cuda); });
  expect_refusal([] { rms_norm(RmsNorm{}, static_cast<Device>(7)); }, "rms_norm: device");
}

}  // namespace
}  // namespace lockstep
