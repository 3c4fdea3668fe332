#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "lockstep/simd/simd_internal.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lockstep/reduce/reduce_cpu.cpp"

#include <hwy/foreach_target.h>
// After foreach_target.h: the order of the two matters.
#include <hwy/highway.h>

#include "lockstep/base/float_mode.h"
#include "lockstep/order/lanes.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/reduce/reduce_inl.h"
#include "lockstep/reduce/reduce_internal.h"
#include "lockstep/simd/lanes_internal.h"
#include "lockstep/simd/vector_internal.h"

HWY_BEFORE_NAMESPACE();
namespace lockstep::reduce {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace vec = simd::HWY_NAMESPACE;
using vec::fma;
using D = vec::LaneTag;
using V = vec::LaneVector;

// ---- An axis whose elements lie side by side

float row_sum(const float* x, std::int64_t n) {
  return vec::lane_sum(order::lane_count(n), n, [x](auto place) HWY_ATTR { return place.load(x); });
}

float row_square_sum(const float* x, std::int64_t n, float mean) {
  const V middle = hn::Set(D(), mean), zero = hn::Zero(D());
  return vec::lane_reduce(
      order::lane_count(n), n, zero,
      [&](V lane, auto place) HWY_ATTR {
        const V deviation = place.keep(hn::Sub(place.load(x), middle), zero);
        return fma(deviation, deviation, lane);
      },
      vec::AddVectors());
}

void sum_rows(const SumCall& call, std::int64_t begin, std::int64_t end) {
  const std::int64_t n = call.shape.axis;
  for (std::int64_t r = begin; r < end; ++r) call.y[r] = row_sum(call.x + r * n, n) / call.divisor;
}

void variance_rows(const SumCall& call, std::int64_t begin, std::int64_t end) {
  const std::int64_t n = call.shape.axis;
  for (std::int64_t r = begin; r < end; ++r) {
    const float mean = row_sum(call.x + r * n, n) / static_cast<float>(n);
    call.y[r] = row_square_sum(call.x + r * n, n, mean) / call.divisor;
    if (call.mean != nullptr) call.mean[r] = mean;
  }
}

// ---- An axis with others inside it: the same order for each column, vectors of columns side by side

struct AddTerm {
  template <class Place>
  HWY_INLINE V first(V x, Place) const {
    return x;
  }
  template <class Place>
  HWY_INLINE V next(V sum, V x, Place) const {
    return hn::Add(sum, x);
  }
};

/// Where four lanes' elements begin in memory, and how many rounds they have.
struct FourLanes {
  const float* x0;
  const float* x1;
  const float* x2;
  const float* x3;
  std::int64_t round;   ///< elements from a lane's element to its next
  std::int64_t rounds;  ///< that all four have, beside the first
  int extra;            ///< of the four, those that have one more
};

/// Four lanes' chains of each column, added as the tree's first two levels do, to `sums`. Only the first
/// kPresent have elements. That a chain starts with its first term, and not at +0, shows only in a sum of -0
/// alone, which column_sums turns into +0 at the end.
template <int kPresent, bool kRounds, class Step>
HWY_INLINE void four_lanes(const FourLanes& lanes, std::int64_t cols, float* sums, Step step) {
  vec::for_each_vector(0, cols, [&](auto place) HWY_ATTR {
    V l0 = step.first(place.load(lanes.x0), place), l1 = l0, l2 = l0, l3 = l0;
    if constexpr (kPresent > 1) l1 = step.first(place.load(lanes.x1), place);
    if constexpr (kPresent > 2) l2 = step.first(place.load(lanes.x2), place);
    if constexpr (kPresent > 3) l3 = step.first(place.load(lanes.x3), place);
    if constexpr (kRounds) {
      std::int64_t offset = lanes.round;
      for (std::int64_t r = 0; r < lanes.rounds; ++r, offset += lanes.round) {
        l0 = step.next(l0, place.load(lanes.x0 + offset), place);
        l1 = step.next(l1, place.load(lanes.x1 + offset), place);
        l2 = step.next(l2, place.load(lanes.x2 + offset), place);
        l3 = step.next(l3, place.load(lanes.x3 + offset), place);
      }
      if (lanes.extra > 0) l0 = step.next(l0, place.load(lanes.x0 + offset), place);
      if (lanes.extra > 1) l1 = step.next(l1, place.load(lanes.x1 + offset), place);
      if (lanes.extra > 2) l2 = step.next(l2, place.load(lanes.x2 + offset), place);
    }
    if constexpr (kPresent == 1) place.store(l0, sums);
    if constexpr (kPresent == 2) place.store(hn::Add(l0, l1), sums);
    if constexpr (kPresent == 3) place.store(hn::Add(hn::Add(l0, l2), l1), sums);
    if constexpr (kPresent == 4) place.store(hn::Add(hn::Add(l0, l2), hn::Add(l1, l3)), sums);
  });
}

/// The lanes i, i + quarter, i + 2 · quarter and i + 3 · quarter of an axis of n elements.
template <class Step>
HWY_INLINE void quarter_lanes(const float* x, std::int64_t i, std::int64_t quarter, std::int64_t n,
                              std::int64_t stride, std::int64_t cols, float* sums, Step step) {
  const float* const x0 = x + i * stride;
  const std::int64_t apart = quarter * stride, lanes = 4 * quarter;
  FourLanes four{x0, x0 + apart, x0 + 2 * apart, x0 + 3 * apart, lanes * stride, 0, 0};
  const std::int64_t after = n - i - 3 * quarter;  // elements from the fourth lane's first on
  if (after > 0) {
    four.rounds = (after - 1) / lanes;
    const std::int64_t behind = (after - 1) % lanes;  // that follow the last round
    four.extra = static_cast<int>(behind < quarter ? 0 : behind / quarter);
    return n > lanes ? four_lanes<4, true>(four, cols, sums, step)
                     : four_lanes<4, false>(four, cols, sums, step);
  }
  if (i + 2 * quarter < n) return four_lanes<3, false>(four, cols, sums, step);
  if (i + quarter < n) return four_lanes<2, false>(four, cols, sums, step);
  four_lanes<1, false>(four, cols, sums, step);
}

/// Two more of the tree's levels, over the first `count` of 4 · quarter lanes in memory.
HWY_INLINE void four_to_one(std::int64_t quarter, std::int64_t count, std::int64_t cols, float* lane) {
  for (std::int64_t i = 0; i < std::min(quarter, count); ++i)
    quarter_lanes(lane, i, quarter, count, kTile, cols, lane + i * kTile, AddTerm());
}

/// result[0 … cols - 1] = the lane sums of a tile's columns, divided. `lane` has room for a quarter of the
/// lanes, kTile numbers each.
template <class Step>
void column_sums(const float* x, const ReduceShape& shape, std::int64_t cols, float divisor, float* lane,
                 float* result, Step step) {
  const std::int64_t n = shape.axis;
  std::int64_t quarter = order::lane_count(n) / 4, count = std::min(quarter, n);
  if (n == 0) std::fill(lane, lane + kTile, 0.0f);
  for (std::int64_t i = 0; i < count; ++i) {
    quarter_lanes(x, i, quarter, n, shape.inner, cols, lane + i * kTile, step);
  }
  for (; quarter >= 4; quarter /= 4) {
    if (count > quarter / 4) four_to_one(quarter / 4, count, cols, lane);
    count = std::min(count, quarter / 4);
  }
  const bool is_pair = quarter == 2 && count == 2;
  const V by = hn::Set(D(), divisor), zero = hn::Zero(D());
  vec::for_each_vector(0, cols, [&](auto place) HWY_ATTR {
    const V sum = hn::Add(place.load(lane), is_pair ? place.load(lane + kTile) : zero);
    place.store(hn::Div(hn::Add(sum, zero), by), result);
  });
}

/// The same for an axis of any length: its blocks, then their sums.
template <class Step>
void axis_sums(const float* x, const ReduceShape& shape, std::int64_t cols, float divisor, float* lane,
               float* result, Step step) {
  const std::int64_t blocks = order::lane_blocks(shape.axis);
  if (blocks <= 1) return column_sums(x, shape, cols, divisor, lane, result, step);
  std::vector<float> sums(static_cast<std::size_t>(blocks * kTile));
  for (std::int64_t b = 0; b < blocks; ++b) {
    const std::int64_t begin = b * order::kElementsPerBlock;
    const ReduceShape block{1, std::min(order::kElementsPerBlock, shape.axis - begin), shape.inner};
    column_sums(x + begin * shape.inner, block, cols, 1.0f, lane, sums.data() + b * kTile, step);
  }
  column_sums(sums.data(), {1, blocks, kTile}, cols, divisor, lane, result, AddTerm());
}

/// (x - mean)², with a mean for each column.
struct AddSquare {
  const float* mean;

