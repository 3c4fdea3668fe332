// The gradients of weight and bias. A thread block has a tile of filters by columns, a column being a tap, or
// the bias, whose tap reads 1: fma(dy, 1, chain) is chain + dy. Output pixels come through shared memory some
// at a time, some stages ahead of their sums; a thread has some chains of the tile in registers. Chunks side
// by side leave partials in scratch, which a second kernel folds in their order.
//
// A tap outside of the image is read as +0. That changes no chain of finite gradients but the sign of a zero,
// which is lost in the total. Where a gradient is infinite or NaN the product is NaN and stays so: such a
// chain is done again, asking each tap.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cuda_pipeline_primitives.h>
#include <cuda_runtime_api.h>

#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/conv/conv_cuda_internal.h"
#include "lockstep/conv/conv_internal.h"
#include "lockstep/conv/fold_plan_internal.h"

namespace lockstep::conv_internal {
namespace {

constexpr int kStageRows = 32;  // a lane each
constexpr int kApart =
    kStageRows + 4;  // of filters and columns in shared memory: by four banks, as reads of four

/// A call, and what follows from its geometry.
struct Problem {
  ConvWeightGradient call;
  std::int64_t pixels, out_h, out_w;  ///< of a sample's result
  std::int64_t channels, filters;     ///< of a group
  std::int64_t kernel, taps;          ///< of an input channel; of a filter, where they are wanted
  std::int64_t columns;               ///< taps, and the bias

