// Rows of results in vectors, where their windows lie inside of the image and the stride is 1 or 2; windows
// at the borders and of other strides one by one.

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/pool/pool_cpu.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include <hwy/highway.h>

#include "lockstep/parallel/parallel.h"
#include "lockstep/pool/pool_internal.h"
#include "lockstep/simd/vector_internal.h"

#ifndef LOCKSTEP_POOL_ROW
#define LOCKSTEP_POOL_ROW
namespace lockstep::pool {

/// Results begin … end - 1 of one row, whose windows' columns all lie in the image.
struct Row {
  const float* plane = nullptr;
  std::int64_t width = 0;
  Window rows;
  std::int64_t kernel = 1, stride = 1, first = 0,
               dilation = 1;  ///< result j's first column: j · stride + first
  std::int64_t begin = 0, end = 0;
  float* y = nullptr;               ///< of result 0
  std::int64_t* indices = nullptr;  ///< of result 0; may be null
  float divisor = 1;
};

}  // namespace lockstep::pool
#endif

HWY_BEFORE_NAMESPACE();
namespace lockstep::pool {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// Calls visit(values, where) for the taps of the results j …, ascending; `where` is the first result's
/// pixel.
template <int kStride, class D, class Visit>
HWY_INLINE void for_each_tap(D d, const Row& r, std::int64_t j, Visit visit) {
  for (std::int64_t h = r.rows.begin; h < r.rows.end; h += r.rows.step) {
    std::int64_t where = h * r.width + j * kStride + r.first;
    for (std::int64_t tap = 0; tap < r.kernel; ++tap, where += r.dilation) {
      if constexpr (kStride == 1) {
        visit(hn::LoadU(d, r.plane + where), where);
      } else {
        hn::Vec<D> even, odd;
        hn::LoadInterleaved2(d, r.plane + where, even, odd);
        visit(even, where);
        if (r.dilation != 1 || tap + 1 == r.kernel) continue;
        ++tap;
        visit(odd, ++where);
      }
    }
  }
}

/// Order: taps ascending; a later one wins where it is larger, or the first NaN.
template <int kStride, class D>
HWY_INLINE void max_lanes(D d, const Row& r, std::int64_t j) {
  const hn::RebindToSigned<D> whole;
  using Index = hn::Vec<decltype(whole)>;
  const Index lanes = hn::Iota(whole, 0);
  const Index steps = kStride == 1 ? lanes : hn::Add(lanes, lanes);
  const auto index_of = [&](std::int64_t where) HWY_ATTR {
    return hn::Add(steps, hn::Set(whole, static_cast<std::int32_t>(where)));
  };
  hn::Vec<D> best = hn::Set(d, -std::numeric_limits<float>::infinity());
  Index index = index_of(r.rows.begin * r.width + j * kStride + r.first);
  for_each_tap<kStride>(d, r, j, [&](hn::Vec<D> value, std::int64_t where) HWY_ATTR {
    const auto is_first_nan = hn::AndNot(hn::IsNaN(best), hn::IsNaN(value));
    const auto takes_over = hn::Or(hn::Gt(value, best), is_first_nan);
    best = hn::IfThenElse(takes_over, value, best);
    index = hn::IfThenElse(hn::RebindMask(whole, takes_over), index_of(where), index);
  });
  hn::StoreU(best, d, r.y + j);
  if (r.indices == nullptr) return;
  HWY_ALIGN std::int32_t narrow[hn::MaxLanes(D())];
  hn::Store(index, whole, narrow);
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) r.indices[j + static_cast<std::int64_t>(i)] = narrow[i];
}

/// Order: one chain, taps ascending, then the quotient.
template <int kStride, class D>
HWY_INLINE void average_lanes(D d, const Row& r, std::int64_t j) {
  hn::Vec<D> sum = hn::Zero(d);
  for_each_tap<kStride>(d, r, j, [&](hn::Vec<D> value, std::int64_t) HWY_ATTR { sum = hn::Add(sum, value); });
  hn::StoreU(hn::Div(sum, hn::Set(d, r.divisor)), d, r.y + j);
}

