#include "lockstep/cross_entropy/cross_entropy.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device_values_test.h"
#include "lockstep/base/expect_error_test.h"
#include "lockstep/base/float_bits_test.h"
#include "lockstep/cross_entropy/cross_entropy_ref.h"
#include "lockstep/cross_entropy/cross_entropy_vectors.h"
#include "lockstep/simd/every_form_test.h"
#include "lockstep/softmax/softmax.h"
#include "lockstep/softmax/softmax_ref.h"

namespace lockstep {
namespace {

using Values = std::vector<float>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Values random_values(std::size_t count, std::uint32_t seed = 1) {
  std::uint32_t state = seed;
  Values values(count);
  for (float& value : values) {
    state = state * 1664525 + 1013904223;
    value = std::ldexp(static_cast<float>(static_cast<std::int32_t>(state >> 8) - (1 << 23)),
                       static_cast<int>(state >> 5 & 7) - 25);
  }
  return values;
}

// ---- A problem, and its answers by each way

struct Problem {
  std::int64_t rows = 0, classes = 0;
  Values logits;
  std::vector<std::int64_t> targets;
  Values weight;
  float label_smoothing = 0;
  Values gradients;  // empty: 0.125 for all

  ClassTargets of() const {
    return {targets.data(), rows, classes, weight.empty() ? nullptr : weight.data(), -100, label_smoothing};
  }
  RowGradients upstream() const { return {gradients.empty() ? nullptr : gradients.data(), 0.125f}; }
  float upstream_of(std::size_t r) const { return gradients.empty() ? 0.125f : gradients[r]; }
};

struct Variant {
  const char* name;
  bool weighted, smoothed, by_row;
};
constexpr Variant kVariants[] = {{"plain", false, false, false},
                                 {"weighted", true, false, false},
                                 {"smoothed", false, true, false},
                                 {"weighted and smoothed", true, true, false},
                                 {"a gradient a row", true, true, true}};

Problem problem(std::int64_t rows, std::int64_t classes, const Variant& variant) {
  Problem p{rows, classes, random_values(static_cast<std::size_t>(rows * classes)), {}, {}, 0, {}};
  for (std::int64_t r = 0; r < rows; ++r) p.targets.push_back(r % 5 == 3 ? -100 : r * 7919 % classes);
  if (variant.weighted) {
    p.weight = random_values(static_cast<std::size_t>(classes), 5);
    for (float& value : p.weight) value = std::fabs(value);
  }
  if (variant.smoothed) p.label_smoothing = 0.1f;
  if (variant.by_row) p.gradients = random_values(static_cast<std::size_t>(rows), 6);
  return p;
}

struct Answer {
  Values loss, gradient;
  bool operator==(const Answer& other) const {
    return bits(loss) == bits(other.loss) && bits(gradient) == bits(other.gradient);
  }
};

Answer fused(const Problem& p) {
  Values loss(static_cast<std::size_t>(p.rows), -7.0f), m = loss, log_sum = loss,
                                                        gradient(p.logits.size(), -7.0f);
  cross_entropy(p.logits.data(), p.of(), loss.data(), m.data(), log_sum.data());
  cross_entropy_backward(p.logits.data(), p.of(), m.data(), log_sum.data(), p.upstream(), gradient.data());
  return {loss, gradient};
}

Answer composed(const Problem& p) {
  const AxisExtents extents{p.rows, p.classes, 1};
  Values y(p.logits.size()), dy = y, gradient = y, loss(static_cast<std::size_t>(p.rows), -7.0f);
  log_softmax(p.logits.data(), y.data(), extents);
  nll(y.data(), p.of(), loss.data());
  nll_backward(p.of(), p.upstream(), dy.data());
  log_softmax_backward(dy.data(), y.data(), gradient.data(), extents);
  return {loss, gradient};
}

template <class T>
cross_entropy_ref::Targets<T> reference_targets(const Problem& p) {
  return {p.targets, {p.weight.begin(), p.weight.end()}, -100, static_cast<T>(p.label_smoothing)};
}

template <class T>
void reference(const Problem& p, std::vector<T>& loss, std::vector<T>& gradient) {
  const auto of = reference_targets<T>(p);
  const auto classes = static_cast<std::size_t>(p.classes);
  for (std::size_t r = 0; r < static_cast<std::size_t>(p.rows); ++r) {
    const std::vector<T> row(p.logits.begin() + static_cast<std::ptrdiff_t>(r * classes),
                             p.logits.begin() + static_cast<std::ptrdiff_t>((r + 1) * classes));
    const std::vector<T> y = softmax_ref::log_softmax_slice(row);
    loss.push_back(cross_entropy_ref::nll_row(y, of, r));
    const auto dy = cross_entropy_ref::nll_backward_row<T>(classes, of, r, p.upstream_of(r));
    const auto dx = softmax_ref::log_softmax_backward_slice(dy, y);
    gradient.insert(gradient.end(), dx.begin(), dx.end());
  }
}

Answer expected(const Problem& p) {
  Answer answer;
  reference(p, answer.loss, answer.gradient);
  return answer;
}

constexpr std::int64_t kShapes[][2] = {{1, 1},    {9, 2},    {64, 10},  {7, 16},    {7, 100},
                                       {33, 129}, {3, 1000}, {2, 9001}, {2, 70000}, {300, 3}};

TEST(CrossEntropy, HasTheReferencesBitsInEveryForm) {
  for (const auto& [rows, classes] : kShapes) {
    for (const Variant& variant : kVariants) {
      const Problem p = problem(rows, classes, variant);
      const Answer answer = expected(p);
      SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(classes) + " classes, " +
                   variant.name);
      simd::in_every_form([&] {
        EXPECT_TRUE(fused(p) == answer);
        EXPECT_TRUE(composed(p) == answer) << "log_softmax and nll";
      });
    }
  }
}

TEST(CrossEntropy, GivesTheExpectedBitsInEveryForm) {
  for (const CrossEntropyVector& vector : kCrossEntropyVectors) {
    Problem p{1, vector.n, {}, {vector.target}, {}, vector.smoothed ? 0.1f : 0.0f, {}};
    for (std::uint32_t j = 0; j < vector.n; ++j) {
      p.logits.push_back(cross_entropy_element(j));
      if (vector.weighted) p.weight.push_back(std::fabs(cross_entropy_element(vector.n + j)));
    }
    simd::in_every_form([&] {
      for (const Answer& answer : {fused(p), composed(p)}) {
        std::uint64_t checksum = 0;
        for (std::size_t j = 0; j < vector.n; ++j)
          checksum += bits(answer.gradient[j]) * std::uint64_t{2 * j + 1};
        EXPECT_EQ(bits(answer.loss[0]), vector.loss) << vector.n << " classes";
        EXPECT_EQ(checksum, vector.gradient) << vector.n << " classes";
      }
    });
  }
}

TEST(CrossEntropy, RowsDoNotKnowEachOther) {
  const Problem all = problem(40, 200, kVariants[4]);
  const Answer together = fused(all);
  for (std::size_t r = 0; r < 40; ++r) {
    const auto row = [&](const Values& of) {
      return Values(of.begin() + static_cast<std::ptrdiff_t>(r * 200),
                    of.begin() + static_cast<std::ptrdiff_t>((r + 1) * 200));
    };
    const Problem one{
        1, 200, row(all.logits), {all.targets[r]}, all.weight, all.label_smoothing, {all.gradients[r]}};
    const Answer alone = fused(one);
    EXPECT_EQ(bits(alone.loss[0]), bits(together.loss[r])) << r;
    EXPECT_EQ(bits(alone.gradient), bits(row(together.gradient))) << r;
  }
}

TEST(CrossEntropy, SpecialLogitsGoAsTheReferenceSays) {
  const float special[] = {0.0f, -0.0f, 1e-42f, 3e38f, -3e38f, 120.0f, kInfinity, -kInfinity, kNan};
  for (const Variant& variant : kVariants) {
    for (const float a : special) {
      for (const float b : special) {
        Problem p = problem(5, 4, variant);
        p.logits[0] = a;
        p.logits[1] = p.logits[13] = b;
        EXPECT_TRUE(fused(p) == expected(p)) << a << " and " << b << ", " << variant.name;
        EXPECT_TRUE(composed(p) == expected(p)) << a << " and " << b << ", " << variant.name;
      }
    }
  }
}

TEST(CrossEntropy, IgnoredRowsAreZero) {
  for (const Variant& variant : kVariants) {
    Problem p = problem(3, 7, variant);
    p.targets = {-100, 2, -100};
    const Answer answer = fused(p);
    EXPECT_EQ(bits(answer.loss[0]), 0u);
    EXPECT_EQ(bits(answer.loss[2]), 0u);
    for (std::size_t j = 0; j < 7; ++j) {
      EXPECT_EQ(bits(answer.gradient[j]), 0u);
      EXPECT_EQ(bits(answer.gradient[14 + j]), 0u);
    }
    EXPECT_EQ(counted_targets(p.of()), 1);
  }
}

TEST(CrossEntropy, GradientMayOverwriteTheLogits) {
  for (const Variant& variant : kVariants) {
    Problem p = problem(20, 150, variant);
    const Answer answer = fused(p);
    Values loss(20), m(20), log_sum(20);
    cross_entropy(p.logits.data(), p.of(), loss.data(), m.data(), log_sum.data());
    cross_entropy_backward(p.logits.data(), p.of(), m.data(), log_sum.data(), p.upstream(), p.logits.data());
    EXPECT_EQ(bits(p.logits), bits(answer.gradient)) << variant.name;
  }
}

TEST(CrossEntropy, IsCloseToItsDoubleForm) {
  for (const Variant& variant : kVariants) {
    const Problem p = problem(10, 1000, variant);
    const Answer answer = fused(p);
    std::vector<double> loss, gradient;
    reference(p, loss, gradient);
    for (std::size_t r = 0; r < loss.size(); ++r)
      EXPECT_NEAR(answer.loss[r], loss[r], 1e-5 + 1e-6 * std::fabs(loss[r])) << variant.name;
    for (std::size_t i = 0; i < gradient.size(); ++i)
      EXPECT_NEAR(answer.gradient[i], gradient[i], 1e-8 + 1e-5 * std::fabs(gradient[i])) << variant.name;
  }
}

TEST(CrossEntropy, EmptyExtents) {
  EXPECT_TRUE(fused(problem(0, 10, kVariants[0])).loss.empty());
  Problem no_classes{2, 0, {}, {-100, -100}, {}, 0, {}};
  EXPECT_EQ(bits(fused(no_classes).loss), bits(Values(2, 0.0f)));
}

// ---- The loss of a global batch

TEST(LossScale, IsRoundedOnce) {
  EXPECT_EQ(loss_scale(1), 1.0f);
  EXPECT_EQ(loss_scale(64), 0.015625f);
  EXPECT_EQ(loss_scale(3), 1.0f / 3.0f);
  EXPECT_EQ(loss_scale(60000), 1.0f / 60000.0f);
}

TEST(TargetWeights, AreTheTargetsOwn) {
  const std::int64_t targets[] = {2, -100, 0};
  const float weight[] = {0.5f, 0.25f, 4.0f};
  float weights[3] = {-1, -1, -1};
  target_weights({targets, 3, 3, weight}, weights);
  EXPECT_EQ(Values(weights, weights + 3), (Values{4.0f, 0.0f, 0.5f}));
  target_weights({targets, 3, 3}, weights);
  EXPECT_EQ(Values(weights, weights + 3), (Values{1.0f, 0.0f, 1.0f}));
}

// ---- CUDA: the CPU's bits

/// A problem's memory on a CUDA device.
struct DeviceProblem {
  explicit DeviceProblem(const Problem& of)
      : p(of), logits(of.logits), weight(of.weight), gradients(of.gradients), targets(of.targets) {}

