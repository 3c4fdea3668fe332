#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/optimizer/optimizer_cpu.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/highway.h>

#include "lockstep/base/float_mode.h"
#include "lockstep/optimizer/optimizer_internal.h"
#include "lockstep/order/lanes.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/lanes_internal.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::optimizer {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace vec = simd::HWY_NAMESPACE;
using vec::fma;
using D = vec::LaneTag;
using V = vec::LaneVector;

// Each form is the same operations as optimizer_inl.h's, in the same order. Parameters and factors are
// copied: a store of a vector might be to them, as far as the compiler knows.

template <bool kMomentum, bool kFirst>
void sgd_as(const SgdParameter& given, std::int64_t begin, std::int64_t end,
            const SgdFactors<float>& given_factors) {
  const D d;
  const SgdParameter p = given;
  const SgdFactors<float> factors = given_factors;
  const V minus_lr = hn::Set(d, factors.minus_lr), momentum = hn::Set(d, factors.momentum);
  const V take = hn::Set(d, factors.take), weight_decay = hn::Set(d, factors.weight_decay);
  const V sign = hn::Set(d, factors.maximize ? -1.0f : 1.0f);
  vec::for_each_vector(begin, end, [&](auto place) HWY_ATTR {
    const V parameter = place.load(p.parameter);
    V g = hn::Mul(sign, place.load(p.gradient));
    if (factors.weight_decay != 0) g = fma(weight_decay, parameter, g);
    if constexpr (kMomentum) {
      const V buffer = kFirst ? g : fma(take, g, hn::Mul(momentum, place.load(p.momentum)));
      place.store(buffer, p.momentum);
      g = factors.nesterov ? fma(momentum, buffer, g) : buffer;
    }
    place.store(fma(minus_lr, g, parameter), p.parameter);
  });
}

void sgd_form(const SgdParameter& p, std::int64_t begin, std::int64_t end, const SgdFactors<float>& factors) {
  if (factors.momentum == 0) return sgd_as<false, false>(p, begin, end, factors);
  if (p.first) return sgd_as<true, true>(p, begin, end, factors);
  return sgd_as<true, false>(p, begin, end, factors);
}

HWY_INLINE V move_mean(V mean, V g, float weight) {
  const D d;
  const V distance = hn::Sub(g, mean);
  return std::fabs(weight) < 0.5f ? fma(hn::Set(d, weight), distance, mean)
                                  : fma(hn::Set(d, weight - 1.0f), distance, g);
}

/// The larger one; a NaN of either stays.
HWY_INLINE V larger(V before, V square) {
  return hn::IfThenElse(hn::Or(hn::Ge(before, square), hn::IsNaN(before)), before, square);
}

template <bool kAmsgrad>
void adam_as(const AdamParameter& given, std::int64_t begin, std::int64_t end,
             const AdamFactors<float>& given_factors) {
  const D d;
  const AdamParameter p = given;
  const AdamFactors<float> factors = given_factors;
  const V minus_step_size = hn::Set(d, factors.minus_step_size),
          root = hn::Set(d, factors.root_of_correction);
  const V beta2 = hn::Set(d, factors.beta2), square_take = hn::Set(d, factors.square_take);
  const V eps = hn::Set(d, factors.eps), keep = hn::Set(d, factors.keep);
  const V weight_decay = hn::Set(d, factors.weight_decay), sign = hn::Set(d, factors.maximize ? -1.0f : 1.0f);
  vec::for_each_vector(begin, end, [&](auto place) HWY_ATTR {
    V g = hn::Mul(sign, place.load(p.gradient));
    const V parameter = hn::Mul(place.load(p.parameter), keep);
    if (factors.weight_decay != 0) g = fma(weight_decay, parameter, g);
    const V mean = move_mean(place.load(p.mean), g, factors.mean_weight);
    const V square = fma(hn::Mul(square_take, g), g, hn::Mul(beta2, place.load(p.square)));
    V second = square;
    if constexpr (kAmsgrad) {
      second = larger(place.load(p.largest_square), square);
      place.store(second, p.largest_square);
    }
    const V denominator = hn::Add(hn::Div(hn::Sqrt(second), root), eps);
    place.store(mean, p.mean);
    place.store(square, p.square);
    place.store(fma(minus_step_size, hn::Div(mean, denominator), parameter), p.parameter);
  });
}

void adam_form(const AdamParameter& p, std::int64_t begin, std::int64_t end,
               const AdamFactors<float>& factors, bool amsgrad) {
  return amsgrad ? adam_as<true>(p, begin, end, factors) : adam_as<false>(p, begin, end, factors);
}

/// Squares of elements are added by lanes, or the elements themselves.
float block_sum_form(const float* x, std::int64_t count, bool squared) {
  const int lanes = order::kFewLanes;
  if (!squared) return vec::lane_sum(lanes, count, [&](auto place) HWY_ATTR { return place.load(x); });
  return vec::lane_reduce(
      lanes, count, hn::Zero(D()),
      [&](V lane, auto place) HWY_ATTR {
        const V value = place.load(x);  // zeros behind the end leave a lane as it is
        return fma(value, value, lane);
      },
      vec::AddVectors());
}