  __device__ std::int64_t image_pixels() const { return call.geometry.in_h * call.geometry.in_w; }
  /// The gradients of a filter in a sample, and the first channel of a group there.
  __device__ const float* gradients(std::int64_t sample, std::int64_t filter) const {
    return call.dy + (sample * call.geometry.out_channels + filter) * pixels;
  }
  __device__ const float* image(std::int64_t sample, std::int64_t group) const {
    return call.x + (sample * call.geometry.in_channels + group * channels) * image_pixels();
  }
  __device__ bool is_bias(std::int64_t column) const { return column == taps; }
  /// Of `total` or of `open`.
  __device__ float* place(float* ConvFold::*memory, std::int64_t filter, std::int64_t column) const {
    return is_bias(column) ? call.dbias.*memory + filter : call.dweight.*memory + filter * taps + column;
  }
  __device__ float start(const order::FoldSegment& segment, std::int64_t filter, std::int64_t column) const {
    return segment.opens ? 0.0f : *place(&ConvFold::open, filter, column);
  }
  __device__ void finish(const order::FoldSegment& segment, std::int64_t filter, std::int64_t column,
                         float partial) const {
    if (segment.closes) {
      float* const total = place(&ConvFold::total, filter, column);
      *total = *total + partial;
    } else {
      *place(&ConvFold::open, filter, column) = partial;
    }
  }
};

/// Order: the chain of a segment's rows that are terms, ascending, one fma each.
__device__ float partial_tap_by_tap(const Problem& p, const order::FoldSegment& segment, std::int64_t filter,
                                    std::int64_t column) {
  const ConvGeometry& g = p.call.geometry;
  const std::int64_t channel = column / p.kernel, tap = column % p.kernel;
  const std::int64_t shift_h = tap / g.kernel_w * g.dilation_h - g.pad_h,
                     shift_w = tap % g.kernel_w * g.dilation_w - g.pad_w;
  float partial = p.start(segment, filter, column);
  for (std::int64_t row = segment.offset; row < segment.offset + segment.rows; ++row) {
    const std::int64_t sample = quotient(row, p.pixels), pixel = row - sample * p.pixels;
    const std::int64_t i = quotient(pixel, p.out_w), j = pixel - i * p.out_w;
    const float gradient = p.gradients(sample, filter)[pixel];
    if (p.is_bias(column)) {
      partial = partial + gradient;
      continue;
    }
    const std::int64_t h = i * g.stride_h + shift_h, w = j * g.stride_w + shift_w;
    if (h < 0 || h >= g.in_h || w < 0 || w >= g.in_w) continue;
    const float* const image = p.image(sample, filter / p.filters) + channel * p.image_pixels();
    partial = std::fma(gradient, image[h * g.in_w + w], partial);
  }
  return partial;
}

/// For images that are too large for the other form. Order: a sum is a thread's, chunks ascending.
__global__ void __launch_bounds__(256) folds_one_by_one(const __grid_constant__ Problem p) {
  const std::int64_t count = p.call.geometry.out_channels * p.columns, step = std::int64_t{gridDim.x} * 256;
  for (std::int64_t at = std::int64_t{blockIdx.x} * 256 + threadIdx.x; at < count; at += step) {
    const std::int64_t filter = at / p.columns, column = at % p.columns;
    for (std::int64_t index = 0; index < order::fold_segments(p.call.span); ++index) {
      const order::FoldSegment segment = order::fold_segment(p.call.span, index);
      p.finish(segment, filter, column, partial_tap_by_tap(p, segment, filter, column));
    }
  }
}

// ---- Tiles

/// A tile of kFilters by kColumns sums; a thread has kOwnFilters by kOwnColumns of them.
template <int filters, int columns, int own_filters, int own_columns>
struct Form {
  static constexpr int kFilters = filters, kColumns = columns;
  static constexpr int kOwnFilters = own_filters, kOwnColumns = own_columns;
  static constexpr int kThreadColumns = columns / own_columns;
  static constexpr int kThreads = filters / own_filters * kThreadColumns, kWarps = kThreads / kLanes;
  /// Short stages need more of them, so that a copy has the time that it takes.
  static constexpr int kStages = own_filters * own_columns > 4 ? 2 : 4;
};

template <class Form>
struct Stage {
  alignas(16) float gradient[Form::kFilters][kApart];
  alignas(16) float image[Form::kColumns][kApart];
};

/// Where a tile lies: its group, and its first filter, of all, and column.
struct Place {
  std::int64_t group, filter, column;
  int filters, columns;  ///< that exist, as many as a tile has at most
};

/// A tap: where it reads behind an output pixel's first.
struct alignas(16) Tap {
  int offset, shift_h, shift_w;
};

__device__ Tap tap_of(const Problem& p, std::int64_t column) {
  const ConvGeometry& g = p.call.geometry;
  const auto kernel = static_cast<int>(p.kernel), kernel_w = static_cast<int>(g.kernel_w);
  const int channel = static_cast<int>(column) / kernel, rest = static_cast<int>(column) - channel * kernel;
  const int row = rest / kernel_w, col = rest - row * kernel_w;
  const int shift_h = row * static_cast<int>(g.dilation_h), shift_w = col * static_cast<int>(g.dilation_w);
  return {channel * static_cast<int>(p.image_pixels()) + shift_h * static_cast<int>(g.in_w) + shift_w,
          shift_h, shift_w};
}

/// Copies rows to shared memory, a lane each; a warp takes one filter or tap after the other.
template <class Form>
class Loader {
 public:
  __device__ Loader(const Problem& p, const Place& place, const Tap (&taps)[Form::kColumns])
      : p_(p),
        place_(place),
        tap_(taps),
        height_(static_cast<int>(p.call.geometry.in_h)),
        width_(static_cast<int>(p.call.geometry.in_w)),
        out_w_(static_cast<int>(p.out_w)),
        out_h_(static_cast<int>(p.out_h)),
        taps_(static_cast<int>(min(p.taps - place.column, std::int64_t{place.columns}))),
        step_(Digits::of(kStageRows, out_h_, out_w_)) {}

  /// What is the same in all stages: the bias reads 1, and what does not exist is zero.
  __device__ void fill(Stage<Form>& to) const {
    for (int column = taps_ + warp(); column < Form::kColumns; column += Form::kWarps)
      to.image[column][lane()] = p_.is_bias(place_.column + column) ? 1.0f : 0.0f;
    for (int filter = place_.filters + warp(); filter < Form::kFilters; filter += Form::kWarps)
      to.gradient[filter][lane()] = 0;
  }

  /// The next stage is that of the rows from `row` of the span on.
  __device__ void seek(std::int64_t row) {
    sample_ = quotient(row, p_.pixels);
    row_ = Digits::of(static_cast<int>(row - sample_ * p_.pixels) + lane(), out_h_, out_w_);
  }

