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

/// gamma or beta of a row's elements: one for each element or, kChannels, for `pixels` of them; or the same
/// for all.
template <bool kChannels>
class Scale {
 public:
  Scale(const float* values, float otherwise, std::int64_t pixels)
      : values_(values),
        otherwise_(otherwise),
        reciprocal_(kChannels ? ((std::uint64_t{1} << 32) + static_cast<std::uint64_t>(pixels) - 1) /
                                    static_cast<std::uint64_t>(pixels)
                              : 0) {}
  template <class Place>
  HWY_INLINE V load(Place place) const {
    if (values_ == nullptr) return hn::Set(D(), otherwise_);
    if constexpr (kChannels)  // j / pixels: exact below 2^32 / pixels, which the caller sees to
      return hn::Set(D(), values_[static_cast<std::uint64_t>(place.j) * reciprocal_ >> 32]);
    else
      return place.load(values_);
  }

 private:
  const float* values_;
  float otherwise_;
  std::uint64_t reciprocal_;
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

/// The lane sum of a(place) · b(place).
template <class A, class B>
HWY_INLINE float lane_product(std::int64_t n, A a, B b) {
  return vec::lane_reduce(
      order::lane_count(n), n, hn::Zero(D()),
      [&](V lane, auto place) HWY_ATTR { return place.keep(fma(a(place), b(place), lane), lane); },
      vec::AddVectors());
}

template <bool kCentered, bool kChannels>
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
  const auto deviation = [&](auto place)
                             HWY_ATTR { return kCentered ? hn::Sub(place.load(x), middle) : place.load(x); };
  const float rstd = reciprocal_root(lane_product(n, deviation, deviation), count, c.eps);
  const Scale<kChannels> gamma(c.gamma, 1.0f, c.pixels), beta(c.beta, 0.0f, c.pixels);
  const Normalized<kCentered> normalized(x, mean, rstd);
  vec::for_each_vector(0, n, [&](auto place) HWY_ATTR {
    const V value = normalized.load(place);
    place.store(
        kCentered ? fma(value, gamma.load(place), beta.load(place)) : hn::Mul(value, gamma.load(place)), y);
  });
  if (c.mean != nullptr) c.mean[r * c.statistics_stride] = mean;
  if (c.rstd != nullptr) c.rstd[r * c.statistics_stride] = rstd;
}

template <bool kCentered, bool kChannels>
void all_rows(const Rows& call, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) row<kCentered, kChannels>(call, r);
}

void rows_form(const Rows& call, std::int64_t begin, std::int64_t end) {
  if (call.pixels > 0) return all_rows<true, true>(call, begin, end);
  call.is_centered ? all_rows<true, false>(call, begin, end) : all_rows<false, false>(call, begin, end);
}

template <bool kCentered>
Normalized<kCentered> normalized_row(const RowsBackward& c, std::int64_t r) {
  return {c.x + r * c.row_stride, kCentered ? c.mean[r * c.statistics_stride] : 0.0f,
          c.rstd[r * c.statistics_stride]};
}

/// What a row's dx is made of, beside its elements.
struct Means {
  float of_g, of_product;
};

template <bool kCentered, bool kChannels>
Means row_means(const RowsBackward& c, std::int64_t r) {
  const float* const dy = c.dy + r * c.row_stride;
  const std::int64_t n = c.features;
  const auto count = static_cast<float>(n);
  const Scale<kChannels> gamma(c.gamma, 1.0f, c.pixels);
  const auto normalized = normalized_row<kCentered>(c, r);
  const auto g = [&](auto place) HWY_ATTR { return hn::Mul(place.load(dy), gamma.load(place)); };
  const auto value = [&](auto place) HWY_ATTR { return normalized.load(place); };
  if constexpr (!kCentered) return {0, lane_product(n, g, value) / count};
  const vec::TwoSums sums =
      vec::two_lane_sums(order::lane_count(n), n, [&](V& of_g, V& of_product, auto place) HWY_ATTR {
        const V term = g(place);
        of_g = place.keep(hn::Add(of_g, term), of_g);
        of_product = place.keep(fma(term, value(place), of_product), of_product);
      });
  return {sums.first / count, sums.second / count};
}