void scale_form(float* x, std::int64_t begin, std::int64_t end, float factor) {
  const V by = hn::Set(D(), factor);
  vec::for_each_vector(begin, end, [&](auto place) HWY_ATTR { place.store(hn::Mul(place.load(x), by), x); });
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::optimizer
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::optimizer {
namespace {

HWY_EXPORT(sgd_form);
HWY_EXPORT(adam_form);
HWY_EXPORT(block_sum_form);
HWY_EXPORT(scale_form);

constexpr std::int64_t kGrain = 16384;  // elements that are worth a thread's while
constexpr std::int64_t kBlock = 1024;   // elements whose squares are one partial

/// Many arrays as one: items of array i are those from starts[i] to starts[i + 1].
template <class Count>
std::vector<std::int64_t> starts_of(std::size_t arrays, Count count) {
  std::vector<std::int64_t> starts(arrays + 1, 0);
  for (std::size_t i = 0; i < arrays; ++i) starts[i + 1] = starts[i] + count(i);
  return starts;
}

/// Calls work(array, begin, end) for parts that cover every array's items, among threads.
template <class Work>
void for_each_part(const std::vector<std::int64_t>& starts, std::int64_t grain, Work work) {
  parallel::for_each_range(starts.back(), grain, [&](std::int64_t begin, std::int64_t end) {
    auto i =
        static_cast<std::size_t>(std::upper_bound(starts.begin(), starts.end(), begin) - starts.begin() - 1);
    for (; begin < end; ++i) {
      const std::int64_t until = std::min(end, starts[i + 1]);
      if (begin < until) work(i, begin - starts[i], until - starts[i]);
      begin = std::max(begin, until);
    }
  });
}

std::int64_t blocks_of(std::int64_t count) { return (count + kBlock - 1) / kBlock; }

/// Block partials of one gradient, by lanes again and again until one is left.
float reduce_partials(float* partial, std::int64_t count) {
  const auto block_sum = LOCKSTEP_SIMD_CALL(block_sum_form);
  while (count > 1) {
    const std::int64_t blocks = blocks_of(count);
    for (std::int64_t b = 0; b < blocks; ++b)
      partial[b] = block_sum(partial + b * kBlock, std::min(kBlock, count - b * kBlock), false);
    count = blocks;
  }
  return count == 0 ? 0.0f : partial[0];
}

}  // namespace

void sgd_cpu(std::span<const SgdParameter> parameters, const SgdFactors<float>& factors) {
  const auto form = LOCKSTEP_SIMD_CALL(sgd_form);
  const auto starts = starts_of(parameters.size(), [&](std::size_t i) { return parameters[i].count; });
  for_each_part(starts, kGrain, [&](std::size_t i, std::int64_t begin, std::int64_t end) {
    form(parameters[i], begin, end, factors);
  });
}

void adam_cpu(std::span<const AdamParameter> parameters, const AdamFactors<float>& factors, bool amsgrad) {
  const auto form = LOCKSTEP_SIMD_CALL(adam_form);
  const auto starts = starts_of(parameters.size(), [&](std::size_t i) { return parameters[i].count; });
  for_each_part(starts, kGrain, [&](std::size_t i, std::int64_t begin, std::int64_t end) {
    form(parameters[i], begin, end, factors, amsgrad);
  });
}

float gradient_norm_cpu(std::span<const std::span<const float>> gradients) {
  const auto block_sum = LOCKSTEP_SIMD_CALL(block_sum_form);
  const auto starts = starts_of(gradients.size(), [&](std::size_t i) {
    return blocks_of(static_cast<std::int64_t>(gradients[i].size()));
  });
  std::vector<float> partials(static_cast<std::size_t>(starts.back()));
  for_each_part(starts, kGrain / kBlock, [&](std::size_t i, std::int64_t begin, std::int64_t end) {
    const auto count = static_cast<std::int64_t>(gradients[i].size());
    for (std::int64_t b = begin; b < end; ++b)
      partials[static_cast<std::size_t>(starts[i] + b)] =
          block_sum(gradients[i].data() + b * kBlock, std::min(kBlock, count - b * kBlock), true);
  });
  const FloatMode mode;
  float total = 0;
  for (std::size_t i = 0; i < gradients.size(); ++i)
    total = total + reduce_partials(partials.data() + starts[i], starts[i + 1] - starts[i]);
  return std::sqrt(total);
}

void scale_cpu(std::span<const std::span<float>> gradients, float factor) {
  const auto form = LOCKSTEP_SIMD_CALL(scale_form);
  const auto starts = starts_of(
      gradients.size(), [&](std::size_t i) { return static_cast<std::int64_t>(gradients[i].size()); });
  for_each_part(starts, kGrain, [&](std::size_t i, std::int64_t begin, std::int64_t end) {
    form(gradients[i].data(), begin, end, factor);
  });
}

}  // namespace lockstep::optimizer

#endif  // HWY_ONCE
