// A thread computes a pixel of the result, or a strip of pixels of the gradient, alone: the gradient of a
// pixel is gathered from the windows that hold it, ascending, and nothing is added by two threads.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cuda_runtime_api.h>

#include "lockstep/base/ceil_div_internal.h"
#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/base/divisor_internal.h"
#include "lockstep/pool/pool_inl.h"
#include "lockstep/pool/pool_internal.h"

namespace lockstep::pool {
namespace {

using internal::Divisor;

constexpr int kThreads = 256;
constexpr std::int64_t kMostBlocks = 132 * 64;
/// Kernels count in 32 bits, and so this far, where a plane and its axes lie well below: a launch has some
/// planes then.
constexpr std::int64_t kMostNarrow = std::int64_t{1} << 30;

/// A PoolAxis in the numbers of a kernel, and how many windows it has.
template <class Index>
struct Axis {
  explicit Axis(const PoolAxis& a, std::int64_t windows)
      : in(static_cast<Index>(a.in)),
        kernel(static_cast<Index>(a.kernel)),
        stride(static_cast<Index>(a.stride)),
        pad(static_cast<Index>(a.pad)),
        dilation(static_cast<Index>(a.dilation)),
        out(static_cast<Index>(windows)),
        by_stride(stride) {}

  Index in, kernel, stride, pad, dilation, out;
  Divisor<Index> by_stride;
};

template <class Index>
struct Range {
  Index begin, end;
};

/// The windows that span a pixel; dilation leaves gaps in some of them.
template <class Index>
__device__ Range<Index> windows_around(const Axis<Index>& axis, Index pixel) {
  const Index place = pixel + axis.pad, past_first = place - axis.dilation * (axis.kernel - 1);
  const Index begin = past_first <= 0 ? 0 : axis.by_stride.quotient(past_first + axis.stride - 1);
  return {begin, min(axis.out, axis.by_stride.quotient(place) + 1)};
}

/// Where an element of [planes, height, width] lies.
template <class Index>
struct Place {
  Index plane, h, w;
};

// Order: none, a pixel is a thread's alone.
template <class Index, class Operation>
__global__ void __launch_bounds__(kThreads)
    each_pixel(Operation operation, Index count, Divisor<Index> height, Divisor<Index> width) {
  const Index step = static_cast<Index>(gridDim.x) * kThreads;
  for (Index i = static_cast<Index>(blockIdx.x) * kThreads + static_cast<Index>(threadIdx.x); i < count;
       i += step) {
    const Index row = width.quotient(i), plane = height.quotient(row);
    operation(Place<Index>{plane, row - plane * height.value(), i - row * width.value()}, i);
  }
}

/// operation(place, its number) for all pixels of [planes, height, width].
template <class Index, class Operation>
void launch(const char* name, const Operation& operation, std::int64_t planes, std::int64_t height,
            std::int64_t width, void* stream) {
  const std::int64_t count = planes * height * width;
  if (count == 0) return;
  const auto blocks = static_cast<unsigned>(std::min((count + kThreads - 1) / kThreads, kMostBlocks));
  each_pixel<Index, Operation><<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      operation, static_cast<Index>(count), Divisor<Index>(static_cast<Index>(height)),
      Divisor<Index>(static_cast<Index>(width)));
  check_launch(name);
}

constexpr int kStrip = 4;  // neighbours in a row, whose gradients a thread computes together

struct Strip {
  float pixel[kStrip];
};

// Order: none, a pixel is a thread's alone.
template <class Index, class Operation>
__global__ void __launch_bounds__(kThreads)
    each_strip(Operation operation, float* dx, Index count, Divisor<Index> height, Divisor<Index> strips,
               Index width, bool in_vectors) {
  const Index step = static_cast<Index>(gridDim.x) * kThreads;
  for (Index i = static_cast<Index>(blockIdx.x) * kThreads + static_cast<Index>(threadIdx.x); i < count;
       i += step) {
    const Index row = strips.quotient(i), plane = height.quotient(row);
    const Index first = (i - row * strips.value()) * kStrip;
    const Strip strip = operation(Place<Index>{plane, row - plane * height.value(), first});
    float* const to = dx + row * width + first;
    if (in_vectors) {
      *reinterpret_cast<float4*>(to) =
          make_float4(strip.pixel[0], strip.pixel[1], strip.pixel[2], strip.pixel[3]);
    } else {
#pragma unroll
      for (int k = 0; k < kStrip; ++k)
        if (first + k < width) to[k] = strip.pixel[k];
    }
  }
}

/// dx of [planes, height, width]: operation(place of its first pixel) for all strips.
template <class Index, class Operation>
void launch_strips(const char* name, const Operation& operation, float* dx, std::int64_t planes,
                   std::int64_t height, std::int64_t width, void* stream) {
  const std::int64_t strips = internal::ceil_div(width, kStrip), count = planes * height * strips;
  if (count == 0) return;
  const auto blocks = static_cast<unsigned>(std::min(internal::ceil_div(count, kThreads), kMostBlocks));
  const bool in_vectors = width % kStrip == 0 && reinterpret_cast<std::uintptr_t>(dx) % sizeof(float4) == 0;
  each_strip<Index, Operation><<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      operation, dx, static_cast<Index>(count), Divisor<Index>(static_cast<Index>(height)),
      Divisor<Index>(static_cast<Index>(strips)), static_cast<Index>(width), in_vectors);
  check_launch(name);
}