template <bool kCentered, bool kChannels>
void row_dx(const RowsBackward& c, std::int64_t r, const Means& means) {
  const D d;
  const float* const dy = c.dy + r * c.row_stride;
  float* const dx = c.dx + r * c.row_stride;
  const Scale<kChannels> gamma(c.gamma, 1.0f, c.pixels);
  const auto normalized = normalized_row<kCentered>(c, r);
  const V of_g = hn::Set(d, means.of_g), of_product = hn::Set(d, means.of_product);
  const V rstd = hn::Set(d, c.rstd[r * c.statistics_stride]);
  vec::for_each_vector(0, c.features, [&](auto place) HWY_ATTR {
    const V g = hn::Mul(place.load(dy), gamma.load(place)), value = normalized.load(place);
    const V inner =
        kCentered ? hn::Sub(g, fma(value, of_product, of_g)) : vec::negative_fma(value, of_product, g);
    place.store(hn::Mul(inner, rstd), dx);
  });
}

/// Adds the terms of kRows rows from r on, ascending, to the partials of the columns begin … end - 1.
template <bool kCentered, int kRows>
void rows_terms(const RowsBackward& c, std::int64_t r, std::int64_t begin, std::int64_t end, float* dgamma,
                float* dbeta) {
  const float* const dy = c.dy + r * c.row_stride;
  if (dgamma == nullptr) {
    return vec::for_each_vector(begin, end, [&](auto place) HWY_ATTR {
      V beta = place.load(dbeta);
      for (int i = 0; i < kRows; ++i) beta = hn::Add(beta, place.load(dy + i * c.row_stride));
      place.store(beta, dbeta);
    });
  }
  const auto row = [&](int i) HWY_ATTR { return normalized_row<kCentered>(c, r + (i < kRows ? i : 0)); };
  const Normalized<kCentered> n0 = row(0), n1 = row(1), n2 = row(2), n3 = row(3);
  const auto run = [&](auto with_beta) HWY_ATTR {
    constexpr bool kBeta = decltype(with_beta)::value;
    vec::for_each_vector(begin, end, [&](auto place) HWY_ATTR {
      V gamma = place.load(dgamma), beta = kBeta ? place.load(dbeta) : hn::Zero(D());
      const auto add = [&](const Normalized<kCentered>& normalized, int i) HWY_ATTR {
        const V gradient = place.load(dy + i * c.row_stride);
        gamma = fma(gradient, normalized.load(place), gamma);
        if (kBeta) beta = hn::Add(beta, gradient);
      };
      add(n0, 0);
      if (kRows > 1) add(n1, 1);
      if (kRows > 2) add(n2, 2);
      if (kRows > 3) add(n3, 3);
      place.store(gamma, dgamma);
      if (kBeta) place.store(beta, dbeta);
    });
  };
  dbeta != nullptr ? run(std::true_type()) : run(std::false_type());
}

/// kRows rows: terms before dx, which may lie where dy does.
template <bool kCentered, bool kChannels, int kRows>
void rows_backward(const RowsBackward& c, std::int64_t r, float* dgamma, float* dbeta) {
  if (dgamma != nullptr || dbeta != nullptr) rows_terms<kCentered, kRows>(c, r, 0, c.features, dgamma, dbeta);
  if (c.dx == nullptr) return;
  Means means[kRows];
  for (int i = 0; i < kRows; ++i) means[i] = row_means<kCentered, kChannels>(c, r + i);
  for (int i = 0; i < kRows; ++i) row_dx<kCentered, kChannels>(c, r + i, means[i]);
}

template <bool kCentered, bool kChannels>
void all_rows_backward(const RowsBackward& c, std::int64_t begin, std::int64_t end, float* dgamma,
                       float* dbeta) {
  std::int64_t r = begin;
  for (; r + 4 <= end; r += 4) rows_backward<kCentered, kChannels, 4>(c, r, dgamma, dbeta);
  for (; r < end; ++r) rows_backward<kCentered, kChannels, 1>(c, r, dgamma, dbeta);
}

/// Rows begin … end - 1: dx where it is wanted, and the terms of all columns where there are partials.
void backward_form(const RowsBackward& call, std::int64_t begin, std::int64_t end, float* dgamma,
                   float* dbeta) {
  if (call.pixels > 0) return all_rows_backward<true, true>(call, begin, end, dgamma, dbeta);
  call.is_centered ? all_rows_backward<true, false>(call, begin, end, dgamma, dbeta)
                   : all_rows_backward<false, false>(call, begin, end, dgamma, dbeta);
}

