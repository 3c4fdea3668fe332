#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/norm/norm_cpu.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/highway.h>

#include "lockstep/norm/norm_inl.h"
#include "lockstep/norm/norm_internal.h"
#include "lockstep/order/fold.h"
#include "lockstep/order/lanes.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/simd/lanes_internal.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::norm {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace vec = simd::HWY_NAMESPACE;
using vec::fma;
using D = vec::LaneTag;
using V = vec::LaneVector;

/// An element each of a row, or the same number for all where the row has none.
class RowOr {
 public:
  RowOr(const float* row, float otherwise) : row_(row), otherwise_(otherwise) {}
  template <class Place>
  HWY_INLINE V load(Place place) const {
    return row_ != nullptr ? place.load(row_) : hn::Set(D(), otherwise_);
  }

 private:
  const float* row_;
  float otherwise_;
};

/// A row's elements, normalized as norm_inl.h does.
template <bool kCentered>
class Normalized {
 public:
  Normalized(const float* x, float mean, float rstd) : x_(x), mean_(mean), rstd_(rstd) {}
  template <class Place>
  HWY_INLINE V load(Place place) const {
    const D d;
    const V x = place.load(x_);
    return hn::Mul(kCentered ? hn::Sub(x, hn::Set(d, mean_)) : x, hn::Set(d, rstd_));
  }

 private:
  const float* x_;
  float mean_, rstd_;
};

/// The lane sum of a(place) · b(place), which `zero_behind` says are 0 behind the row's end.
template <bool kZeroBehind, class A, class B>
HWY_INLINE float lane_product(std::int64_t n, A a, B b) {
  const V zero = hn::Zero(D());
  return vec::lane_reduce(
      order::lane_count(n), n, zero,
      [&](V lane, auto place) HWY_ATTR {
        const V left = a(place);
        return fma(kZeroBehind ? left : place.keep(left, zero), b(place), lane);
      },
      vec::AddVectors());
}

template <bool kCentered>
void row(const Rows& c, std::int64_t r) {
  const D d;
  const float* const x = c.x + r * c.row_stride;
  float* const y = c.y + r * c.row_stride;
  const std::int64_t n = c.features;
  const auto count = static_cast<float>(n);
  float mean = 0;
  if (kCentered)
    mean = vec::lane_sum(order::lane_count(n), n, [x](auto place) HWY_ATTR { return place.load(x); }) / count;
  const V middle = hn::Set(d, mean);
  const auto deviation = [&](auto place) HWY_ATTR {
    return kCentered ? place.keep(hn::Sub(place.load(x), middle), hn::Zero(d)) : place.load(x);
  };
  const float rstd = reciprocal_root(lane_product<true>(n, deviation, deviation), count, c.eps);
  const RowOr gamma(c.gamma, 1.0f), beta(c.beta, 0.0f);
  const Normalized<kCentered> normalized(x, mean, rstd);
  vec::for_each_vector(0, n, [&](auto place) HWY_ATTR {
    const V value = normalized.load(place);
    place.store(
        kCentered ? fma(value, gamma.load(place), beta.load(place)) : hn::Mul(value, gamma.load(place)), y);
  });
  if (c.mean != nullptr) c.mean[r * c.statistics_stride] = mean;
  if (c.rstd != nullptr) c.rstd[r * c.statistics_stride] = rstd;
}

void rows_form(const Rows& call, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) call.is_centered ? row<true>(call, r) : row<false>(call, r);
}

template <bool kCentered>
Normalized<kCentered> normalized_row(const RowsBackward& c, std::int64_t r) {
  return {c.x + r * c.row_stride, kCentered ? c.mean[r * c.statistics_stride] : 0.0f,
          c.rstd[r * c.statistics_stride]};
}

template <bool kCentered>
void row_dx(const RowsBackward& c, std::int64_t r) {
  const D d;
  const float* const dy = c.dy + r * c.row_stride;
  float* const dx = c.dx + r * c.row_stride;
  const std::int64_t n = c.features;
  const auto count = static_cast<float>(n);
  const RowOr gamma(c.gamma, 1.0f);
  const auto normalized = normalized_row<kCentered>(c, r);
  const auto g = [&](auto place) HWY_ATTR { return hn::Mul(place.load(dy), gamma.load(place)); };
  const auto value = [&](auto place) HWY_ATTR { return normalized.load(place); };
  const V mean_of_product = hn::Set(d, lane_product<false>(n, g, value) / count);
  const V mean_of_g = hn::Set(d, kCentered ? vec::lane_sum(order::lane_count(n), n, g) / count : 0.0f);
  const V rstd = hn::Set(d, c.rstd[r * c.statistics_stride]);
  vec::for_each_vector(0, n, [&](auto place) HWY_ATTR {
    const V inner = kCentered ? hn::Sub(g(place), fma(value(place), mean_of_product, mean_of_g))
                              : vec::negative_fma(value(place), mean_of_product, g(place));
    place.store(hn::Mul(inner, rstd), dx);
  });
}