  /// `count` rows, or as many as a stage has. Rows go on as zeros.
  __device__ void load(int count, Stage<Form>& to) {
    const bool is_row = lane() < count;
    const std::int64_t sample = sample_ + row_.high;
    load_gradients(p_.gradients(sample, place_.filter) + (row_.middle * out_w_ + row_.low), is_row, to);
    if (taps_ > 0) {
      const ConvGeometry& g = p_.call.geometry;
      const int h = row_.middle * static_cast<int>(g.stride_h) - static_cast<int>(g.pad_h);
      const int w = row_.low * static_cast<int>(g.stride_w) - static_cast<int>(g.pad_w);
      load_image(kept(p_.image(sample, place_.group)), h * width_ + w, is_row ? h : kNowhere, w, to);
    }
    row_.advance(step_, out_h_, out_w_);
  }

 private:
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kLanes; }
  __device__ static int warp() { return static_cast<int>(threadIdx.x) / kLanes; }

  __device__ void load_gradients(const float* from, bool is_row, Stage<Form>& to) const {
    from = kept(from);
    const auto pixels = static_cast<int>(p_.pixels);
    const int filters = place_.filters;
#pragma unroll 4
    for (int filter = warp(); filter < filters; filter += Form::kWarps)
      copy_or_zero(&to.gradient[filter][lane()], from + static_cast<std::int64_t>(filter) * pixels, is_row);
  }

  /// Taps are asked for some at a time.
  __device__ void load_image(const float* image, int first, int first_h, int first_w, Stage<Form>& to) const {
    constexpr int kAtOnce = Form::kColumns / Form::kWarps < 4 ? Form::kColumns / Form::kWarps : 4;
#pragma unroll 1
    for (int at = warp(); at < taps_; at += kAtOnce * Form::kWarps) {
      Tap tap[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) tap[i] = tap_[at + i * Form::kWarps];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int column = at + i * Form::kWarps;
        if (column >= taps_) break;
        copy_or_zero(
            &to.image[column][lane()], image + (first + tap[i].offset),
            is_inside(first_h + tap[i].shift_h, height_) && is_inside(first_w + tap[i].shift_w, width_));
      }
    }
  }

  const Problem& p_;
  const Place& place_;
  const Tap (&tap_)[Form::kColumns];
  int height_, width_, out_w_, out_h_, taps_;
  Digits step_, row_;
  std::int64_t sample_ = 0;
};

/// A thread's sums in the tile.
template <class Form>
struct Own {
  float chain[Form::kOwnFilters][Form::kOwnColumns];

  __device__ static int filter() {
    return static_cast<int>(threadIdx.x) / Form::kThreadColumns * Form::kOwnFilters;
  }
  /// Columns of a thread lie kThreadColumns apart, so that a warp's lie side by side.
  __device__ static int column(int j) {
    return static_cast<int>(threadIdx.x) % Form::kThreadColumns + j * Form::kThreadColumns;
  }

  /// visit(filter of the tile, column of the tile, chain) for those that exist.
  template <class Visit>
  __device__ void for_each(const Place& place, Visit visit) {
#pragma unroll
    for (int i = 0; i < Form::kOwnFilters; ++i) {
#pragma unroll
      for (int j = 0; j < Form::kOwnColumns; ++j) {
        if (filter() + i < place.filters && column(j) < place.columns)
          visit(place.filter + filter() + i, place.column + column(j), chain[i][j]);
      }
    }
  }

  /// Order: each chain takes the stage's rows, ascending, one fma each.
  __device__ void add_stage(const Stage<Form>& stage, int count) {
    constexpr int kAhead = Form::kOwnFilters * Form::kOwnColumns > 4 ? 2 : 8;  // of reads before their sums
#pragma unroll kAhead
    for (int row = 0; row < count; row += 4) {
      float gradient[Form::kOwnFilters][4], image[Form::kOwnColumns][4];
#pragma unroll
      for (int i = 0; i < Form::kOwnFilters; ++i)
        read_shared(&stage.gradient[filter() + i][row], gradient[i]);
#pragma unroll
      for (int j = 0; j < Form::kOwnColumns; ++j) read_shared(&stage.image[column(j)][row], image[j]);
#pragma unroll
      for (int r = 0; r < 4; ++r) {
#pragma unroll
        for (int i = 0; i < Form::kOwnFilters; ++i) {
#pragma unroll
          for (int j = 0; j < Form::kOwnColumns; ++j)
            chain[i][j] = std::fma(gradient[i][r], image[j][r], chain[i][j]);
        }
      }
    }
  }
};