  template <class Place>
  HWY_INLINE V first(V x, Place place) const {
    const V deviation = hn::Sub(x, place.load(mean));
    return hn::Mul(deviation, deviation);
  }
  template <class Place>
  HWY_INLINE V next(V sum, V x, Place place) const {
    const V deviation = hn::Sub(x, place.load(mean));
    return fma(deviation, deviation, sum);
  }
};

void sum_tile(const SumCall& call, const Tile& tile, float* lane) {
  const ReduceShape& shape = call.shape;
  const float* const x = call.x + tile.outer * shape.axis * shape.inner + tile.begin;
  axis_sums(x, shape, tile.count, call.divisor, lane, call.y + tile.outer * shape.inner + tile.begin,
            AddTerm());
}

void variance_tile(const SumCall& call, const Tile& tile, float* lane) {
  const ReduceShape& shape = call.shape;
  const float* const x = call.x + tile.outer * shape.axis * shape.inner + tile.begin;
  const std::int64_t place_of_result = tile.outer * shape.inner + tile.begin;
  float mean[kTile];
  axis_sums(x, shape, tile.count, static_cast<float>(shape.axis), lane, mean, AddTerm());
  axis_sums(x, shape, tile.count, call.divisor, lane, call.y + place_of_result, AddSquare{mean});
  if (call.mean != nullptr) std::copy(mean, mean + tile.count, call.mean + place_of_result);
}

// ---- The largest or smallest element. Which one it is does not depend on the order of the comparisons.

using DI = hn::RebindToSigned<D>;
using VI = hn::Vec<DI>;

/// The best element so far in each place of a vector, and its index.
struct Best {
  V value;
  VI index;
};

/// Takes `value` where it is better than what came before it: larger (smaller), or the first NaN.
template <bool kSmallest>
HWY_INLINE Best better(const Best& best, V value, VI index) {
  const auto ordered = kSmallest ? hn::Ge(value, best.value) : hn::Le(value, best.value);
  const auto keeps = hn::Or(ordered, hn::IsNaN(best.value));
  return {hn::IfThenElse(keeps, best.value, value),
          hn::IfThenElse(hn::RebindMask(DI(), keeps), best.index, index)};
}

/// The index of the best of four vectors: all places' first NaN, else the lowest index of the best value.
template <bool kSmallest>
std::int64_t best_index(const Best& b0, const Best& b1, const Best& b2, const Best& b3) {
  const D d;
  const DI di;
  const VI none = hn::Set(di, std::numeric_limits<std::int32_t>::max());
  const auto lowest = [&](auto m0, auto m1, auto m2, auto m3) HWY_ATTR {
    const auto index = [&](auto mask, VI own)
                           HWY_ATTR { return hn::IfThenElse(hn::RebindMask(di, mask), own, none); };
    const VI low = hn::Min(hn::Min(index(m0, b0.index), index(m1, b1.index)),
                           hn::Min(index(m2, b2.index), index(m3, b3.index)));
    return static_cast<std::int64_t>(hn::GetLane(hn::MinOfLanes(di, low)));
  };
  const V sum =
      hn::Add(hn::Add(hn::Abs(b0.value), hn::Abs(b1.value)), hn::Add(hn::Abs(b2.value), hn::Abs(b3.value)));
  if (!hn::AllFalse(d, hn::IsNaN(sum)))
    return lowest(hn::IsNaN(b0.value), hn::IsNaN(b1.value), hn::IsNaN(b2.value), hn::IsNaN(b3.value));
  V value;
  if constexpr (kSmallest)
    value = hn::MinOfLanes(d, hn::Min(hn::Min(b0.value, b1.value), hn::Min(b2.value, b3.value)));
  else
    value = hn::MaxOfLanes(d, hn::Max(hn::Max(b0.value, b1.value), hn::Max(b2.value, b3.value)));
  value = hn::Set(d, hn::GetLane(value));
  return lowest(hn::Eq(b0.value, value), hn::Eq(b1.value, value), hn::Eq(b2.value, value),
                hn::Eq(b3.value, value));
}

/// The best of 1 to 2^30 elements side by side. Every place starts with element 0.
template <bool kSmallest>
std::int64_t best_of_part(const float* x, std::int64_t n) {
  const D d;
  const DI di;
  const auto width = static_cast<std::int64_t>(hn::Lanes(d));
  const Best start{hn::Set(d, x[0]), hn::Zero(di)};
  Best b0 = start, b1 = start, b2 = start, b3 = start;
  const auto times_width = [&](int k) HWY_ATTR { return hn::Set(di, static_cast<std::int32_t>(k * width)); };
  const VI w1 = times_width(1), w2 = times_width(2), w3 = times_width(3), w4 = times_width(4);
  VI at = hn::Iota(di, 0);
  std::int64_t done = 0;
  for (; done + 4 * width <= n; done += 4 * width) {
    b0 = better<kSmallest>(b0, hn::LoadU(d, x + done), at);
    b1 = better<kSmallest>(b1, hn::LoadU(d, x + done + width), hn::Add(at, w1));
    b2 = better<kSmallest>(b2, hn::LoadU(d, x + done + 2 * width), hn::Add(at, w2));
    b3 = better<kSmallest>(b3, hn::LoadU(d, x + done + 3 * width), hn::Add(at, w3));
    at = hn::Add(at, w4);
  }
  vec::for_each_vector(done, n, [&](auto place) HWY_ATTR {
    b0 = better<kSmallest>(b0, place.keep(place.load(x), b0.value), at);
    at = hn::Add(at, w1);
  });
  return best_index<kSmallest>(b0, b1, b2, b3);
}

template <bool kSmallest>
std::int64_t best_of_row(const float* x, std::int64_t n) {
  constexpr std::int64_t kPart = std::int64_t{1} << 30;  // indices of a part fit 32 bits
  std::int64_t best = 0;
  for (std::int64_t begin = 0; begin < n; begin += kPart) {
    const std::int64_t index = begin + best_of_part<kSmallest>(x + begin, std::min(kPart, n - begin));
    if (comes_first(x[index], index, x[best], best, kSmallest)) best = index;
  }
  return best;
}

void select_rows(const SelectCall& call, std::int64_t begin, std::int64_t end) {
  const std::int64_t n = call.shape.axis;
  for (std::int64_t r = begin; r < end; ++r) {
    const float* const x = call.x + r * n;
    const std::int64_t best = call.smallest ? best_of_row<true>(x, n) : best_of_row<false>(x, n);
    if (call.y != nullptr) call.y[r] = x[best];
    if (call.index != nullptr) call.index[r] = best;
  }
}

template <bool kSmallest>
void select_columns(const SelectCall& call, const Tile& tile) {
  const ReduceShape& shape = call.shape;
  const DI di;
  const float* const x = call.x + tile.outer * shape.axis * shape.inner + tile.begin;
  const std::int64_t place_of_result = tile.outer * shape.inner + tile.begin;
  vec::for_each_vector(0, tile.count, [&](auto place) HWY_ATTR {
    Best best{place.load(x), hn::Zero(di)};
    for (std::int64_t j = 1; j < shape.axis; ++j)
      best =
          better<kSmallest>(best, place.load(x + j * shape.inner), hn::Set(di, static_cast<std::int32_t>(j)));
    if (call.y != nullptr) place.store(best.value, call.y + place_of_result);
    if (call.index == nullptr) return;
    HWY_ALIGN std::int32_t indices[HWY_MAX_BYTES / 4];
    hn::Store(best.index, di, indices);
    const std::int64_t count =
        std::min<std::int64_t>(tile.count - place.j, static_cast<std::int64_t>(hn::Lanes(di)));
    for (std::int64_t k = 0; k < count; ++k) call.index[place_of_result + place.j + k] = indices[k];
  });
}

void select_tile(const SelectCall& call, const Tile& tile, float*) {
  call.smallest ? select_columns<true>(call, tile) : select_columns<false>(call, tile);
}

// ---- Gradients

/// dx[o, j, begin … end - 1] = dy[o, …] / divisor for each j, or dy[o] for a whole row where inner is 1.
void spread_slice(const float* dy, float* dx, const ReduceShape& shape, float divisor) {
  const V by = hn::Set(D(), divisor);
  if (shape.inner == 1) {
    const V value = hn::Div(hn::Set(D(), dy[0]), by);
    return vec::for_each_vector(0, shape.axis, [&](auto place) HWY_ATTR { place.store(value, dx); });
  }
  vec::for_each_vector(0, shape.inner, [&](auto place) HWY_ATTR {
    const V value = hn::Div(place.load(dy), by);
    for (std::int64_t j = 0; j < shape.axis; ++j) place.store(value, dx + j * shape.inner);
  });
}

void variance_slice(const float* dy, const float* x, const float* mean, float* dx, const ReduceShape& shape,
                    float factor) {
  const V by = hn::Set(D(), factor);
  if (shape.inner == 1) {
    const V scale = hn::Mul(hn::Set(D(), dy[0]), by), middle = hn::Set(D(), mean[0]);
    return vec::for_each_vector(0, shape.axis, [&](auto place) HWY_ATTR {
      place.store(hn::Mul(hn::Sub(place.load(x), middle), scale), dx);
    });
  }
  for (std::int64_t j = 0; j < shape.axis; ++j) {
    const float* const source = x + j * shape.inner;
    float* const target = dx + j * shape.inner;
    vec::for_each_vector(0, shape.inner, [&](auto place) HWY_ATTR {
      const V scale = hn::Mul(place.load(dy), by);
      place.store(hn::Mul(hn::Sub(place.load(source), place.load(mean)), scale), target);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace lockstep::reduce
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lockstep::reduce {
namespace {

HWY_EXPORT(row_sum);
HWY_EXPORT(row_square_sum);
HWY_EXPORT(sum_rows);
HWY_EXPORT(variance_rows);
HWY_EXPORT(sum_tile);
HWY_EXPORT(variance_tile);
HWY_EXPORT(select_rows);
HWY_EXPORT(select_tile);
HWY_EXPORT(spread_slice);
HWY_EXPORT(variance_slice);

constexpr std::int64_t kElements = 16384;  // that are worth a thread's while

std::int64_t grain(std::int64_t elements_an_item) {
  return std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, elements_an_item));
}

/// Rows where the axis is the innermost one, tiles of columns elsewhere.
template <class Call, class RowsForm, class TileForm>
void run(const Call& call, RowsForm rows, TileForm tile_form) {
  const ReduceShape& shape = call.shape;
  if (shape.inner == 1) {
    return parallel::for_each_range(shape.outer, grain(shape.axis),
                                    [&](std::int64_t begin, std::int64_t end) { rows(call, begin, end); });
  }
  const auto lanes_in_memory = static_cast<std::size_t>(order::lane_count(shape.axis) / 4);
  const std::int64_t tiles = (shape.inner + kTile - 1) / kTile;
  parallel::for_each_range(
      shape.outer * tiles, grain(shape.axis * std::min(kTile, shape.inner)),
      [&](std::int64_t begin, std::int64_t end) {
        const std::unique_ptr<float[]> lane(new float[lanes_in_memory * kTile]);
        for (std::int64_t i = begin; i < end; ++i) {
          const std::int64_t first = i % tiles * kTile;
          tile_form(call, {i / tiles, first, std::min(kTile, shape.inner - first)}, lane.get());
        }
      });
}

/// Rows of more than one block, which threads share. block(x, count, row) sums a block.
template <class Block>
std::vector<float> sums_of_long_rows(const float* x, const ReduceShape& shape, Block block) {
  const std::int64_t n = shape.axis, blocks = order::lane_blocks(n);
  std::vector<float> sums(static_cast<std::size_t>(shape.outer * blocks));
  parallel::for_each_range(shape.outer * blocks, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t row = i / blocks, begin = i % blocks * order::kElementsPerBlock;
      sums[static_cast<std::size_t>(i)] =
          block(x + row * n + begin, std::min(order::kElementsPerBlock, n - begin), row);
    }
  });
  const FloatMode mode;
  const auto sum = LOCKSTEP_SIMD_CALL(row_sum);
  std::vector<float> totals(static_cast<std::size_t>(shape.outer));
  for (std::int64_t row = 0; row < shape.outer; ++row)
    totals[static_cast<std::size_t>(row)] = sum(sums.data() + row * blocks, blocks);
  return totals;
}

bool has_long_rows(const ReduceShape& shape) {
  return shape.inner == 1 && shape.axis > order::kElementsPerBlock;
}

void divide(const std::vector<float>& sums, float divisor, float* y) {
  const FloatMode mode;
  for (const float sum : sums) *y++ = sum / divisor;
}

void sum_call(const SumCall& call) {
  if (!has_long_rows(call.shape))
    return run(call, LOCKSTEP_SIMD_CALL(sum_rows), LOCKSTEP_SIMD_CALL(sum_tile));
  const auto sum = LOCKSTEP_SIMD_CALL(row_sum);
  divide(sums_of_long_rows(call.x, call.shape,
                           [&](const float* x, std::int64_t n, std::int64_t) { return sum(x, n); }),
         call.divisor, call.y);
}

void variance_call(const SumCall& call) {
  if (!has_long_rows(call.shape))
    return run(call, LOCKSTEP_SIMD_CALL(variance_rows), LOCKSTEP_SIMD_CALL(variance_tile));
  std::vector<float> mean(static_cast<std::size_t>(call.shape.outer));
  sum_call({call.x, mean.data(), nullptr, call.shape, static_cast<float>(call.shape.axis)});
  const auto square_sum = LOCKSTEP_SIMD_CALL(row_square_sum);
  divide(sums_of_long_rows(call.x, call.shape,
                           [&](const float* x, std::int64_t n, std::int64_t row) {
                             return square_sum(x, n, mean[static_cast<std::size_t>(row)]);
                           }),
         call.divisor, call.y);
  if (call.mean != nullptr) std::copy(mean.begin(), mean.end(), call.mean);
}

}  // namespace

void sum_cpu(const float* x, float* y, const ReduceShape& shape) { sum_call({x, y, nullptr, shape, 1.0f}); }

void mean_cpu(const float* x, float* y, const ReduceShape& shape) {
  sum_call({x, y, nullptr, shape, static_cast<float>(shape.axis)});
}

void variance_cpu(const float* x, float* y, float* mean, const ReduceShape& shape, float divisor) {
  variance_call({x, y, mean, shape, divisor});
}

void select_cpu(const float* x, float* y, std::int64_t* index, const ReduceShape& shape, bool smallest) {
  run(SelectCall{x, y, index, shape, smallest}, LOCKSTEP_SIMD_CALL(select_rows),
      LOCKSTEP_SIMD_CALL(select_tile));
}

void sum_backward_cpu(const float* dy, float* dx, const ReduceShape& shape, float divisor) {
  const auto form = LOCKSTEP_SIMD_CALL(spread_slice);
  const std::int64_t slice = shape.axis * shape.inner;
  parallel::for_each_range(shape.outer, grain(slice), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t o = begin; o < end; ++o) form(dy + o * shape.inner, dx + o * slice, shape, divisor);
  });
}

void variance_backward_cpu(const float* dy, const float* x, const float* mean, float* dx,
                           const ReduceShape& shape, float factor) {
  const auto form = LOCKSTEP_SIMD_CALL(variance_slice);
  const std::int64_t slice = shape.axis * shape.inner;
  parallel::for_each_range(shape.outer, grain(slice), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t o = begin; o < end; ++o)
      form(dy + o * shape.inner, x + o * slice, mean + o * shape.inner, dx + o * slice, shape, factor);
  });
}

void select_backward_cpu(const float* dy, const std::int64_t* index, float* dx, const ReduceShape& shape) {
  const std::int64_t slice = shape.axis * shape.inner;
  parallel::for_each_range(shape.outer, grain(slice), [&](std::int64_t begin, std::int64_t end) {
    std::fill(dx + begin * slice, dx + end * slice, 0.0f);
    if (shape.axis == 0) return;
    for (std::int64_t i = begin * shape.inner; i < end * shape.inner; ++i)
      dx[(i / shape.inner * shape.axis + index[i]) * shape.inner + i % shape.inner] = dy[i];
  });
}

}  // namespace lockstep::reduce

#endif  // HWY_ONCE
