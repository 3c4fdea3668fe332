#include "lockstep/math/math_internal.h"
#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/math/math_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/highway.h>

#include "lockstep/math/vector_math_internal.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::math {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;

template <class Apply>
HWY_INLINE void map(const float* x, float* y, std::int64_t count, Apply apply) {
  const D d;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + step <= count; i += step) hn::StoreU(apply(hn::LoadU(d, x + i)), d, y + i);
  if (i == count) return;
  const auto rest = static_cast<std::size_t>(count - i);
  simd::HWY_NAMESPACE::store_first(apply(simd::HWY_NAMESPACE::load_first(d, x + i, rest)), d, y + i, rest);
}

#define LOCKSTEP_MATH_MAP(name) \
  case Function::name:          \
    return map(x, y, count, [](auto v) HWY_ATTR { return HWY_NAMESPACE::name(v); });

void run(Function function, const float* x, float* y, std::int64_t count) {
  switch (function) { LOCKSTEP_MATH_FUNCTIONS(LOCKSTEP_MATH_MAP) }
}

#undef LOCKSTEP_MATH_MAP

void run_pow(const float* x, const float* y, float* z, std::int64_t count) {
  const D d;
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + step <= count; i += step)
    hn::StoreU(HWY_NAMESPACE::pow(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, z + i);
  if (i == count) return;
  const auto rest = static_cast<std::size_t>(count - i);
  const auto base = simd::HWY_NAMESPACE::load_first(d, x + i, rest);
  const auto exponent = simd::HWY_NAMESPACE::load_first(d, y + i, rest);
  simd::HWY_NAMESPACE::store_first(HWY_NAMESPACE::pow(base, exponent), d, z + i, rest);
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::math
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::math {

HWY_EXPORT(run);
HWY_EXPORT(run_pow);

void run_cpu(Function function, const float* x, float* y, std::int64_t count) {
  LOCKSTEP_SIMD_CALL(run)(function, x, y, count);
}

void pow_cpu(const float* x, const float* y, float* z, std::int64_t count) {
  LOCKSTEP_SIMD_CALL(run_pow)(x, y, z, count);
}

}  // namespace lockstep::math

#endif  // HWY_ONCE