/// The last vector may overlap the one before.
template <bool kMax, int kStride, class D>
void run_vectors(D d, const Row& r) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t j = r.begin; j < r.end; j += lanes) {
    const std::int64_t at = std::min(j, r.end - lanes);
    if constexpr (kMax)
      max_lanes<kStride>(d, r, at);
    else
      average_lanes<kStride>(d, r, at);
  }
}

template <bool kMax, int kStride>
void run_row_as(const Row& r) {
  const hn::CappedTag<float, 16> widest;
  const hn::CappedTag<float, 8> middle;
  const hn::CappedTag<float, 4> narrow;
  const hn::CappedTag<float, 1> one;
  const auto fits = [&](std::size_t lanes) { return r.end - r.begin >= static_cast<std::int64_t>(lanes); };
  if (fits(hn::Lanes(widest))) return run_vectors<kMax, kStride>(widest, r);
  if (fits(hn::Lanes(middle))) return run_vectors<kMax, kStride>(middle, r);
  if (fits(hn::Lanes(narrow))) return run_vectors<kMax, kStride>(narrow, r);
  run_vectors<kMax, kStride>(one, r);
}

void max_row(const Row& r) { r.stride == 1 ? run_row_as<true, 1>(r) : run_row_as<true, 2>(r); }
void average_row(const Row& r) { r.stride == 1 ? run_row_as<false, 1>(r) : run_row_as<false, 2>(r); }

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::pool
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::pool {

HWY_EXPORT(max_row);
HWY_EXPORT(average_row);

namespace {

constexpr std::int64_t kPixelsPerThread = 1 << 14;  // worth a thread's start

/// work(plane) for each plane.
template <class Work>
void for_each_plane(std::int64_t planes, std::int64_t pixels, Work work) {
  const std::int64_t grain = std::max<std::int64_t>(1, kPixelsPerThread / std::max<std::int64_t>(1, pixels));
  parallel::for_each_range(planes, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t plane = begin; plane < end; ++plane) work(plane);
  });
}

/// Results whose windows' columns can be read as vectors: `from` them on, below `to`.
struct Inside {
  std::int64_t from = 0, to = 0;
};

/// With a stride of 2 vectors come in pairs, so that one float behind an odd window is read too.
Inside inside_of(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride,
                 std::int64_t first, std::int64_t dilation) {
  if (stride > 2) return {};
  const bool has_spill = stride == 2 && (dilation != 1 || kernel % 2 == 1);
  const std::int64_t span = dilation * (kernel - 1) + 1 + (has_spill ? 1 : 0);
  const std::int64_t from = first < 0 ? (-first + stride - 1) / stride : 0;
  const std::int64_t room = in - span - first;
  const std::int64_t to = room < 0 ? 0 : std::min(out, room / stride + 1);
  return from < to ? Inside{from, to} : Inside{};
}

/// A row of results: single(j) at the ends, the vectors of `row` between.
template <class Single>
void run_row(const Inside& inside, std::int64_t out, Row row, void (*vectors)(const Row&), Single single) {
  const bool has_vectors = inside.from < inside.to && !row.rows.is_empty();
  row.begin = has_vectors ? inside.from : out;
  row.end = has_vectors ? inside.to : out;
  for (std::int64_t j = 0; j < row.begin; ++j) single(j);
  if (has_vectors) vectors(row);
  for (std::int64_t j = row.end; j < out; ++j) single(j);
}

/// A gradient whose pixels may take more than a block of terms each, and one whose pixels do not: its chain
/// is the sum.
class Blocks {
 public:
  Blocks(float* dx, std::int64_t pixels) : dx_(dx), sums_(static_cast<std::size_t>(pixels)) {}
  void add(std::int64_t pixel, float term) { sums_[static_cast<std::size_t>(pixel)].add(term); }
  void add_apart(std::int64_t pixel, std::int64_t step, const float* terms, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i, pixel += step) add(pixel, terms[i]);
  }
  void finish() {
    for (const BlockSum<float>& sum : sums_) *dx_++ = sum.value();
  }

 private:
  float* dx_;
  std::vector<BlockSum<float>> sums_;
};

