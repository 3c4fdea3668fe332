#include <algorithm>
#include <cstdint>
#include <utility>

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/loss/loss_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/highway.h>

#include "lockstep/loss/loss_internal.h"
#include "lockstep/math/vector_math_internal.h"
#include "lockstep/order/lanes.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/lanes_internal.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();

namespace lockstep::math {
namespace HWY_NAMESPACE::loss {

#define LOCKSTEP_MATH_FUNCTION HWY_INLINE
#include "lockstep/loss/formulas_inl.h"
#undef LOCKSTEP_MATH_FUNCTION

}  // namespace HWY_NAMESPACE::loss
}  // namespace lockstep::math

namespace lockstep::loss_internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace lanes = simd::HWY_NAMESPACE;
namespace formulas = math::HWY_NAMESPACE::loss;
using V = lanes::LaneVector;

/// result = apply(a, b, …) of the first `sizeof...(places)` operands.
template <class Apply, std::size_t... places>
HWY_INLINE void map_of(const Call& call, std::int64_t begin, std::int64_t end, Apply apply,
                       std::index_sequence<places...>) {
  lanes::for_each_vector(begin, end, [&](auto at) HWY_ATTR {
    const auto load = [&](const Operand& of) HWY_ATTR {
      return of.elements == nullptr ? hn::Set(lanes::LaneTag(), of.all) : at.load(of.elements);
    };
    at.store(apply(load(call.operands[places])...), call.result);
  });
}

template <std::size_t operands, class Apply>
HWY_INLINE void map(const Call& call, std::int64_t begin, std::int64_t end, Apply apply) {
  map_of(call, begin, end, apply, std::make_index_sequence<operands>());
}

void run(const Call& call, std::int64_t begin, std::int64_t end) {
  switch (call.formula) {
    case Formula::mse:
      return map<2>(call, begin, end, [](V x, V t) HWY_ATTR { return formulas::mse(x, t); });
    case Formula::mse_backward:
      return map<3>(call, begin, end, [](V x, V t, V g) HWY_ATTR { return formulas::mse_backward(x, t, g); });
    case Formula::l1:
      return map<2>(call, begin, end, [](V x, V t) HWY_ATTR { return formulas::l1(x, t); });
    case Formula::l1_backward:
      return map<3>(call, begin, end, [](V x, V t, V g) HWY_ATTR { return formulas::l1_backward(x, t, g); });
    case Formula::bce_with_logits:
      return map<4>(call, begin, end,
                    [](V x, V t, V p, V w) HWY_ATTR { return formulas::bce_with_logits(x, t, p, w); });
    case Formula::bce_with_logits_backward:
      return map<5>(call, begin, end, [](V x, V t, V p, V w, V g) HWY_ATTR {
        return formulas::bce_with_logits_backward(x, t, p, w, g);
      });
    case Formula::margin_ranking:
      return map<4>(call, begin, end,
                    [](V a, V b, V t, V m) HWY_ATTR { return formulas::margin_ranking(a, b, t, m); });
    case Formula::margin_ranking_backward:
      return map<5>(call, begin, end, [](V a, V b, V t, V m, V g) HWY_ATTR {
        return formulas::margin_ranking_backward(a, b, t, m, g);
      });
  }
}

void run_rows(const float* loss, float* rows_loss, std::int64_t features, std::int64_t begin,
              std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const float* const row = loss + r * features;
    rows_loss[r] = lanes::lane_sum(order::lane_count(features), features,
                                   [&](auto place) HWY_ATTR { return place.load(row); });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::loss_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::loss_internal {
namespace {

HWY_EXPORT(run);
HWY_EXPORT(run_rows);

constexpr std::int64_t kGrain = 16384;  // elements that are worth a thread's while

}  // namespace

void run_cpu(const Call& call, std::int64_t count) {
  const auto form = LOCKSTEP_SIMD_CALL(run);
  parallel::for_each_range(count, kGrain,
                           [&](std::int64_t begin, std::int64_t end) { form(call, begin, end); });
}

void row_losses_cpu(const float* loss, float* rows_loss, const LossExtents& extents) {
  const auto form = LOCKSTEP_SIMD_CALL(run_rows);
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, extents.features));
  parallel::for_each_range(extents.rows, grain, [&](std::int64_t begin, std::int64_t end) {
    form(loss, rows_loss, extents.features, begin, end);
  });
}

}  // namespace lockstep::loss_internal

#endif  // HWY_ONCE