template <bool kCentered>
void all_rows_terms(const RowsBackward& c, std::int64_t row_begin, std::int64_t row_end, std::int64_t begin,
                    std::int64_t end, float* dgamma, float* dbeta) {
  std::int64_t r = row_begin;
  for (; r + 4 <= row_end; r += 4) rows_terms<kCentered, 4>(c, r, begin, end, dgamma, dbeta);
  for (; r < row_end; ++r) rows_terms<kCentered, 1>(c, r, begin, end, dgamma, dbeta);
}

void terms_form(const RowsBackward& call, std::int64_t row_begin, std::int64_t row_end, std::int64_t begin,
                std::int64_t end, float* dgamma, float* dbeta) {
  call.is_centered ? all_rows_terms<true>(call, row_begin, row_end, begin, end, dgamma, dbeta)
                   : all_rows_terms<false>(call, row_begin, row_end, begin, end, dgamma, dbeta);
}

// ---- GroupNorm's folds: the rows are pixels, and a channel's pixels lie side by side, so vectors of
// channels are made of them four pixels at a time

#if HWY_TARGET == HWY_SCALAR

constexpr std::int64_t kPixels = 1;
struct Pixels {
  V p0;
};

HWY_INLINE Pixels load_pixels(const float* const* channel, std::int64_t pixel) {
  return {hn::Set(D(), channel[0][pixel])};
}

template <class Visit>
HWY_INLINE void for_each_pixel(const Pixels& a, const Pixels& b, Visit visit) {
  visit(a.p0, b.p0);
}

#else

constexpr std::int64_t kPixels = 4;
struct Pixels {
  V p0, p1, p2, p3;
};

/// Block b of the result is four pixels of channel[4 · b].
template <class DN>
HWY_INLINE hn::Vec<DN> load_blocks(DN d, const float* const* channel, std::int64_t pixel) {
  if constexpr (hn::MaxLanes(DN()) <= 4) {
    return hn::LoadU(d, channel[0] + pixel);
  } else {
    const hn::Half<DN> half;
    return hn::Combine(d, load_blocks(half, channel + hn::MaxLanes(DN()) / 2, pixel),
                       load_blocks(half, channel, pixel));
  }
}

/// Four pixels of as many channels as a vector holds, transposed: p0 is a place each of the first pixel.
HWY_INLINE Pixels load_pixels(const float* const* channel, std::int64_t pixel) {
  const D d;
  const hn::RepartitionToWide<D> wide;
  const V r0 = load_blocks(d, channel, pixel), r1 = load_blocks(d, channel + 1, pixel);
  const V r2 = load_blocks(d, channel + 2, pixel), r3 = load_blocks(d, channel + 3, pixel);
  const auto low01 = hn::BitCast(wide, hn::InterleaveLower(d, r0, r1));
  const auto low23 = hn::BitCast(wide, hn::InterleaveLower(d, r2, r3));
  const auto high01 = hn::BitCast(wide, hn::InterleaveUpper(d, r0, r1));
  const auto high23 = hn::BitCast(wide, hn::InterleaveUpper(d, r2, r3));
  return {hn::BitCast(d, hn::InterleaveLower(wide, low01, low23)),
          hn::BitCast(d, hn::InterleaveUpper(wide, low01, low23)),
          hn::BitCast(d, hn::InterleaveLower(wide, high01, high23)),
          hn::BitCast(d, hn::InterleaveUpper(wide, high01, high23))};
}

template <class Visit>
HWY_INLINE void for_each_pixel(const Pixels& a, const Pixels& b, Visit visit) {
  visit(a.p0, b.p0);
  visit(a.p1, b.p1);
  visit(a.p2, b.p2);
  visit(a.p3, b.p3);
}

#endif