class Chains {
 public:
  Chains(float* dx, std::int64_t pixels) : dx_(dx) { std::fill(dx, dx + pixels, 0.0f); }
  void add(std::int64_t pixel, float term) { dx_[pixel] = dx_[pixel] + term; }
  /// A term each for pixels that are `step` apart.
  void add_apart(std::int64_t pixel, std::int64_t step, const float* terms, std::size_t count) {
    float* HWY_RESTRICT to = dx_ + pixel;
    if (step == 1)
      for (std::size_t i = 0; i < count; ++i) to[i] = to[i] + terms[i];
    else
      for (std::size_t i = 0; i < count; ++i, to += step) *to = *to + terms[i];
  }
  void finish() {}

 private:
  float* dx_;
};

std::int64_t windows_of_a_pixel(const PoolAxis& axis) {
  return (axis.kernel + axis.stride - 1) / axis.stride;
}

/// The most windows that hold one pixel.
std::int64_t most_windows(const std::vector<Window>& windows, std::int64_t in) {
  std::vector<std::int64_t> change(static_cast<std::size_t>(in + 1));
  for (const Window& window : windows) {
    if (window.is_empty()) continue;
    ++change[static_cast<std::size_t>(window.begin)];
    --change[static_cast<std::size_t>(window.end)];
  }
  std::int64_t most = 0, now = 0;
  for (const std::int64_t step : change) most = std::max(most, now += step);
  return most;
}

template <class Sums>
void max_backward_plane(const float* dy, const std::int64_t* indices, std::int64_t results,
                        std::int64_t pixels, Sums sums) {
  for (std::int64_t i = 0; i < results; ++i) {
    if (static_cast<std::uint64_t>(indices[i]) < static_cast<std::uint64_t>(pixels))
      sums.add(indices[i], dy[i]);
    else if (indices[i] != -1)
      refuse_index(indices[i], pixels);
  }
  sums.finish();
}

/// What the inner windows of an axis have in common.
struct Uniform {
  std::int64_t kernel = 1, stride = 1, first = 0;
  Inside inside;
};

/// The results whose windows are like the middle one, and evenly apart.
Uniform uniform_part(const std::vector<Window>& windows) {
  const auto count = static_cast<std::int64_t>(windows.size());
  const auto at = [&](std::int64_t i) -> const Window& { return windows[static_cast<std::size_t>(i)]; };
  const auto width = [&](std::int64_t i) { return at(i).end - at(i).begin; };
  const std::int64_t middle = count / 2;
  Uniform found{width(middle), 1, at(middle).begin - middle, {middle, middle + 1}};
  if (count > 1) {
    const std::int64_t other = middle > 0 ? middle - 1 : middle + 1;
    found.stride = std::abs(at(middle).begin - at(other).begin);
    found.first = at(middle).begin - middle * found.stride;
  }
  const auto belongs = [&](std::int64_t i) {
    return width(i) == found.kernel && at(i).divisor == at(middle).divisor &&
           at(i).begin == i * found.stride + found.first;
  };
  while (found.inside.from > 0 && belongs(found.inside.from - 1)) --found.inside.from;
  while (found.inside.to < count && belongs(found.inside.to)) ++found.inside.to;
  return found.kernel <= 0 || found.stride < 1 ? Uniform{} : found;
}

/// Those of `out` results of a kind whose columns can be read as vectors.
Uniform readable_part(Uniform found, std::int64_t out, std::int64_t in) {
  const Inside readable = inside_of(in, out, found.kernel, found.stride, found.first, 1);
  found.inside.from = std::max(found.inside.from, readable.from);
  found.inside.to = std::min(found.inside.to, readable.to);
  return found;
}

/// One row of pixels takes the terms of one row of results. Windows of a kind go tap by tap, the last one
/// first: then a pixel meets its windows ascending, and neighbours do not wait for each other.
template <class Sums>
void add_row(const Averages& a, const Uniform& columns, const std::vector<float>& terms, std::int64_t row,
             Sums& sums) {
  const auto single = [&](std::size_t j) {
    for (std::int64_t w = a.cols[j].begin; w < a.cols[j].end; ++w) sums.add(row + w, terms[j]);
  };
  const bool has_kind = columns.inside.from < columns.inside.to;
  const std::size_t from = has_kind ? static_cast<std::size_t>(columns.inside.from) : a.cols.size();
  const std::size_t to = has_kind ? static_cast<std::size_t>(columns.inside.to) : a.cols.size();
  for (std::size_t j = 0; j < from; ++j) single(j);
  for (std::int64_t tap = columns.kernel - 1; tap >= 0; --tap)
    sums.add_apart(row + a.cols[std::min(from, a.cols.size() - 1)].begin + tap, columns.stride,
                   terms.data() + from, to - from);
  for (std::size_t j = to; j < a.cols.size(); ++j) single(j);
}