/// Adds row r's terms of the columns begin … end - 1 to the partials.
template <bool kCentered>
void row_terms(const RowsBackward& c, std::int64_t r, std::int64_t begin, std::int64_t end, float* dgamma,
               float* dbeta) {
  const float* const dy = c.dy + r * c.row_stride;
  if (dgamma != nullptr) {
    const auto normalized = normalized_row<kCentered>(c, r);
    vec::for_each_vector(begin, end, [&](auto place) HWY_ATTR {
      place.store(fma(place.load(dy), normalized.load(place), place.load(dgamma)), dgamma);
    });
  }
  if (dbeta != nullptr) {
    vec::for_each_vector(begin, end, [&](auto place) HWY_ATTR {
      place.store(hn::Add(place.load(dbeta), place.load(dy)), dbeta);
    });
  }
}

/// Rows begin … end - 1: dx where it is wanted, and the terms of all columns where there are partials.
void backward_form(const RowsBackward& call, std::int64_t begin, std::int64_t end, float* dgamma,
                   float* dbeta) {
  const auto run = [&](auto is_centered) HWY_ATTR {
    constexpr bool kCentered = decltype(is_centered)::value;
    for (std::int64_t r = begin; r < end; ++r) {
      row_terms<kCentered>(call, r, 0, call.features, dgamma, dbeta);
      if (call.dx != nullptr) row_dx<kCentered>(call, r);
    }
  };
  call.is_centered ? run(std::true_type()) : run(std::false_type());
}

void terms_form(const RowsBackward& call, std::int64_t row_begin, std::int64_t row_end, std::int64_t begin,
                std::int64_t end, float* dgamma, float* dbeta) {
  for (std::int64_t r = row_begin; r < row_end; ++r)
    call.is_centered ? row_terms<true>(call, r, begin, end, dgamma, dbeta)
                     : row_terms<false>(call, r, begin, end, dgamma, dbeta);
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::norm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::norm {
namespace {

HWY_EXPORT(rows_form);
HWY_EXPORT(backward_form);
HWY_EXPORT(terms_form);

constexpr std::int64_t kElements = 8192;  // that are worth a thread's while

/// Rows that are worth a thread's while.
std::int64_t row_grain(std::int64_t features) {
  return std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, features));
}

/// Columns that are worth a thread's while, whole cache lines of them.
std::int64_t column_grain(std::int64_t rows) {
  return (kElements / std::max<std::int64_t>(1, rows) + 15) / 16 * 16 + 16;
}

/// Partials of gamma's and beta's gradients, side by side, each for a segment of the span.
class Partials {
 public:
  Partials(const NormFold& dgamma, const NormFold& dbeta, std::int64_t features, std::int64_t segments)
      : dgamma_(dgamma),
        dbeta_(dbeta),
        features_(features),
        memory_(static_cast<std::size_t>(2 * features * segments)) {}

  float* dgamma(std::int64_t slot) {
    return dgamma_.total == nullptr ? nullptr : memory_.data() + 2 * slot * features_;
  }
  float* dbeta(std::int64_t slot) {
    return dbeta_.total == nullptr ? nullptr : memory_.data() + (2 * slot + 1) * features_;
  }
  /// Starts the columns begin … end - 1 of a segment.
  void start(std::int64_t slot, const order::FoldSegment& segment, std::int64_t begin, std::int64_t end) {
    start(dgamma(slot), dgamma_, segment, begin, end);
    start(dbeta(slot), dbeta_, segment, begin, end);
  }
  /// Adds them to the total, or leaves them open.
  void finish(std::int64_t slot, const order::FoldSegment& segment, std::int64_t begin, std::int64_t end) {
    finish(dgamma(slot), dgamma_, segment, begin, end);
    finish(dbeta(slot), dbeta_, segment, begin, end);
  }

 private:
  static void start(float* partial, const NormFold& fold, const order::FoldSegment& segment,
                    std::int64_t begin, std::int64_t end) {
    if (partial == nullptr) return;
    if (segment.opens)
      std::fill(partial + begin, partial + end, 0.0f);
    else
      std::copy(fold.open + begin, fold.open + end, partial + begin);
  }
  static void finish(const float* partial, const NormFold& fold, const order::FoldSegment& segment,
                     std::int64_t begin, std::int64_t end) {
    if (partial == nullptr) return;
    if (segment.closes)
      for (std::int64_t j = begin; j < end; ++j) fold.total[j] = fold.total[j] + partial[j];
    else
      std::copy(partial + begin, partial + end, fold.open + begin);
  }

  NormFold dgamma_, dbeta_;
  std::int64_t features_;
  std::vector<float> memory_;
};

/// A wave of segments, a thread each: dx and terms of a row while it is in the cache.
void run_wave(const RowsBackward& call, const order::FoldSpan& span, std::int64_t first,
              std::int64_t segments, Partials& partials) {
  const auto form = LOCKSTEP_SIMD_CALL(backward_form);
  parallel::for_each_range(segments, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t slot = begin; slot < end; ++slot) {
      const order::FoldSegment segment = order::fold_segment(span, first + slot);
      partials.start(slot, segment, 0, call.features);
      form(call, segment.offset, segment.offset + segment.rows, partials.dgamma(slot), partials.dbeta(slot));
    }
  });
  parallel::for_each_range(call.features, kElements, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t slot = 0; slot < segments; ++slot)
      partials.finish(slot, order::fold_segment(span, first + slot), begin, end);
  });
}