/// The channels of one vector in one sample. Places behind the last channel repeat it.
struct ChannelBlock {
  ChannelBlock(const GroupNormBackward& c, std::int64_t sample, std::int64_t first) {
    const std::int64_t wide = c.channels / c.groups;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(hn::Lanes(D())); ++i) {
      const std::int64_t channel = std::min(first + i, c.channels - 1);
      const std::int64_t offset = (sample * c.channels + channel) * c.pixels;
      dy[i] = c.dy + offset;
      x[i] = c.x == nullptr ? dy[i] : c.x + offset;  // no x, no gradient of gamma
      mean[i] = c.x == nullptr ? 0.0f : c.mean[sample * c.groups + channel / wide];
      rstd[i] = c.x == nullptr ? 0.0f : c.rstd[sample * c.groups + channel / wide];
    }
  }
  static constexpr std::size_t kMost = HWY_MAX_BYTES / sizeof(float);
  const float* dy[kMost];
  const float* x[kMost];
  HWY_ALIGN float mean[kMost];
  HWY_ALIGN float rstd[kMost];
};

/// Pixel `pixel` of each channel of a block.
HWY_INLINE V gather_pixel(const float* const* channel, std::int64_t pixel) {
  const D d;
  HWY_ALIGN float values[ChannelBlock::kMost];
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) values[i] = channel[i][pixel];
  return hn::Load(d, values);
}

/// Adds the rows of a segment, ascending, to the chains of the channels first … first + count - 1.
void channel_terms_form(const GroupNormBackward& c, std::int64_t first, std::int64_t count,
                        const order::FoldSegment& segment, float* dgamma, float* dbeta) {
  const D d;
  const auto some = static_cast<std::size_t>(count);
  const bool is_whole = some == hn::Lanes(d);
  const auto load = [&](const float* p)
                        HWY_ATTR { return is_whole ? hn::LoadU(d, p) : vec::load_first(d, p, some); };
  V of_gamma = dgamma == nullptr ? hn::Zero(d) : load(dgamma),
    of_beta = dbeta == nullptr ? hn::Zero(d) : load(dbeta);
  const std::int64_t end = segment.offset + segment.rows;
  for (std::int64_t row = segment.offset; row < end;) {
    const std::int64_t sample = row / c.pixels, pixel_end = std::min(c.pixels, end - sample * c.pixels);
    const ChannelBlock block(c, sample, first);
    const V mean = hn::Load(d, block.mean), rstd = hn::Load(d, block.rstd);
    const auto add = [&](V dy, V x) HWY_ATTR {
      of_gamma = fma(dy, hn::Mul(hn::Sub(x, mean), rstd), of_gamma);
      of_beta = hn::Add(of_beta, dy);
    };
    std::int64_t pixel = row % c.pixels;
    for (; pixel + kPixels <= pixel_end; pixel += kPixels)
      for_each_pixel(load_pixels(block.dy, pixel), load_pixels(block.x, pixel), add);
    for (; pixel < pixel_end; ++pixel) add(gather_pixel(block.dy, pixel), gather_pixel(block.x, pixel));
    row = sample * c.pixels + pixel_end;
  }
  const auto store = [&](V v, float* p)
                         HWY_ATTR { is_whole ? hn::StoreU(v, d, p) : vec::store_first(v, d, p, some); };
  if (dgamma != nullptr) store(of_gamma, dgamma);
  if (dbeta != nullptr) store(of_beta, dbeta);
}