/// A chain that is NaN, once more.
__device__ __noinline__ float ask_each_tap(const Problem& p, std::int64_t segment, std::int64_t filter,
                                           std::int64_t column) {
  return partial_tap_by_tap(p, order::fold_segment(p.call.span, segment), filter, column);
}

/// Order: the segment's rows, ascending.
template <class Form>
__device__ void run_chains(const order::FoldSegment& segment, Loader<Form>& loader,
                           Stage<Form> (&stages)[Form::kStages], Own<Form>& own) {
  constexpr int kStages = Form::kStages;
  const auto rest = [&](int stage) { return static_cast<int>(segment.rows) - stage * kStageRows; };
  loader.seek(segment.offset);
  __syncthreads();  // the stages are free
  // The first rounds only copy; unrolled they would be as much code again.
#pragma unroll 1
  for (int stage = 1 - kStages; rest(stage) > 0; ++stage) {
    if (stage >= 0) {
      __pipeline_wait_prior(kStages - 2);
      __syncthreads();  // every thread's copies of this stage are there, and the stage before is free
    }
    const int next = stage + kStages - 1;
    if (rest(next) > 0) loader.load(rest(next), stages[next % kStages]);
    __pipeline_commit();
    if (stage >= 0) own.add_stage(stages[stage % kStages], min(rest(stage), kStageRows));
  }
}

// A function of its own, as one thread calls it.
__device__ __noinline__ Place place_of(const Problem& p, const FoldPlan& plan, std::int64_t tile) {
  const std::int64_t rest = quotient(tile, plan.column_tiles), group = quotient(rest, plan.filter_tiles);
  const std::int64_t column = (tile - rest * plan.column_tiles) * plan.columns;
  const std::int64_t filter = (rest - group * plan.filter_tiles) * plan.filters;
  return {group, group * p.filters + filter, column,
          static_cast<int>(min(p.filters - filter, std::int64_t{plan.filters})),
          static_cast<int>(min(p.columns - column, std::int64_t{plan.columns}))};
}

// Order: each sum's chain over the rows of a segment. With `partials`, [segments, filters, columns], block b
// has the tile b mod tiles of segment `first` + b / tiles; without, all `count` segments of a tile, which go
// to their totals in their order.
template <class Form>
__global__ void __launch_bounds__(Form::kThreads)
    fold_chunks(const __grid_constant__ Problem p, FoldPlan plan, std::int64_t first, std::int64_t count,
                float* partials) {
  __shared__ Stage<Form> stages[Form::kStages];
  __shared__ Place place;
  __shared__ Tap taps[Form::kColumns];
  const std::int64_t in_launch = quotient(blockIdx.x, plan.tiles());
  if (threadIdx.x == 0) place = place_of(p, plan, blockIdx.x - in_launch * plan.tiles());
  __syncthreads();
  if (threadIdx.x < Form::kColumns) taps[threadIdx.x] = tap_of(p, place.column + threadIdx.x);
  Loader<Form> loader(p, place, taps);
  for (Stage<Form>& stage : stages) loader.fill(stage);
  const std::int64_t begin = first + in_launch, end = partials == nullptr ? first + count : begin + 1;
  for (std::int64_t index = begin; index < end; ++index) {
    const order::FoldSegment segment = order::fold_segment(p.call.span, index);
    Own<Form> own = {};
    if (!segment.opens)
      own.for_each(place, [&](std::int64_t filter, std::int64_t column, float& chain) {
        chain = p.start(segment, filter, column);
      });
    run_chains(segment, loader, stages, own);
    own.for_each(place, [&](std::int64_t filter, std::int64_t column, float& chain) {
      if (chain != chain) chain = ask_each_tap(p, index, filter, column);
      if (partials == nullptr)
        p.finish(segment, filter, column, chain);
      else
        partials[(in_launch * p.call.geometry.out_channels + filter) * p.columns + column] = chain;
    });
  }
}