/// Fewer segments than threads: terms are shared by columns, then dx, which may lie where dy did, by rows.
void run_few(const RowsBackward& call, const order::FoldSpan& span, std::int64_t first, std::int64_t segments,
             Partials& partials) {
  const order::FoldSegment low = order::fold_segment(span, first);
  const order::FoldSegment high = order::fold_segment(span, first + segments - 1);
  const auto terms = LOCKSTEP_SIMD_CALL(terms_form);
  parallel::for_each_range(call.features, column_grain(high.offset + high.rows - low.offset),
                           [&](std::int64_t begin, std::int64_t end) {
                             for (std::int64_t slot = 0; slot < segments; ++slot) {
                               const order::FoldSegment segment = order::fold_segment(span, first + slot);
                               partials.start(slot, segment, begin, end);
                               terms(call, segment.offset, segment.offset + segment.rows, begin, end,
                                     partials.dgamma(slot), partials.dbeta(slot));
                               partials.finish(slot, segment, begin, end);
                             }
                           });
  const auto rows = LOCKSTEP_SIMD_CALL(backward_form);
  if (call.dx != nullptr)
    parallel::for_each_range(high.offset + high.rows - low.offset, row_grain(call.features),
                             [&](std::int64_t begin, std::int64_t end) {
                               rows(call, low.offset + begin, low.offset + end, nullptr, nullptr);
                             });
}

}  // namespace

void rows_cpu(const Rows& call, std::int64_t rows) {
  const auto form = LOCKSTEP_SIMD_CALL(rows_form);
  parallel::for_each_range(rows, row_grain(call.features),
                           [&](std::int64_t begin, std::int64_t end) { form(call, begin, end); });
}

void rows_backward_cpu(const RowsBackward& call, const NormFold& dgamma, const NormFold& dbeta,
                       const order::FoldSpan& span) {
  if (dgamma.total == nullptr && dbeta.total == nullptr) {
    if (call.dx == nullptr) return;
    const auto form = LOCKSTEP_SIMD_CALL(backward_form);
    return parallel::for_each_range(
        span.rows, row_grain(call.features),
        [&](std::int64_t begin, std::int64_t end) { form(call, begin, end, nullptr, nullptr); });
  }
  const std::int64_t segments = order::fold_segments(span);
  const std::int64_t threads =
      std::clamp<std::int64_t>(span.rows / row_grain(call.features), 1, parallel::thread_count());
  Partials partials(dgamma, dbeta, call.features, std::min(segments, threads));
  std::int64_t first = 0;
  for (; first + threads <= segments; first += threads) run_wave(call, span, first, threads, partials);
  if (first < segments) run_few(call, span, first, segments - first, partials);
}