/// How many channels a vector holds.
std::int64_t channels_form() { return static_cast<std::int64_t>(hn::Lanes(D())); }

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::norm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::norm {
namespace {

HWY_EXPORT(rows_form);
HWY_EXPORT(backward_form);
HWY_EXPORT(terms_form);
HWY_EXPORT(channel_terms_form);
HWY_EXPORT(channels_form);

constexpr std::int64_t kElements = 8192;  // that are worth a thread's while

constexpr std::int64_t kPartials = 1 << 16;  // that may wait for their fold at a time

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
        stride_(features + kLine),
        memory_(static_cast<std::size_t>(2 * stride_ * segments)) {}

  float* dgamma(std::int64_t slot) {
    return dgamma_.total == nullptr ? nullptr : memory_.data() + 2 * slot * stride_;
  }
  float* dbeta(std::int64_t slot) {
    return dbeta_.total == nullptr ? nullptr : memory_.data() + (2 * slot + 1) * stride_;
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

  static constexpr std::int64_t kLine = 16;  // so that no line of the cache holds the sums of two threads
  NormFold dgamma_, dbeta_;
  std::int64_t stride_;
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

/// gamma or beta of all channels as the rows of groups read it: as they are where channels hold whole
/// vectors, else an element each of a sample.
class ChannelScale {
 public:
  ChannelScale(const float* values, std::int64_t channels, std::int64_t groups, std::int64_t pixels)
      : values_(values), wide_(channels / groups), pixels_(pixels) {
    if (values == nullptr || is_direct()) return;
    sample_.reserve(static_cast<std::size_t>(channels * pixels));
    for (std::int64_t c = 0; c < channels; ++c)
      sample_.insert(sample_.end(), static_cast<std::size_t>(pixels), values[c]);
  }
  bool is_direct() const {
    return pixels_ > 0 && pixels_ % kWholePixels == 0 && wide_ * pixels_ < kLimit / pixels_;
  }
  /// What Rows::pixels must be.
  std::int64_t row_pixels() const { return is_direct() ? pixels_ : 0; }
  const float* of_group(std::int64_t group) const {
    if (values_ == nullptr) return nullptr;
    return is_direct() ? values_ + group * wide_ : sample_.data() + group * wide_ * pixels_;
  }

 private:
  static constexpr std::int64_t kLimit = std::int64_t{1} << 32;
  const float* values_;
  std::int64_t wide_, pixels_;
  std::vector<float> sample_;
};

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
  const std::int64_t elements = c.channels / c.groups * c.pixels;
  const ChannelScale gamma(c.gamma, c.channels, c.groups, c.pixels),
      beta(c.beta, c.channels, c.groups, c.pixels);
  for_each_group(
      c.samples, c.groups, elements, [&](std::int64_t group, std::int64_t first, std::int64_t last) {
        const std::int64_t offset = group * elements;
        form({c.x + offset, gamma.of_group(group), beta.of_group(group), c.y + offset,
              c.mean == nullptr ? nullptr : c.mean + group, c.rstd == nullptr ? nullptr : c.rstd + group,
              c.channels * c.pixels, c.groups, elements, static_cast<float>(c.eps), true, gamma.row_pixels()},
             first, last);
      });
}

namespace {

/// dx of some samples of some groups.
class GroupNormDx {
 public:
  explicit GroupNormDx(const GroupNormBackward& c)
      : c_(c), elements_(c.channels / c.groups * c.pixels), gamma_(c.gamma, c.channels, c.groups, c.pixels) {}

  void run(std::int64_t group, std::int64_t first, std::int64_t last) const {
    const std::int64_t offset = group * elements_;
    form_({c_.dy + offset, c_.x + offset, c_.mean + group, c_.rstd + group, gamma_.of_group(group),
           c_.dx + offset, c_.channels * c_.pixels, c_.groups, elements_, true, gamma_.row_pixels()},
          first, last, nullptr, nullptr);
  }
  /// The first group that run_sample leaves, of those from `group` on: it runs all that begin before channel
  /// `until`.
  std::int64_t run_sample(std::int64_t sample, std::int64_t group, std::int64_t until) const {
    for (; group < c_.groups && group * (c_.channels / c_.groups) < until; ++group)
      run(group, sample, sample + 1);
    return group;
  }
  void run_all() const {
    for_each_group(
        c_.samples, c_.groups, elements_,
        [&](std::int64_t group, std::int64_t first, std::int64_t last) { run(group, first, last); });
  }

 private:
  const GroupNormBackward& c_;
  std::int64_t elements_;
  ChannelScale gamma_;
  std::decay_t<decltype(LOCKSTEP_SIMD_CALL(backward_form))> form_ = LOCKSTEP_SIMD_CALL(backward_form);
};

/// The terms of all channels in some rows that lie in one segment.
class GroupNormTerms {
 public:
  GroupNormTerms(const GroupNormBackward& c, Partials& partials) : c_(c), partials_(partials) {}

  std::int64_t channels() const { return wide_; }  ///< of a block
  std::int64_t blocks() const { return (c_.channels + wide_ - 1) / wide_; }
  void run_block(std::int64_t block, const order::FoldSegment& rows, std::int64_t slot) {
    const std::int64_t channel = block * wide_, count = std::min(wide_, c_.channels - channel);
    float* const dgamma = partials_.dgamma(slot);
    float* const dbeta = partials_.dbeta(slot);
    form_(c_, channel, count, rows, dgamma == nullptr ? nullptr : dgamma + channel,
          dbeta == nullptr ? nullptr : dbeta + channel);
  }

 private:
  const GroupNormBackward& c_;
  Partials& partials_;
  std::decay_t<decltype(LOCKSTEP_SIMD_CALL(channel_terms_form))> form_ =
      LOCKSTEP_SIMD_CALL(channel_terms_form);
  std::int64_t wide_ = LOCKSTEP_SIMD_CALL(channels_form)();
};

/// A segment sample by sample: dx of those that begin in it, then the terms, while the sample is in the
/// cache.
void run_by_samples(const GroupNormBackward& c, const order::FoldSegment& segment, std::int64_t slot,
                    const GroupNormDx& dx, GroupNormTerms& terms) {
  const std::int64_t end = segment.offset + segment.rows;
  for (std::int64_t row = segment.offset; row < end;) {
    const std::int64_t sample = row / c.pixels, until = std::min(end, (sample + 1) * c.pixels);
    std::int64_t group = row == sample * c.pixels ? 0 : c.groups;
    for (std::int64_t block = 0; block < terms.blocks(); ++block) {
      group = dx.run_sample(sample, group, (block + 1) * terms.channels());
      terms.run_block(block, {row, until - row}, slot);
    }
    row = until;
  }
}

/// A wave of segments, some for each thread: one holds the beginnings of more samples, whose dx it computes,
/// than another.
void group_norm_together(const GroupNormBackward& c) {
  const GroupNormDx dx(c);
  const std::int64_t segments = order::fold_segments(c.span), threads = parallel::thread_count();
  const std::int64_t wave =
      std::min(segments, threads * std::clamp<std::int64_t>(kPartials / (2 * c.channels * threads), 1, 16));
  Partials partials(c.dgamma, c.dbeta, c.channels, wave);
  GroupNormTerms terms(c, partials);
  for (std::int64_t first = 0; first < segments; first += wave) {
    const std::int64_t slots = std::min(wave, segments - first);
    parallel::for_each_range(slots, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t slot = begin; slot < end; ++slot) {
        const order::FoldSegment segment = order::fold_segment(c.span, first + slot);
        partials.start(slot, segment, 0, c.channels);
        run_by_samples(c, segment, slot, dx, terms);
      }
    });
    for (std::int64_t slot = 0; slot < slots; ++slot)
      partials.finish(slot, order::fold_segment(c.span, first + slot), 0, c.channels);
  }
}

/// Only the folds: segments and blocks of channels are shared among threads.
void group_norm_folds(const GroupNormBackward& c) {
  const std::int64_t segments = order::fold_segments(c.span);
  const std::int64_t wave = std::min<std::int64_t>(segments, 2 * parallel::thread_count());
  Partials partials(c.dgamma, c.dbeta, c.channels, wave);
  GroupNormTerms terms(c, partials);
  for (std::int64_t first = 0; first < segments; first += wave) {
    const std::int64_t slots = std::min(wave, segments - first);
    for (std::int64_t slot = 0; slot < slots; ++slot)
      partials.start(slot, order::fold_segment(c.span, first + slot), 0, c.channels);
    parallel::for_each_range(slots * terms.blocks(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t slot = i / terms.blocks();
        terms.run_block(i % terms.blocks(), order::fold_segment(c.span, first + slot), slot);
      }
    });
    for (std::int64_t slot = 0; slot < slots; ++slot)
      partials.finish(slot, order::fold_segment(c.span, first + slot), 0, c.channels);
  }
}

}  // namespace

void group_norm_backward_cpu(const GroupNormBackward& c) {
  const bool has_folds = c.dgamma.total != nullptr || c.dbeta.total != nullptr;
  if (has_folds && c.dx != nullptr && c.dx != c.dy &&
      order::fold_segments(c.span) >= parallel::thread_count())
    return group_norm_together(c);
  if (has_folds) group_norm_folds(c);
  if (c.dx != nullptr) GroupNormDx(c).run_all();  // last: it may lie where dy did
}

}  // namespace lockstep::norm

#endif  // HWY_ONCE