  ClassTargets of() {
    ClassTargets result = p.of();
    result.targets = targets.data();
    if (result.weight != nullptr) result.weight = weight.data();
    return result;
  }
  RowGradients upstream() { return {p.gradients.empty() ? nullptr : gradients.data(), 0.125f}; }
  DeviceValues<float> row_values() const { return DeviceValues<float>(Values(p.targets.size(), -7.0f)); }

  const Problem& p;
  DeviceValues<float> logits, weight, gradients;
  DeviceValues<std::int64_t> targets;
};

Answer fused_on_gpu(const Problem& problem, bool in_place = false) {
  DeviceProblem p(problem);
  DeviceValues<float> loss = p.row_values(), m = p.row_values(), log_sum = p.row_values();
  DeviceValues<float> gradient(Values(problem.logits.size(), -7.0f));
  cross_entropy(p.logits.data(), p.of(), loss.data(), m.data(), log_sum.data(), Device::cuda);
  DeviceValues<float>& result = in_place ? p.logits : gradient;
  cross_entropy_backward(p.logits.data(), p.of(), m.data(), log_sum.data(), p.upstream(), result.data(),
                         Device::cuda);
  return {loss.values(), result.values()};
}

Answer composed_on_gpu(const Problem& problem) {
  DeviceProblem p(problem);
  const AxisExtents extents{problem.rows, problem.classes, 1};
  DeviceValues<float> y(problem.logits), dy(problem.logits), loss = p.row_values();
  log_softmax(p.logits.data(), y.data(), extents, Device::cuda);
  nll(y.data(), p.of(), loss.data(), Device::cuda);
  nll_backward(p.of(), p.upstream(), dy.data(), Device::cuda);
  log_softmax_backward(dy.data(), y.data(), dy.data(), extents, Device::cuda);
  return {loss.values(), dy.values()};
}

void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

class CrossEntropyGpu : public GpuSuite<>, public testing::WithParamInterface<Variant> {
 protected:
  static void expect_the_cpus_bits(const Problem& p) {
    SCOPED_TRACE(std::to_string(p.rows) + " rows of " + std::to_string(p.classes) + " classes");
    const Answer answer = fused(p);
    EXPECT_TRUE(fused_on_gpu(p) == answer);
    EXPECT_TRUE(fused_on_gpu(p, true) == answer) << "the gradient over the logits";
    EXPECT_TRUE(composed_on_gpu(p) == answer) << "log_softmax and nll";
  }
};
INSTANTIATE_TEST_SUITE_P(Gpu, CrossEntropyGpu, testing::ValuesIn(kVariants));

TEST_P(CrossEntropyGpu, HasTheCpusBits) {
  for (const auto& [rows, classes] : kShapes) expect_the_cpus_bits(problem(rows, classes, GetParam()));
  for (const std::int64_t edge : {16, 32, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536}) {
    for (const std::int64_t classes : {edge - 1, edge, edge + 1})
      expect_the_cpus_bits(problem(edge > 1024 ? 3 : 35, classes, GetParam()));
  }
  expect_the_cpus_bits(problem(70'000, 3, GetParam()));
  expect_the_cpus_bits(problem(2, 200'001, GetParam()));
}

TEST_P(CrossEntropyGpu, SpecialLogitsGoAsOnTheCpu) {
  const float special[] = {0.0f, -0.0f, 1e-42f, 3e38f, -3e38f, 120.0f, kInfinity, -kInfinity, kNan};
  for (const std::int64_t classes : {4, 20, 300}) {
    Problem p = problem(2 * 81, classes, GetParam());
    std::size_t row = 0;
    for (const float a : special) {
      for (const float b : special) {
        p.logits[row] = a;
        p.logits[row + 1] = p.logits[row + 3] = b;
        row += 2 * static_cast<std::size_t>(classes);
      }
    }
    expect_the_cpus_bits(p);
  }
}

TEST_P(CrossEntropyGpu, EmptyExtents) {
  expect_the_cpus_bits(problem(0, 10, GetParam()));
  Problem no_classes = problem(2, 1, GetParam());
  no_classes.classes = 0;
  no_classes.logits.clear();
  no_classes.weight.clear();
  no_classes.targets = {-100, -100};
  expect_the_cpus_bits(no_classes);
}

TEST_P(CrossEntropyGpu, ATargetThatIsNoClassMakesItsRowNan) {
  for (const std::int64_t classes : {7, 300}) {
    Problem p = problem(6, classes, GetParam());
    p.targets = {0, classes, 1, -1, -100, std::numeric_limits<std::int64_t>::max()};
    const Answer fused_answer = fused_on_gpu(p), composed_answer = composed_on_gpu(p);
    EXPECT_TRUE(fused_answer == composed_answer);
    Problem valid = p;
    for (const std::size_t r : {1, 3, 5}) valid.targets[r] = 0;
    Answer expected = fused(valid);
    const auto wide = static_cast<std::size_t>(classes);
    for (const std::size_t r : {1, 3, 5}) {
      expected.loss[r] = kNan;
      for (std::size_t j = 0; j < wide; ++j) expected.gradient[r * wide + j] = kNan;
    }
    EXPECT_TRUE(fused_answer == expected);
  }
}

TEST_P(CrossEntropyGpu, TargetWeightsAreTheCpus) {
  const Problem p = problem(1000, 37, GetParam());
  Values weights(1000, -1.0f);
  target_weights(p.of(), weights.data());
  DeviceProblem on_device(p);
  DeviceValues<float> result = on_device.row_values();
  target_weights(on_device.of(), result.data(), Device::cuda);
  EXPECT_EQ(bits(result.values()), bits(weights));
  Problem wrong = p;
  wrong.targets[3] = 37;
  DeviceProblem wrong_on_device(wrong);
  target_weights(wrong_on_device.of(), result.data(), Device::cuda);
  EXPECT_TRUE(std::isnan(result.values()[3]));
}

// ---- The suite can fail

TEST(CrossEntropyTwin, AnotherFormulaGoesRed) {
  const Problem p = problem(50, 300, kVariants[0]);
  const Answer answer = fused(p);
  Values from_probability(p.logits.size());
  softmax(p.logits.data(), from_probability.data(), {50, 300, 1});
  for (std::size_t i = 0; i < from_probability.size(); ++i) {
    const bool counts = p.targets[i / 300] != -100,
               hit = static_cast<std::int64_t>(i % 300) == p.targets[i / 300];
    from_probability[i] = counts ? (from_probability[i] - (hit ? 1.0f : 0.0f)) * 0.125f : 0.0f;
  }
  EXPECT_NE(bits(from_probability), bits(answer.gradient))
      << "(p - 1 at the target) * gradient rounds otherwise";
}

// ---- float64

TEST(CrossEntropyFp64, IsCloseToTheFloatFormAndToItsParts) {
  using Wide = std::vector<double>;
  for (const Variant& variant : kVariants) {
    const Problem p = problem(33, 7, variant);
    const Answer narrow = fused(p);
    const Wide x(p.logits.begin(), p.logits.end()), weight(p.weight.begin(), p.weight.end()),
        gradients(p.gradients.begin(), p.gradients.end());
    const ClassTargets64 targets{p.targets.data(),
                                 p.rows,
                                 p.classes,
                                 weight.empty() ? nullptr : weight.data(),
                                 -100,
                                 variant.smoothed ? 0.1 : 0.0};
    const RowGradients64 upstream{gradients.empty() ? nullptr : gradients.data(), 0.125};
    Wide loss(33), row_max(33), row_log_sum(33), dx = x;  // in place
    cross_entropy(x.data(), targets, loss.data(), row_max.data(), row_log_sum.data());
    cross_entropy_backward(dx.data(), targets, row_max.data(), row_log_sum.data(), upstream, dx.data());
    for (std::size_t i = 0; i < loss.size(); ++i)
      EXPECT_NEAR(loss[i], narrow.loss[i], 1e-5 * (1 + std::fabs(loss[i]))) << variant.name;
    for (std::size_t i = 0; i < dx.size(); ++i)
      EXPECT_NEAR(dx[i], narrow.gradient[i], 1e-5 * (1 + std::fabs(dx[i]))) << variant.name;

    Wide y(x.size()), dy(x.size()), parts_loss(33);
    log_softmax(x.data(), y.data(), {33, 7, 1});
    nll(y.data(), targets, parts_loss.data());
    nll_backward(targets, upstream, dy.data());
    log_softmax_backward(dy.data(), y.data(), dy.data(), {33, 7, 1});
    EXPECT_EQ(parts_loss, loss) << variant.name;
    EXPECT_EQ(dy, dx) << variant.name;
    EXPECT_EQ(counted_targets(targets), counted_targets(p.of()));
  }
}

TEST(CrossEntropyFp64, TheLossIsAPlainLogarithm) {
  const double x[3] = {0.25, -1.5, 2.0};
  const std::int64_t target = 1;
  double loss = 0, row_max = 0, row_log_sum = 0;
  cross_entropy(x, ClassTargets64{&target, 1, 3}, &loss, &row_max, &row_log_sum);
  EXPECT_NEAR(loss, std::log(std::exp(0.25) + std::exp(-1.5) + std::exp(2.0)) + 1.5, 1e-15);
}

TEST(CrossEntropyFp64, RefusesAsTheFloatFormDoes) {
  double a[6] = {}, weights[2] = {};
  const std::int64_t targets[2] = {0, 3}, good[2] = {-100, 2};
  const double weight[3] = {0.5, 1.5, 2.5};
  expect_error(ErrorCode::invalid_argument,
               "nll: targets[1]: expected a class 0 to 2, or -100 to ignore the row, got 3", [&] {
                 nll(a, ClassTargets64{targets, 2, 3}, a);
               });
  expect_error(ErrorCode::invalid_argument, "cross_entropy: rows: expected 0 or more, got -1", [&] {
    cross_entropy(a, ClassTargets64{targets, -1, 3}, a, a, a);
  });
  expect_error(ErrorCode::invalid_argument, "nll_backward: log_probabilities_gradient", [&] {
    nll_backward(ClassTargets64{good, 2, 3}, RowGradients64{}, nullptr);
  });
  expect_error(ErrorCode::unsupported, "nll: device", [&] {
    nll(a, ClassTargets64{good, 2, 3}, a, Device::cuda);
  });
  target_weights(ClassTargets64{good, 2, 3, weight}, weights);
  EXPECT_EQ(weights[0], 0.0);
  EXPECT_EQ(weights[1], 2.5);
}

// ---- Errors, by code and by words

TEST(CrossEntropyErrors, SayWhatIsWrong) {
  constexpr auto kInvalid = ErrorCode::invalid_argument;
  float a[12] = {};
  const std::int64_t targets[] = {0, 3, 2};
  const ClassTargets good{targets, 3, 4};
  expect_error(kInvalid, "nll: targets[1]: expected a class 0 to 2, or -100 to ignore the row, got 3", [&] {
    nll(a, {targets, 3, 3}, a);
  });
  expect_error(kInvalid, "counted_targets: targets[1]", [&] {
    counted_targets(ClassTargets{targets, 3, 3});
  });
  expect_error(kInvalid, "rows: expected 0 or more, got -1", [&] { nll(a, {targets, -1, 3}, a); });
  expect_error(kInvalid, "classes: expected 0 or more, got -4", [&] { nll(a, {targets, 0, -4}, a); });
  expect_error(kInvalid, "label_smoothing: expected 0 to 1, got 1.5", [&] {
    nll(a, {targets, 3, 4, nullptr, -100, 1.5f}, a);
  });
  expect_error(kInvalid, "label_smoothing", [&] { nll(a, {targets, 3, 4, nullptr, -100, kNan}, a); });
  expect_error(kInvalid, "targets: expected memory of 3 elements, got a null pointer", [&] {
    nll(a, {nullptr, 3, 4}, a);
  });
  expect_error(kInvalid, "nll: log_probabilities", [&] { nll(nullptr, good, a); });
  expect_error(kInvalid, "nll: loss", [&] { nll(a, good, nullptr); });
  expect_error(kInvalid, "nll_backward: log_probabilities_gradient",
               [&] { nll_backward(good, {}, nullptr); });
  expect_error(kInvalid, "cross_entropy: row_max", [&] { cross_entropy(a, good, a, nullptr, a); });
  expect_error(kInvalid, "cross_entropy: row_log_sum", [&] { cross_entropy(a, good, a, a, nullptr); });
  expect_error(kInvalid, "cross_entropy_backward: logits",
               [&] { cross_entropy_backward(nullptr, good, a, a, {}, a); });
  expect_error(kInvalid, "loss_scale: count: expected 1 or more targets that are not ignored, got 0",
               [] { loss_scale(0); });
  expect_error(kInvalid, "nll: device", [&] { nll(a, good, a, static_cast<Device>(7)); });
  expect_error(kInvalid, "nll: loss", [&] { nll(a, good, nullptr, Device::cuda); });
}

TEST(CrossEntropyErrors, CudaWithoutADeviceIsUnsupported) {
  if (cuda_device_count() > 0) GTEST_SKIP() << "this machine has a CUDA device";
  float a[12] = {};
  const std::int64_t targets[] = {0, 3, 2};
  const ClassTargets of{targets, 3, 4};
  constexpr auto kUnsupported = ErrorCode::unsupported;
  expect_error(kUnsupported, "", [&] { nll(a, of, a, Device::cuda); });
  expect_error(kUnsupported, "", [&] { nll_backward(of, {}, a, Device::cuda); });
  expect_error(kUnsupported, "", [&] { cross_entropy(a, of, a, a, a, Device::cuda); });
  expect_error(kUnsupported, "", [&] { target_weights(of, a, Device::cuda); });
}

}  // namespace
}  // namespace lockstep