/// Every pixel has one window at most, so the rows of a window are one row, again and again.
void average_backward_apart(const Averages& a, const float* dy, float* dx) {
  float* to = dx;
  const auto zeros_up_to = [&](std::int64_t row) {
    float* const end = dx + row * a.in_w;
    to = std::fill_n(to, end - to, 0.0f);
  };
  for (const Window& row : a.rows) {
    const float* const own = dy;
    dy += a.cols.size();
    if (row.is_empty()) continue;
    zeros_up_to(row.begin);
    float* const line = to;
    std::fill_n(line, a.in_w, 0.0f);
    for (std::size_t j = 0; j < a.cols.size(); ++j) {
      if (a.cols[j].is_empty()) continue;
      const float sum = 0.0f + own[j] / divisor_of<float>(row, a.cols[j], a.divisor);  // -0 becomes +0
      std::fill(line + a.cols[j].begin, line + a.cols[j].end, sum);
    }
    to += a.in_w;
    for (std::int64_t h = row.begin + 1; h < row.end; ++h) to = std::copy_n(line, a.in_w, to);
  }
  zeros_up_to(a.in_h);
}

template <class Sums>
void average_backward_plane(const Averages& a, const Uniform& columns, const float* dy,
                            std::vector<float>& terms, Sums sums) {
  for (const Window& row : a.rows) {
    for (std::size_t j = 0; j < a.cols.size(); ++j)
      terms[j] = dy[j] / divisor_of<float>(row, a.cols[j], a.divisor);
    for (std::int64_t h = row.begin; h < row.end; ++h) add_row(a, columns, terms, h * a.in_w, sums);
    dy += a.cols.size();
  }
  sums.finish();
}

/// The averages of `count` windows of one kind: as many chains that do not wait for each other.
template <std::int64_t count>
void average_side_by_side(const Row& row, std::int64_t j) {
  float sums[count] = {};
  for (std::int64_t h = row.rows.begin; h < row.rows.end; ++h) {
    const float* pixel = row.plane + h * row.width + row.first + j * row.stride;
    for (std::int64_t tap = 0; tap < row.kernel; ++tap, ++pixel)
#pragma GCC unroll 8
      for (std::int64_t i = 0; i < count; ++i) sums[i] = sums[i] + pixel[i * row.stride];
  }
  for (std::int64_t i = 0; i < count; ++i) row.y[j + i] = sums[i] / row.divisor;
}

/// The last windows from j on, `most` or fewer.
template <std::int64_t most>
void average_last(const Row& row, std::int64_t j) {
  if (row.end - j == most) return average_side_by_side<most>(row, j);
  if constexpr (most > 1) average_last<most - 1>(row, j);
}

/// For strides that vectors do not read.
void average_row_apart(const Row& row) {
  constexpr std::int64_t kApart = 8;
  std::int64_t j = row.begin;
  for (; j + kApart <= row.end; j += kApart) average_side_by_side<kApart>(row, j);
  average_last<kApart - 1>(row, j);
}

}  // namespace