/// Order: total + partial, chunks ascending; a last one that does not close stays open.
__global__ void __launch_bounds__(256)
    fold_partials(const __grid_constant__ Problem p, std::int64_t first, int count,
                  const float* partials) {  // [count, filters, columns]
  const std::int64_t sums = p.call.geometry.out_channels * p.columns;
  const std::int64_t at = std::int64_t{blockIdx.x} * 256 + threadIdx.x;
  if (at >= sums) return;
  const std::int64_t filter = quotient(at, p.columns), column = at - filter * p.columns;
  const bool stays_open = !order::fold_segment(p.call.span, first + count - 1).closes;
  const int closed = count - (stays_open ? 1 : 0);
  float* const total = p.place(&ConvFold::total, filter, column);
  float sum = *total;
#pragma unroll 8
  for (int i = 0; i < closed; ++i) sum = sum + partials[i * sums + at];
  *total = sum;
  if (stays_open) *p.place(&ConvFold::open, filter, column) = partials[closed * sums + at];
}

// ---- Launches

template <class Form>
void launch(const Problem& p, const FoldPlan& plan, cudaStream_t on) {
  const std::int64_t segments = order::fold_segments(p.call.span);
  if (plan.segments_a_wave == 0) {
    fold_chunks<Form>
        <<<static_cast<unsigned>(plan.tiles()), Form::kThreads, 0, on>>>(p, plan, 0, segments, nullptr);
    return check_launch("conv: fold_chunks");
  }
  const auto fold_blocks = static_cast<unsigned>(ceil_div(p.call.geometry.out_channels * p.columns, 256));
  for (std::int64_t first = 0; first < segments; first += plan.segments_a_wave) {
    const std::int64_t count = std::min(plan.segments_a_wave, segments - first);
    fold_chunks<Form><<<static_cast<unsigned>(plan.tiles() * count), Form::kThreads, 0, on>>>(
        p, plan, first, count, p.call.scratch);
    check_launch("conv: fold_chunks");
    fold_partials<<<fold_blocks, 256, 0, on>>>(p, first, static_cast<int>(count), p.call.scratch);
    check_launch("conv: fold_partials");
  }
}

}  // namespace

void weight_gradient_cuda(const ConvWeightGradient& call, void* stream) {
  const ConvGeometry& g = call.geometry;
  const std::int64_t taps = call.dweight.total == nullptr ? 0 : g.taps();
  const Problem p{call,
                  g.out_pixels(),
                  g.out_h(),
                  g.out_w(),
                  g.in_channels / g.groups,
                  g.out_channels / g.groups,
                  g.kernel_h * g.kernel_w,
                  taps,
                  taps + (call.dbias.total == nullptr ? 0 : 1)};
  if (order::fold_segments(call.span) == 0 || g.out_channels * p.columns == 0) return;
  auto* const on = static_cast<cudaStream_t>(stream);
  if (!is_narrow(g)) {
    const auto blocks =
        static_cast<unsigned>(std::min<std::int64_t>(ceil_div(g.out_channels * p.columns, 256), 1 << 30));
    folds_one_by_one<<<blocks, 256, 0, on>>>(p);
    return check_launch("conv: folds_one_by_one");
  }
  const FoldPlan plan = fold_plan(g, p.columns, call.span);
  switch (plan.form) {
    case FoldForm::wide:
      return launch<Form<64, 64, 4, 4>>(p, plan, on);
    case FoldForm::many_filters:
      return launch<Form<32, 16, 2, 2>>(p, plan, on);
    case FoldForm::many_columns:
      return launch<Form<16, 32, 2, 2>>(p, plan, on);
    case FoldForm::single:
      return launch<Form<16, 16, 1, 1>>(p, plan, on);
  }
}

}  // namespace lockstep::conv_internal
