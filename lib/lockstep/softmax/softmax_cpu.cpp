#include <algorithm>
#include <cstdint>
#include <vector>

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/softmax/softmax_cpu.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "lockstep/math/exponential_sum_internal.h"
#include "lockstep/math/vector_math_internal.h"
#include "lockstep/order/lanes.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/lanes_internal.h"
#include "lockstep/simd/vector_internal.h"
#include "lockstep/softmax/softmax_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::softmax_internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace lanes = simd::HWY_NAMESPACE;
namespace vector_math = math::HWY_NAMESPACE;
using D = lanes::LaneTag;
using V = lanes::LaneVector;

// ---- The last axis: a slice is a row

/// Quotients by one number, with the bits of a division, at the price of five fma. A quotient next to the
/// true one, corrected by what it leaves over times the rounded reciprocal, is the rounded quotient
/// (Markstein, Computation of elementary functions on the IBM RISC System/6000 processor), as long as what is
/// left over is exact.
class QuotientBy {
 public:
  explicit QuotientBy(float divisor)
      : divisor_(hn::Set(D(), divisor)),
        reciprocal_(hn::Set(D(), 1.0f / divisor)),
        exact_(divisor >= 1.0f && divisor <= 0x1p20f) {}

  /// For a dividend of 0 … 1.
  HWY_INLINE V operator()(V dividend) const {
    const D d;
    const auto small = hn::Lt(dividend, hn::Set(d, 0x1p-100f));
    if (HWY_UNLIKELY(!exact_ || !hn::AllFalse(d, hn::And(small, hn::Ne(dividend, hn::Zero(d))))))
      return hn::Div(dividend, divisor_);
    V q = hn::Mul(dividend, reciprocal_);
    for (int step = 0; step < 2; ++step)
      q = lanes::fma(lanes::negative_fma(q, divisor_, dividend), reciprocal_, q);
    return q;
  }

 private:
  V divisor_, reciprocal_;
  bool exact_;
};

// A short row is all waiting: for its maximum, then for its sum's tree. So rows go through each stage in
// groups, whose members do not wait for each other.
constexpr std::int64_t kGroup = 16, kGroupElements = 2048;

/// Calls stages(first row, rows) for groups of rows begin … end - 1.
template <class Stages>
HWY_INLINE void for_groups(std::int64_t n, std::int64_t begin, std::int64_t end, Stages stages) {
  const std::int64_t group = std::max<std::int64_t>(1, std::min(kGroup, kGroupElements / n));
  for (std::int64_t first = begin; first < end; first += group) stages(first, std::min(group, end - first));
}

void softmax_group(const float* x, float* y, std::int64_t n, std::int64_t rows) {
  float m[kGroup], sum[kGroup];
  for (std::int64_t r = 0; r < rows; ++r) m[r] = vector_math::row_max(x + r * n, n);
  for (std::int64_t r = 0; r < rows; ++r) {
    float* const to = y + r * n;
    sum[r] = vector_math::exponential_sum(x + r * n, m[r], order::lane_count(n), n,
                                          [&](V term, auto place) HWY_ATTR { place.store(term, to); });
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    float* const to = y + r * n;
    const QuotientBy quotient(sum[r]);
    lanes::for_each_vector(0, n, [&](auto place) HWY_ATTR { place.store(quotient(place.load(to)), to); });
  }
}

void log_softmax_group(const float* x, float* y, std::int64_t n, std::int64_t rows) {
  float m[kGroup], sum[kGroup];
  for (std::int64_t r = 0; r < rows; ++r) m[r] = vector_math::row_max(x + r * n, n);
  for (std::int64_t r = 0; r < rows; ++r)
    sum[r] = vector_math::exponential_sum(x + r * n, m[r], order::lane_count(n), n, [](V, auto) HWY_ATTR {});
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* const from = x + r * n;
    float* const to = y + r * n;
    const V largest = hn::Set(D(), m[r]), logarithm = vector_math::log(hn::Set(D(), sum[r]));
    lanes::for_each_vector(0, n, [&](auto place) HWY_ATTR {
      place.store(hn::Sub(hn::Sub(place.load(from), largest), logarithm), to);
    });
  }
}

HWY_INLINE void ask_ahead(const float* dy, const float* y, std::int64_t j) {
  hwy::Prefetch(dy + j + vector_math::kRowAhead);
  hwy::Prefetch(y + j + vector_math::kRowAhead);
}

