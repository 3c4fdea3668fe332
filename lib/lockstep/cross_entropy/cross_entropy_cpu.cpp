#include <algorithm>
#include <cstdint>
#include <vector>

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/cross_entropy/cross_entropy_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "lockstep/cross_entropy/cross_entropy_inl.h"
#include "lockstep/cross_entropy/cross_entropy_internal.h"
#include "lockstep/math/exponential_sum_internal.h"
#include "lockstep/math/vector_math_internal.h"
#include "lockstep/order/lanes.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/lanes_internal.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::cross_entropy_internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace lanes = simd::HWY_NAMESPACE;
namespace vector_math = math::HWY_NAMESPACE;
using D = lanes::LaneTag;
using V = lanes::LaneVector;

/// Log-probabilities of a row as they come out of its scores: the scores themselves, or (x - largest) -
/// logarithm.
struct Given {
  HWY_INLINE V operator()(V score) const { return score; }
  float one(float score) const { return score; }
};
struct FromLogits {
  float largest, logarithm;

  HWY_INLINE V operator()(V score) const {
    return hn::Sub(hn::Sub(score, hn::Set(D(), largest)), hn::Set(D(), logarithm));
  }
  float one(float score) const { return (score - largest) - logarithm; }
};

float weight_of(const ClassTargets& of, std::int64_t j) { return of.weight == nullptr ? 1.0f : of.weight[j]; }

/// The lane sum of weight * log-probability.
template <class LogProbability>
float weighted_sum(const float* scores, const ClassTargets& of, LogProbability log_probability) {
  return lanes::lane_reduce(
      order::lane_count(of.classes), of.classes, hn::Zero(D()),
      [&](V lane, auto place) HWY_ATTR {
        const V y = log_probability(place.load(scores));
        const V sum = of.weight == nullptr ? hn::Add(lane, y) : lanes::fma(place.load(of.weight), y, lane);
        return place.keep(sum, lane);
      },
      lanes::AddVectors());
}

template <class LogProbability>
float row_loss(const float* scores, const ClassTargets& of, std::int64_t target,
               LogProbability log_probability) {
  if (target == of.ignore_index) return 0.0f;
  const float plain = class_loss(weight_of(of, target), log_probability.one(scores[target]));
  if (of.label_smoothing == 0) return plain;
  return smoothed_loss(shares_of(of.label_smoothing, of.classes), plain,
                       weighted_sum(scores, of, log_probability));
}

void forward_rows(const ClassTargets& of, const Forward& forward, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const float* const row = forward.scores + r * of.classes;
    if (forward.row_max == nullptr) {
      forward.loss[r] = row_loss(row, of, of.targets[r], Given());
      continue;
    }
    const float m = vector_math::row_max(row, of.classes);
    const float sum = vector_math::exponential_sum(row, m, order::lane_count(of.classes), of.classes,
                                                   [](V, auto) HWY_ATTR {});
    const float logarithm = vector_math::one(sum, [](V v) HWY_ATTR { return vector_math::log(v); });
    forward.row_max[r] = m;
    forward.row_log_sum[r] = logarithm;
    forward.loss[r] = row_loss(row, of, of.targets[r], FromLogits{m, logarithm});
  }
}

/// A row's gradient with respect to its log-probabilities, under label smoothing.
void smoothed_gradient(const ClassTargets& of, std::int64_t target, float row_gradient, float* dy) {
  const D d;
  const Shares shares = shares_of(of.label_smoothing, of.classes);
  const V every = hn::Set(d, shares.every), gradient = hn::Set(d, row_gradient);
  lanes::for_each_vector(0, of.classes, [&](auto place) HWY_ATTR {
    const V share = of.weight == nullptr ? every : hn::Mul(every, place.load(of.weight));
    place.store(hn::Neg(hn::Mul(share, gradient)), dy);
  });
  dy[target] = class_gradient(share_of_target(shares, weight_of(of, target)), row_gradient);
}

