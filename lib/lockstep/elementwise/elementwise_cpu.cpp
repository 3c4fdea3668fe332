#include <cstddef>
#include <cstdint>

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/elementwise/elementwise_cpu.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/highway.h>

#include "lockstep/elementwise/elementwise_internal.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::elementwise {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using simd::HWY_NAMESPACE::fma;
using simd::HWY_NAMESPACE::load_first;
using simd::HWY_NAMESPACE::store_first;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

struct AddScaled {
  explicit AddScaled(float alpha) : alpha_(hn::Set(D(), alpha)) {}
  V operator()(V x, V other, V) const { return fma(alpha_, other, x); }

 private:
  V alpha_;
};

struct AddcMul {
  explicit AddcMul(float value) : value_(hn::Set(D(), value)) {}
  V operator()(V x, V a, V b) const { return fma(hn::Mul(value_, a), b, x); }

 private:
  V value_;
};

struct AddcDiv {
  explicit AddcDiv(float value) : value_(hn::Set(D(), value)) {}
  V operator()(V x, V a, V b) const { return fma(value_, hn::Div(a, b), x); }

 private:
  V value_;
};

struct Lerp {
  explicit Lerp(float) {}
  V operator()(V start, V end, V weight) const {
    const D d;
    const V distance = hn::Sub(end, start);
    const auto near_start = hn::Lt(hn::Abs(weight), hn::Set(d, 0.5f));
    return fma(hn::IfThenElse(near_start, weight, hn::Sub(weight, hn::Set(d, 1.0f))), distance,
               hn::IfThenElse(near_start, start, end));
  }
};

/// An operand as the loop reads it. A number is an array of one vector whose index never moves.
class Source {
 public:
  explicit Source(const Operand& operand) : values_(operand.values()), moves_(operand.is_array()) {
    const D d;
    hn::Store(hn::Set(d, operand.value()), d, number_);
    if (!moves_) values_ = number_;
  }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  HWY_INLINE V load(std::int64_t i) const { return hn::LoadU(D(), values_ + (moves_ ? i : 0)); }
  HWY_INLINE V load(std::int64_t i, std::size_t count) const {
    return load_first(D(), values_ + (moves_ ? i : 0), count);
  }

 private:
  HWY_ALIGN float number_[HWY_MAX_BYTES / sizeof(float)];
  const float* values_;
  bool moves_;
};

template <class Element>
void run_as(const Call& call, std::int64_t begin, std::int64_t end) {
  const D d;
  const Element element(call.factor);
  const Source a(call.a), b(call.b), c(call.c);
  const auto step = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = begin;
  for (; i + step <= end; i += step) hn::StoreU(element(a.load(i), b.load(i), c.load(i)), d, call.out + i);
  if (i == end) return;
  const auto rest = static_cast<std::size_t>(end - i);
  store_first(element(a.load(i, rest), b.load(i, rest), c.load(i, rest)), d, call.out + i, rest);
}

void run(const Call& call, std::int64_t begin, std::int64_t end) {
  switch (call.operation) {
    case Operation::add_scaled:
      return run_as<AddScaled>(call, begin, end);
    case Operation::addcmul:
      return run_as<AddcMul>(call, begin, end);
    case Operation::addcdiv:
      return run_as<AddcDiv>(call, begin, end);
    case Operation::lerp:
      return run_as<Lerp>(call, begin, end);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::elementwise
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::elementwise {
namespace {

HWY_EXPORT(run);

constexpr std::int64_t kGrain = 32768;  // elements that are worth a thread's while

}  // namespace

void run_cpu(const Call& call) {
  const auto form = LOCKSTEP_SIMD_CALL(run);
  parallel::for_each_range(call.count, kGrain,
                           [&](std::int64_t begin, std::int64_t end) { form(call, begin, end); });
}

}  // namespace lockstep::elementwise

#endif  // HWY_ONCE