// ---- The four of them

template <class Index>
struct MaxForward {
  const float* x;
  float* y;
  std::int64_t* indices;
  Axis<Index> h, w;

  __device__ void operator()(const Place<Index>& at, Index i) const {
    const Largest<float> best =
        largest_of(x + at.plane * (h.in * w.in), w.in, window_of(h, at.h), window_of(w, at.w));
    y[i] = best.value;
    if (indices != nullptr) indices[i] = best.index;
  }
};

/// The pixels of the image that a window spans, from its first to its last tap.
template <class Index>
__device__ Range<Index> span_of(const Axis<Index>& axis, Index window) {
  const Index first = window * axis.stride - axis.pad;
  return {max(first, Index{0}), min(first + axis.dilation * (axis.kernel - 1) + 1, axis.in)};
}

template <class Index>
__device__ bool holds(const Range<Index>& range, Index pixel) {
  return pixel >= range.begin && pixel < range.end;
}

template <class Index>
struct MaxBackward {
  const float* dy;
  const std::int64_t* indices;
  Axis<Index> h, w;
  Divisor<Index> by_width;

  __device__ Strip operator()(const Place<Index>& at) const {
    const Index last = min(at.w + kStrip, w.in) - 1, row_begin = at.h * w.in;
    const Range<Index> rows = windows_around(h, at.h);
    const Range<Index> cols{windows_around(w, at.w).begin, windows_around(w, last).end};
    BlockSum<float> sum[kStrip];
    bool is_lost[kStrip] = {};
    for (Index row = rows.begin; row < rows.end; ++row) {
      for (Index col = cols.begin; col < cols.end; ++col) {
        const Index window = (at.plane * h.out + row) * w.out + col;
        const std::int64_t index = indices[window];
        const float gradient = dy[window];
        const Range<Index> span = span_of(w, col);
        const bool is_foreign = index != -1 && !is_of(row, span, index);
#pragma unroll
        for (int k = 0; k < kStrip; ++k) {
          if (!holds(span, at.w + k)) continue;
          if (index == row_begin + at.w + k) sum[k].add(gradient);
          is_lost[k] = is_lost[k] || is_foreign;
        }
      }
    }
    Strip result;
#pragma unroll
    for (int k = 0; k < kStrip; ++k) result.pixel[k] = is_lost[k] ? NAN : sum[k].value();
    return result;
  }

  /// Whether a window's index can be its own.
  __device__ bool is_of(Index row, const Range<Index>& cols, std::int64_t index) const {
    if (index < 0 || index >= std::int64_t{h.in} * w.in) return false;
    const auto pixel = static_cast<Index>(index);
    const Index of_row = by_width.quotient(pixel);
    return holds(span_of(h, row), of_row) && holds(cols, pixel - of_row * w.in);
  }
};

/// An AverageAxis in the numbers of a kernel.
template <class Index>
struct AverageWindows {
  explicit AverageWindows(const AverageAxis& a)
      : axis(a.axis, a.out), is_adaptive(a.is_adaptive), count_include_pad(a.count_include_pad) {}

  __device__ BasicWindow<Index> of(Index result) const {
    return is_adaptive ? adaptive_window_of(axis.in, axis.out, result)
                       : window_of(axis, result, count_include_pad);
  }
  /// Dilation is 1, so those around it hold it.
  __device__ Range<Index> around(Index pixel) const {
    if (!is_adaptive) return windows_around(axis, pixel);
    const BasicWindow<Index> holders = adaptive_window_of(axis.out, axis.in, pixel);
    return {holders.begin, holders.end};
  }

  Axis<Index> axis;
  bool is_adaptive, count_include_pad;
};

template <class Index>
struct AverageForward {
  const float* x;
  float* y;
  AverageWindows<Index> h, w;
  std::int64_t divisor;

  __device__ void operator()(const Place<Index>& at, Index i) const {
    const Index width = w.axis.in;
    y[i] = average_of(x + at.plane * (h.axis.in * width), width, h.of(at.h), w.of(at.w), divisor);
  }
};

template <class Index>
struct AverageBackward {
  const float* dy;
  AverageWindows<Index> h, w;
  std::int64_t divisor;

  __device__ Strip operator()(const Place<Index>& at) const {
    const Index last = min(at.w + kStrip, w.axis.in) - 1;
    const Range<Index> rows = h.around(at.h), cols{w.around(at.w).begin, w.around(last).end};
    BlockSum<float> sum[kStrip];
    for (Index row = rows.begin; row < rows.end; ++row) {
      const BasicWindow<Index> of_row = h.of(row);
      for (Index col = cols.begin; col < cols.end; ++col) {
        const BasicWindow<Index> of_col = w.of(col);
        const Index window = (at.plane * h.axis.out + row) * w.axis.out + col;
        const float share = dy[window] / divisor_of<float>(of_row, of_col, divisor);
#pragma unroll
        for (int k = 0; k < kStrip; ++k)
          if (holds(Range<Index>{of_col.begin, of_col.end}, at.w + k)) sum[k].add(share);
      }
    }
    Strip result;
#pragma unroll
    for (int k = 0; k < kStrip; ++k) result.pixel[k] = sum[k].value();
    return result;
  }
};