float product_sum(const float* dy, const float* y, std::int64_t n) {
  return lanes::lane_reduce(
      order::lane_count(n), n, hn::Zero(D()),
      [&](V lane, auto place) HWY_ATTR {
        ask_ahead(dy, y, place.j);
        return place.keep(lanes::fma(place.load(dy), place.load(y), lane), lane);
      },
      lanes::AddVectors());
}

/// Row by row: this is little but reading, and a row's second pass finds it where the first one left it.
void softmax_backward_group(const float* dy, const float* y, float* dx, std::int64_t n, std::int64_t rows) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const V all = hn::Set(D(), product_sum(dy + r * n, y + r * n, n));
    lanes::for_each_vector(r * n, (r + 1) * n, [&](auto place) HWY_ATTR {
      hwy::Prefetch(dx + place.j + vector_math::kRowAhead);
      place.store(hn::Mul(hn::Sub(place.load(dy), all), place.load(y)), dx);
    });
  }
}

void log_softmax_backward_group(const float* dy, const float* y, float* dx, std::int64_t n,
                                std::int64_t rows) {
  float sum[kGroup];
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* const from = dy + r * n;
    const float* const beside = y + r * n;
    sum[r] = lanes::lane_sum(order::lane_count(n), n, [&](auto place) HWY_ATTR {
      ask_ahead(from, beside, place.j);
      return place.load(from);
    });
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const V total = hn::Set(D(), sum[r]);
    lanes::for_each_vector(r * n, (r + 1) * n, [&](auto place) HWY_ATTR {
      hwy::Prefetch(dx + place.j + vector_math::kRowAhead);
      place.store(hn::Sub(place.load(dy), hn::Mul(vector_math::exp(place.load(y)), total)), dx);
    });
  }
}

// ---- Another axis: slices lie side by side, a strip of columns at a time

/// Some columns of one outer index: `columns` floats at each of `axis` rows that are `stride` apart.
struct Strip {
  std::int64_t axis, stride, columns;

  /// visit(place, row's offset) for every vector of row a.
  template <class Visit>
  HWY_INLINE void for_row(std::int64_t a, Visit visit) const {
    const std::int64_t offset = a * stride;
    lanes::for_each_vector(0, columns, [&](auto place) HWY_ATTR { visit(place, offset); });
  }
};

/// Memory for the lanes of a strip, a row of `columns` for each lane, and for what a column needs.
class StripLanes {
 public:
  StripLanes(std::int64_t axis, std::int64_t columns)
      : lanes_(std::min<std::int64_t>(axis, order::lane_count(axis))),
        columns_(columns),
        memory_(static_cast<std::size_t>((lanes_ + 2) * columns)) {}

  float* largest() { return memory_.data() + lanes_ * columns_; }
  float* logarithm() { return largest() + columns_; }

  /// lane = step(lane, place, offset) over the axis, ascending, from +0; then the tree.
  template <class Step>
  HWY_INLINE const float* reduce(const Strip& strip, Step step) {
    if (HWY_LIKELY(strip.axis <= order::kElementsPerBlock)) return reduce_block(strip, 0, strip.axis, step);
    // Blocks, then their sums as an axis of their own.
    sums_.clear();
    for (std::int64_t begin = 0; begin < strip.axis; begin += order::kElementsPerBlock) {
      const float* const sum =
          reduce_block(strip, begin, std::min(begin + order::kElementsPerBlock, strip.axis), step);
      sums_.insert(sums_.end(), sum, sum + strip.columns);
    }
    Strip blocks = strip;
    blocks.axis = order::lane_blocks(strip.axis);
    blocks.stride = strip.columns;
    return reduce_block(blocks, 0, blocks.axis, [&](V lane, auto place, std::int64_t offset) HWY_ATTR {
      return hn::Add(lane, place.load(sums_.data() + offset));
    });
  }