namespace {

/// gamma or beta of one group's channels, an element each of the group's row.
std::vector<float> spread(const float* channels, std::int64_t first, std::int64_t count,
                          std::int64_t pixels) {
  std::vector<float> row;
  if (channels == nullptr) return row;
  row.reserve(static_cast<std::size_t>(count * pixels));
  for (std::int64_t c = first; c < first + count; ++c)
    row.insert(row.end(), static_cast<std::size_t>(pixels), channels[c]);
  return row;
}

const float* data_or_null(const std::vector<float>& row) { return row.empty() ? nullptr : row.data(); }

/// Calls work(group, first sample, last sample) for all pairs, groups outside.
template <class Work>
void for_each_group(std::int64_t samples, std::int64_t groups, std::int64_t group_elements, Work work) {
  parallel::for_each_range(samples * groups, row_grain(group_elements),
                           [&](std::int64_t begin, std::int64_t end) {
                             while (begin < end) {
                               const std::int64_t group = begin / samples, first = begin % samples;
                               const std::int64_t count = std::min(samples - first, end - begin);
                               work(group, first, first + count);
                               begin += count;
                             }
                           });
}

}  // namespace

void group_norm_cpu(const GroupNorm& c) {
  const auto form = LOCKSTEP_SIMD_CALL(rows_form);
  const std::int64_t wide = c.channels / c.groups, elements = wide * c.pixels;
  for_each_group(
      c.samples, c.groups, elements, [&](std::int64_t group, std::int64_t first, std::int64_t last) {
        const std::vector<float> gamma = spread(c.gamma, group * wide, wide, c.pixels);
        const std::vector<float> beta = spread(c.beta, group * wide, wide, c.pixels);
        const std::int64_t offset = group * elements;
        form({c.x + offset, data_or_null(gamma), data_or_null(beta), c.y + offset,
              c.mean == nullptr ? nullptr : c.mean + group, c.rstd == nullptr ? nullptr : c.rstd + group,
              c.channels * c.pixels, c.groups, elements, static_cast<float>(c.eps), true},
             first, last);
      });
}

namespace {

void group_norm_dx(const GroupNormBackward& c) {
  const auto form = LOCKSTEP_SIMD_CALL(backward_form);
  const std::int64_t wide = c.channels / c.groups, elements = wide * c.pixels;
  for_each_group(c.samples, c.groups, elements,
                 [&](std::int64_t group, std::int64_t first, std::int64_t last) {
                   const std::vector<float> gamma = spread(c.gamma, group * wide, wide, c.pixels);
                   const std::int64_t offset = group * elements;
                   form({c.dy + offset, c.x + offset, c.mean + group, c.rstd + group, data_or_null(gamma),
                         c.dx + offset, c.channels * c.pixels, c.groups, elements, true},
                        first, last, nullptr, nullptr);
                 });
}

/// The terms of one channel's pixels of a segment, row by row.
void group_norm_terms(const GroupNormBackward& c, std::int64_t channel, const order::FoldSegment& segment,
                      float* dgamma, float* dbeta) {
  const std::int64_t group = channel / (c.channels / c.groups);
  for (std::int64_t row = segment.offset; row < segment.offset + segment.rows; ++row) {
    const std::int64_t sample = row / c.pixels;
    const std::int64_t place = (sample * c.channels + channel) * c.pixels + row % c.pixels;
    const std::int64_t statistic = sample * c.groups + group;
    if (dgamma != nullptr)
      *dgamma = std::fma(c.dy[place], centered(c.x[place], c.mean[statistic], c.rstd[statistic]), *dgamma);
    if (dbeta != nullptr) *dbeta = *dbeta + c.dy[place];
  }
}

void group_norm_folds(const GroupNormBackward& c) {
  Partials partials(c.dgamma, c.dbeta, c.channels, 1);
  parallel::for_each_range(c.channels, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = 0; index < order::fold_segments(c.span); ++index) {
      const order::FoldSegment segment = order::fold_segment(c.span, index);
      partials.start(0, segment, begin, end);
      for (std::int64_t channel = begin; channel < end; ++channel) {
        float* const dgamma = partials.dgamma(0);
        float* const dbeta = partials.dbeta(0);
        group_norm_terms(c, channel, segment, dgamma == nullptr ? nullptr : dgamma + channel,
                         dbeta == nullptr ? nullptr : dbeta + channel);
      }
      partials.finish(0, segment, begin, end);
    }
  });
}

}  // namespace

void group_norm_backward_cpu(const GroupNormBackward& c) {
  if (c.dgamma.total != nullptr || c.dbeta.total != nullptr) group_norm_folds(c);
  if (c.dx != nullptr) group_norm_dx(c);  // last: it may lie where dy did
}

}  // namespace lockstep::norm

#endif  // HWY_ONCE
