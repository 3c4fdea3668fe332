#include <cstdint>

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/activation/activation_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "lockstep/activation/activation_internal.h"
#include "lockstep/math/vector_math_internal.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();

namespace lockstep::math {
namespace HWY_NAMESPACE::activation {

#define LOCKSTEP_MATH_FUNCTION HWY_INLINE
#include "lockstep/activation/formulas_inl.h"
#undef LOCKSTEP_MATH_FUNCTION

}  // namespace HWY_NAMESPACE::activation
}  // namespace lockstep::math

namespace lockstep::activation_internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace vectors = simd::HWY_NAMESPACE;
namespace formulas = math::HWY_NAMESPACE::activation;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// How far ahead memory is asked for, beyond what the processor's own prefetcher does: the arithmetic of a
// vector keeps it from looking far.
constexpr std::int64_t kAhead = 512;

template <class Apply>
HWY_INLINE void map(const Call& call, std::int64_t begin, std::int64_t end, Apply apply) {
  const D d;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = begin;
  for (; i + 2 * step <= end; i += 2 * step) {
    hwy::Prefetch(call.x + i + kAhead);
    hwy::Prefetch(call.x + i + step + kAhead);
    const V a = apply(hn::LoadU(d, call.x + i)), b = apply(hn::LoadU(d, call.x + i + step));
    hn::StoreU(a, d, call.result + i);
    hn::StoreU(b, d, call.result + i + step);
  }
  for (; i + step <= end; i += step) hn::StoreU(apply(hn::LoadU(d, call.x + i)), d, call.result + i);
  if (i == end) return;
  const auto rest = static_cast<std::size_t>(end - i);
  vectors::store_first(apply(vectors::load_first(d, call.x + i, rest)), d, call.result + i, rest);
}

template <class Apply>
HWY_INLINE void map_two(const Call& call, std::int64_t begin, std::int64_t end, Apply apply) {
  const D d;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = begin;
  for (; i + step <= end; i += step) {
    hwy::Prefetch(call.dy + i + kAhead);
    hwy::Prefetch(call.x + i + kAhead);
    hn::StoreU(apply(hn::LoadU(d, call.dy + i), hn::LoadU(d, call.x + i)), d, call.result + i);
  }
  if (i == end) return;
  const auto rest = static_cast<std::size_t>(end - i);
  const V dy = vectors::load_first(d, call.dy + i, rest), x = vectors::load_first(d, call.x + i, rest);
  vectors::store_first(apply(dy, x), d, call.result + i, rest);
}

#define LOCKSTEP_ACTIVATION(name, function)                                 \
  case Formula::name:                                                       \
    return map(call, begin, end, [](V x) HWY_ATTR { return function(x); }); \
  case Formula::name##_backward:                                            \
    return map_two(call, begin, end, [](V dy, V x) HWY_ATTR { return formulas::name##_backward(dy, x); });

void run(const Call& call, std::int64_t begin, std::int64_t end) {
  const V beta = hn::Set(D(), call.softplus.beta), threshold = hn::Set(D(), call.softplus.threshold);
  switch (call.formula) {
    LOCKSTEP_ACTIVATION(relu, formulas::relu)
    LOCKSTEP_ACTIVATION(sigmoid, math::HWY_NAMESPACE::sigmoid)
    LOCKSTEP_ACTIVATION(tanh, math::HWY_NAMESPACE::tanh)
    LOCKSTEP_ACTIVATION(silu, formulas::silu)
    LOCKSTEP_ACTIVATION(gelu_erf, formulas::gelu_erf)
    LOCKSTEP_ACTIVATION(gelu_tanh, formulas::gelu_tanh)
    case Formula::softplus:
      return map(call, begin, end, [&](V x) HWY_ATTR { return formulas::softplus(x, beta, threshold); });
    case Formula::softplus_backward:
      return map_two(call, begin, end,
                     [&](V dy, V x) HWY_ATTR { return formulas::softplus_backward(dy, x, beta, threshold); });
  }
}

#undef LOCKSTEP_ACTIVATION

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::activation_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::activation_internal {
namespace {

HWY_EXPORT(run);

constexpr std::int64_t kGrain = 16384;  // elements that are worth a thread's while

}  // namespace

void run_cpu(const Call& call) {
  const auto form = LOCKSTEP_SIMD_CALL(run);
  parallel::for_each_range(call.count, kGrain,
                           [&](std::int64_t begin, std::int64_t end) { form(call, begin, end); });
}

}  // namespace lockstep::activation_internal

#endif  // HWY_ONCE