// ---- How they are launched

/// What the numbers of an axis do not exceed, those on the way included.
std::int64_t extent_of(const PoolAxis& axis, std::int64_t windows) {
  return std::max({axis.in, windows * axis.stride}) + axis.pad + axis.dilation * axis.kernel + axis.stride;
}

/// Adaptive windows multiply both numbers of an axis.
std::int64_t extent_of(const AverageAxis& a) {
  return a.is_adaptive ? (a.axis.in + 1) * (a.out + 1) : extent_of(a.axis, a.out);
}

/// run(Index, its first plane, planes) for all planes: in one launch of 64 bits, or in as many of 32 as their
/// count of pixels makes.
template <class Run>
void in_launches(std::int64_t planes, std::int64_t most_pixels, bool has_narrow_axes, const Run& run) {
  if (!has_narrow_axes || most_pixels > kMostNarrow) return run(std::int64_t{}, std::int64_t{0}, planes);
  const std::int64_t step = kMostNarrow / most_pixels;
  for (std::int64_t first = 0; first < planes; first += step)
    run(std::int32_t{}, first, std::min(step, planes - first));
}

/// Images of in pixels, results of out, one of each a window.
struct Planes {
  Planes(const PoolAxis& h, const PoolAxis& w)
      : out_h(h.out()), out_w(w.out()), in(h.in * w.in), out(out_h * out_w) {
    is_narrow = extent_of(h, out_h) <= kMostNarrow && extent_of(w, out_w) <= kMostNarrow;
  }
  Planes(const AverageAxis& h, const AverageAxis& w)
      : out_h(h.out), out_w(w.out), in(h.axis.in * w.axis.in), out(out_h * out_w) {
    is_narrow = extent_of(h) <= kMostNarrow && extent_of(w) <= kMostNarrow;
  }

  std::int64_t out_h, out_w, in, out;
  bool is_narrow;
};

}  // namespace

void max_pool_cuda(const MaxPool& call, void* stream) {
  const Planes of(call.h, call.w);
  in_launches(call.planes, std::max(of.in, of.out), of.is_narrow,
              [&](auto index, std::int64_t first, std::int64_t planes) {
                using Index = decltype(index);
                const MaxForward<Index> forward{
                    call.x + first * of.in, call.y + first * of.out,
                    call.indices == nullptr ? nullptr : call.indices + first * of.out,
                    Axis<Index>(call.h, of.out_h), Axis<Index>(call.w, of.out_w)};
                launch<Index>("pool: max_pool", forward, planes, of.out_h, of.out_w, stream);
              });
}

void max_pool_backward_cuda(const MaxPoolBackward& call, void* stream) {
  const Planes of(call.h, call.w);
  in_launches(call.planes, std::max(of.in, of.out), of.is_narrow,
              [&](auto index, std::int64_t first, std::int64_t planes) {
                using Index = decltype(index);
                const MaxBackward<Index> backward{
                    call.dy + first * of.out, call.indices + first * of.out, Axis<Index>(call.h, of.out_h),
                    Axis<Index>(call.w, of.out_w),
                    Divisor<Index>(static_cast<Index>(std::max<std::int64_t>(1, call.w.in)))};
                launch_strips<Index>("pool: max_pool_backward", backward, call.dx + first * of.in, planes,
                                     call.h.in, call.w.in, stream);
              });
}

void average_cuda(const AverageProblem& p, const float* x, float* y, void* stream) {
  const Planes of(p.h, p.w);
  in_launches(p.planes, std::max(of.in, of.out), of.is_narrow,
              [&](auto index, std::int64_t first, std::int64_t planes) {
                using Index = decltype(index);
                const AverageForward<Index> forward{x + first * of.in, y + first * of.out,
                                                    AverageWindows<Index>(p.h), AverageWindows<Index>(p.w),
                                                    p.divisor};
                launch<Index>("pool: average_pool", forward, planes, of.out_h, of.out_w, stream);
              });
}

void average_backward_cuda(const AverageProblem& p, const float* dy, float* dx, void* stream) {
  const Planes of(p.h, p.w);
  in_launches(p.planes, std::max(of.in, of.out), of.is_narrow,
              [&](auto index, std::int64_t first, std::int64_t planes) {
                using Index = decltype(index);
                const AverageBackward<Index> backward{dy + first * of.out, AverageWindows<Index>(p.h),
                                                      AverageWindows<Index>(p.w), p.divisor};
                launch_strips<Index>("pool: average_pool_backward", backward, dx + first * of.in, planes,
                                     p.h.axis.in, p.w.axis.in, stream);
              });
}

}  // namespace lockstep::pool