void max_pool_cpu(const MaxPool& call) {
  const std::int64_t out_h = call.h.out(), out_w = call.w.out();
  std::vector<Window> cols;
  for (std::int64_t j = 0; j < out_w; ++j) cols.push_back(window_of(call.w, j));
  const bool is_small = call.h.in * call.w.in <= std::numeric_limits<std::int32_t>::max();
  const Inside inside =
      is_small ? inside_of(call.w.in, out_w, call.w.kernel, call.w.stride, -call.w.pad, call.w.dilation)
               : Inside{};
  const auto vectors = LOCKSTEP_SIMD_CALL(max_row);
  for_each_plane(call.planes, call.h.in * call.w.in, [&](std::int64_t plane) {
    Row row;
    row.plane = call.x + plane * call.h.in * call.w.in;
    row.width = call.w.in;
    row.kernel = call.w.kernel;
    row.stride = call.w.stride;
    row.first = -call.w.pad;
    row.dilation = call.w.dilation;
    for (std::int64_t i = 0; i < out_h; ++i) {
      row.rows = window_of(call.h, i);
      row.y = call.y + (plane * out_h + i) * out_w;
      if (call.indices != nullptr) row.indices = call.indices + (plane * out_h + i) * out_w;
      run_row(inside, out_w, row, vectors, [&](std::int64_t j) {
        const auto best = largest_of(row.plane, call.w.in, row.rows, cols[static_cast<std::size_t>(j)]);
        row.y[j] = best.value;
        if (row.indices != nullptr) row.indices[j] = best.index;
      });
    }
  });
}

void max_pool_backward_cpu(const MaxPoolBackward& call) {
  const std::int64_t results = call.h.out() * call.w.out(), pixels = call.h.in * call.w.in;
  const bool needs_blocks = windows_of_a_pixel(call.h) * windows_of_a_pixel(call.w) > kBlock;
  for_each_plane(call.planes, pixels, [&](std::int64_t plane) {
    const float* const dy = call.dy + plane * results;
    const std::int64_t* const indices = call.indices + plane * results;
    float* const dx = call.dx + plane * pixels;
    needs_blocks ? max_backward_plane(dy, indices, results, pixels, Blocks(dx, pixels))
                 : max_backward_plane(dy, indices, results, pixels, Chains(dx, pixels));
  });
}

void average_cpu(const Averages& a, const float* x, float* y) {
  const auto out_h = static_cast<std::int64_t>(a.rows.size()),
             out_w = static_cast<std::int64_t>(a.cols.size());
  Uniform columns = uniform_part(a.cols);
  const bool is_strided = columns.stride > 2;
  if (!is_strided) columns = readable_part(columns, out_w, a.in_w);
  const auto vectors = is_strided ? average_row_apart : LOCKSTEP_SIMD_CALL(average_row);
  for_each_plane(a.planes, a.in_h * a.in_w, [&](std::int64_t plane) {
    Row row;
    row.plane = x + plane * a.in_h * a.in_w;
    row.width = a.in_w;
    row.kernel = columns.kernel;
    row.stride = columns.stride;
    row.first = columns.first;
    for (std::int64_t i = 0; i < out_h; ++i) {
      row.rows = a.rows[static_cast<std::size_t>(i)];
      row.y = y + (plane * out_h + i) * out_w;
      row.divisor =
          divisor_of<float>(row.rows, a.cols[static_cast<std::size_t>(columns.inside.from)], a.divisor);
      const bool is_chain = (row.rows.end - row.rows.begin) * columns.kernel <= kBlock;
      run_row(is_chain ? columns.inside : Inside{}, out_w, row, vectors, [&](std::int64_t j) {
        row.y[j] = average_of(row.plane, a.in_w, row.rows, a.cols[static_cast<std::size_t>(j)], a.divisor);
      });
    }
  });
}

void average_backward_cpu(const Averages& a, const float* dy, float* dx) {
  const auto results = static_cast<std::int64_t>(a.rows.size() * a.cols.size());
  const std::int64_t pixels = a.in_h * a.in_w;
  const std::int64_t most_down = most_windows(a.rows, a.in_h), most_across = most_windows(a.cols, a.in_w);
  const bool needs_blocks = most_down * most_across > kBlock;
  const bool is_apart = most_down <= 1 && most_across <= 1;
  const Uniform columns = uniform_part(a.cols);
  for_each_plane(a.planes, pixels, [&](std::int64_t plane) {
    if (is_apart) return average_backward_apart(a, dy + plane * results, dx + plane * pixels);
    thread_local std::vector<float> terms;
    terms.resize(a.cols.size());
    const float* const own = dy + plane * results;
    float* const to = dx + plane * pixels;
    needs_blocks ? average_backward_plane(a, columns, own, terms, Blocks(to, pixels))
                 : average_backward_plane(a, columns, own, terms, Chains(to, pixels));
  });
}

}  // namespace lockstep::pool

#endif  // HWY_ONCE