/// dx = dy - exp(y) sum, with dy +0 where it is null.
HWY_INLINE void softmax_gradient(const float* x, FromLogits log_probability, const float* dy, float sum,
                                 float* dx, std::int64_t n) {
  const D d;
  const V total = hn::Set(d, sum);
  lanes::for_each_vector(0, n, [&](auto place) HWY_ATTR {
    const V upstream = dy == nullptr ? hn::Zero(d) : place.load(dy);
    hwy::Prefetch(x + place.j + vector_math::kRowAhead);
    const V p = vector_math::exp(log_probability(place.load(x)));
    place.store(hn::Sub(upstream, hn::Mul(p, total)), dx);
  });
}

float exponential(float x) {
  return vector_math::one(x, [](V v) HWY_ATTR { return vector_math::exp(v); });
}

/// Rows without label smoothing: dy is +0 but at the target.
void plain_row(const ClassTargets& of, const Backward& backward, std::int64_t r, float row_gradient) {
  float* const result = backward.result + r * of.classes;
  const std::int64_t target = of.targets[r];
  const bool counts = target != of.ignore_index;
  const float dy = counts ? class_gradient(weight_of(of, target), row_gradient) : 0.0f;
  if (backward.logits == nullptr) {
    std::fill(result, result + of.classes, 0.0f);
    if (counts) result[target] = dy;
    return;
  }
  const float* const x = backward.logits + r * of.classes;
  const FromLogits log_probability{backward.row_max[r], backward.row_log_sum[r]};
  const float sum = 0.0f + dy;
  const float at_target = counts ? dy - exponential(log_probability.one(x[target])) * sum : 0.0f;
  softmax_gradient(x, log_probability, nullptr, sum, result, of.classes);
  if (counts) result[target] = at_target;
}

void smoothed_row(const ClassTargets& of, const Backward& backward, std::int64_t r, float row_gradient,
                  float* dy) {
  float* const result = backward.result + r * of.classes;
  smoothed_gradient(of, of.targets[r], row_gradient, backward.logits == nullptr ? result : dy);
  if (backward.logits == nullptr) return;
  const float sum = lanes::lane_sum(order::lane_count(of.classes), of.classes,
                                    [&](auto place) HWY_ATTR { return place.load(dy); });
  softmax_gradient(backward.logits + r * of.classes, {backward.row_max[r], backward.row_log_sum[r]}, dy, sum,
                   result, of.classes);
}

void backward_rows(const ClassTargets& of, const Backward& backward, std::int64_t begin, std::int64_t end) {
  std::vector<float> dy(
      of.label_smoothing == 0 || backward.logits == nullptr ? 0 : static_cast<std::size_t>(of.classes));
  for (std::int64_t r = begin; r < end; ++r) {
    const float row_gradient =
        backward.gradients.rows == nullptr ? backward.gradients.all : backward.gradients.rows[r];
    if (of.label_smoothing == 0 || of.targets[r] == of.ignore_index)
      plain_row(of, backward, r, row_gradient);
    else
      smoothed_row(of, backward, r, row_gradient, dy.data());
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::cross_entropy_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::cross_entropy_internal {
namespace {

HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);

/// Rows that are worth a thread's while.
std::int64_t grain(std::int64_t classes) {
  constexpr std::int64_t kElements = 16384;
  return std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, classes));
}

}  // namespace

void forward_cpu(const ClassTargets& targets, const Forward& forward) {
  const auto form = LOCKSTEP_SIMD_CALL(forward_rows);
  parallel::for_each_range(targets.rows, grain(targets.classes),
                           [&](std::int64_t begin, std::int64_t end) { form(targets, forward, begin, end); });
}

void backward_cpu(const ClassTargets& targets, const Backward& backward) {
  const auto form = LOCKSTEP_SIMD_CALL(backward_rows);
  parallel::for_each_range(targets.rows, grain(targets.classes), [&](std::int64_t begin, std::int64_t end) {
    form(targets, backward, begin, end);
  });
}

}  // namespace lockstep::cross_entropy_internal

#endif  // HWY_ONCE