 private:
  /// The rows begin … end - 1 of the axis.
  template <class Step>
  HWY_INLINE const float* reduce_block(const Strip& strip, std::int64_t begin, std::int64_t end, Step step) {
    const int lane_count = order::lane_count(end - begin);
    int filled = static_cast<int>(std::min<std::int64_t>(end - begin, lane_count));
    for (std::int64_t a = 0; a < filled; ++a) {
      float* const target = lane(a);
      strip.for_row(begin + a, [&](auto place, std::int64_t offset)
                                   HWY_ATTR { place.store(step(hn::Zero(D()), place, offset), target); });
    }
    for (std::int64_t a = filled; a < end - begin; ++a) {
      float* const target = lane(a & (lane_count - 1));
      strip.for_row(begin + a, [&](auto place, std::int64_t offset) HWY_ATTR {
        place.store(step(place.load(target), place, offset), target);
      });
    }
    const bool has_empty = filled < lane_count;
    for (int s = lane_count / 2; s > 0; s /= 2) {
      for (int i = 0; i < std::min(filled - s, s); ++i) add(lane(i), lane(i + s), strip.columns);
      filled = std::min(filled, s);
    }
    if (has_empty) add_zero(lane(0), strip.columns);  // what lanes without elements hold
    return lane(0);
  }

  HWY_INLINE static void add(float* target, const float* source, std::int64_t columns) {
    lanes::for_each_vector(0, columns, [&](auto place) HWY_ATTR {
      place.store(hn::Add(place.load(target), place.load(source)), target);
    });
  }

  HWY_INLINE static void add_zero(float* target, std::int64_t columns) {
    lanes::for_each_vector(0, columns, [&](auto place) HWY_ATTR {
      place.store(hn::Add(place.load(target), hn::Zero(D())), target);
    });
  }

  float* lane(std::int64_t index) { return memory_.data() + index * columns_; }

  std::int64_t lanes_, columns_;
  std::vector<float> memory_, sums_;
};

void strip_max(const Strip& strip, const float* x, float* m) {
  std::fill(m, m + strip.columns, -HUGE_VALF);
  for (std::int64_t a = 0; a < strip.axis; ++a) {
    strip.for_row(a, [&](auto place, std::int64_t offset)
                         HWY_ATTR { place.store(hn::Max(place.load(x + offset), place.load(m)), m); });
  }
}

void forward_strip(Kind kind, const float* x, float* y, const Strip& strip, StripLanes& memory) {
  float* const m = memory.largest();
  float* const logarithm = memory.logarithm();
  strip_max(strip, x, m);
  const bool keep = kind == Kind::softmax;
  const float* const sum = memory.reduce(strip, [&](V lane, auto place, std::int64_t offset) HWY_ATTR {
    const V term = vector_math::exp_nonpositive(hn::Sub(place.load(x + offset), place.load(m)));
    if (keep) place.store(term, y + offset);
    return hn::Add(lane, term);
  });
  if (!keep) {
    lanes::for_each_vector(0, strip.columns, [&](auto place) HWY_ATTR {
      place.store(vector_math::log(place.load(sum)), logarithm);
    });
  }
  for (std::int64_t a = 0; a < strip.axis; ++a) {
    strip.for_row(a, [&](auto place, std::int64_t offset) HWY_ATTR {
      if (keep)
        place.store(hn::Div(place.load(y + offset), place.load(sum)), y + offset);
      else
        place.store(hn::Sub(hn::Sub(place.load(x + offset), place.load(m)), place.load(logarithm)),
                    y + offset);
    });
  }
}

void backward_strip(Kind kind, const float* dy, const float* y, float* dx, const Strip& strip,
                    StripLanes& memory) {
  const bool product = kind == Kind::softmax;
  const float* const sum = memory.reduce(strip, [&](V lane, auto place, std::int64_t offset) HWY_ATTR {
    const V term = place.load(dy + offset);
    return product ? lanes::fma(term, place.load(y + offset), lane) : hn::Add(lane, term);
  });
  for (std::int64_t a = 0; a < strip.axis; ++a) {
    strip.for_row(a, [&](auto place, std::int64_t offset) HWY_ATTR {
      const V upstream = place.load(dy + offset), result = place.load(y + offset), total = place.load(sum);
      place.store(product ? hn::Mul(hn::Sub(upstream, total), result)
                          : hn::Sub(upstream, hn::Mul(vector_math::exp(result), total)),
                  dx + offset);
    });
  }
}

// ---- What the switch chooses

void forward_rows(Kind kind, const float* x, float* y, std::int64_t n, std::int64_t begin, std::int64_t end) {
  for_groups(n, begin, end, [&](std::int64_t first, std::int64_t rows) {
    (kind == Kind::softmax ? softmax_group : log_softmax_group)(x + first * n, y + first * n, n, rows);
  });
}

void backward_rows(Kind kind, const float* dy, const float* y, float* dx, std::int64_t n, std::int64_t begin,
                   std::int64_t end) {
  for_groups(n, begin, end, [&](std::int64_t first, std::int64_t rows) {
    const std::int64_t at = first * n;
    (kind == Kind::softmax ? softmax_backward_group : log_softmax_backward_group)(dy + at, y + at, dx + at, n,
                                                                                  rows);
  });
}

/// Strips begin … end - 1 of all, those of one outer index side by side. Calls one(strip, offset of its first
/// element).
template <class One>
HWY_INLINE void for_strips(const AxisExtents& extents, std::int64_t columns, std::int64_t begin,
                           std::int64_t end, One one) {
  const std::int64_t across = (extents.inner + columns - 1) / columns;
  for (std::int64_t s = begin; s < end; ++s) {
    const std::int64_t outer = s / across, column = s % across * columns;
    one(Strip{extents.axis, extents.inner, std::min(columns, extents.inner - column)},
        outer * extents.axis * extents.inner + column);
  }
}

void forward_strips(Kind kind, const float* x, float* y, const AxisExtents& extents, std::int64_t columns,
                    std::int64_t begin, std::int64_t end) {
  StripLanes memory(extents.axis, columns);
  for_strips(extents, columns, begin, end, [&](const Strip& strip, std::int64_t at) {
    forward_strip(kind, x + at, y + at, strip, memory);
  });
}

void backward_strips(Kind kind, const float* dy, const float* y, float* dx, const AxisExtents& extents,
                     std::int64_t columns, std::int64_t begin, std::int64_t end) {
  StripLanes memory(extents.axis, columns);
  for_strips(extents, columns, begin, end, [&](const Strip& strip, std::int64_t at) {
    backward_strip(kind, dy + at, y + at, dx + at, strip, memory);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::softmax_internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::softmax_internal {
namespace {

HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);
HWY_EXPORT(forward_strips);
HWY_EXPORT(backward_strips);

constexpr std::int64_t kElementsWorthAThread = 16384;

/// Slices, or strips of them, that are worth a thread's while.
std::int64_t grain(std::int64_t elements_of_one) {
  return std::max<std::int64_t>(1, kElementsWorthAThread / std::max<std::int64_t>(1, elements_of_one));
}

/// Slices that lie side by side and are worked on together: whole cache lines, as many as keep the lanes near
/// the processor.
std::int64_t strip_columns(const AxisExtents& extents) {
  constexpr std::int64_t kLine = 16, kLeast = 64, kLaneElements = 8192;
  const std::int64_t fitting =
      kLaneElements / std::min<std::int64_t>(extents.axis, order::kFewLanes) / kLine * kLine;
  return std::min(std::max(fitting, kLeast), (extents.inner + kLine - 1) / kLine * kLine);
}

}  // namespace

void forward_cpu(Kind kind, const float* x, float* y, const AxisExtents& extents) {
  if (extents.inner == 1) {
    const auto form = LOCKSTEP_SIMD_CALL(forward_rows);
    parallel::for_each_range(extents.outer, grain(extents.axis), [&](std::int64_t begin, std::int64_t end) {
      form(kind, x, y, extents.axis, begin, end);
    });
  } else {
    const auto form = LOCKSTEP_SIMD_CALL(forward_strips);
    const std::int64_t columns = strip_columns(extents);
    const std::int64_t strips = extents.outer * ((extents.inner + columns - 1) / columns);
    parallel::for_each_range(
        strips, grain(extents.axis * columns),
        [&](std::int64_t begin, std::int64_t end) { form(kind, x, y, extents, columns, begin, end); });
  }
}

void backward_cpu(Kind kind, const float* dy, const float* y, float* dx, const AxisExtents& extents) {
  if (extents.inner == 1) {
    const auto form = LOCKSTEP_SIMD_CALL(backward_rows);
    parallel::for_each_range(extents.outer, grain(extents.axis), [&](std::int64_t begin, std::int64_t end) {
      form(kind, dy, y, dx, extents.axis, begin, end);
    });
  } else {
    const auto form = LOCKSTEP_SIMD_CALL(backward_strips);
    const std::int64_t columns = strip_columns(extents);
    const std::int64_t strips = extents.outer * ((extents.inner + columns - 1) / columns);
    parallel::for_each_range(
        strips, grain(extents.axis * columns),
        [&](std::int64_t begin, std::int64_t end) { form(kind, dy, y, dx, extents, columns, begin, end); });
  }
}

}  // namespace lockstep::softmax_internal

#endif  // HWY_ONCE
