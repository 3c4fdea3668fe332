#pragma once
// The arithmetic of one window, for host and device. The vector forms do the identical operations. C++17.

#include <cmath>
#include <cstdint>

#include "lockstep/base/host_device.h"
#include "lockstep/pool/pool.h"

namespace lockstep::pool {

constexpr std::int64_t kBlock = 1024;  // terms of a chain

/// The taps of one window on one axis that lie in the image: begin, begin + step, … below end.
template <class Index>
struct BasicWindow {
  Index begin = 0, end = 0, step = 1;
  Index divisor = 1;  ///< taps that an average counts

  LOCKSTEP_HOST_DEVICE bool is_empty() const { return begin >= end; }
};
using Window = BasicWindow<std::int64_t>;

/// Axis has the extents of a PoolAxis.
template <class Axis, class Index = decltype(Axis::in)>
LOCKSTEP_HOST_DEVICE inline BasicWindow<Index> window_of(const Axis& axis, Index result,
                                                         bool count_include_pad = true) {
  const Index first = result * axis.stride - axis.pad, behind = first + (axis.kernel - 1) * axis.dilation + 1;
  const Index skipped = first < 0 ? (-first + axis.dilation - 1) / axis.dilation : 0;
  BasicWindow<Index> window{first + skipped * axis.dilation, behind < axis.in ? behind : axis.in,
                            axis.dilation, 1};
  const Index padded_end = behind < axis.in + axis.pad ? behind : axis.in + axis.pad;
  window.divisor = count_include_pad ? padded_end - first : window.end - window.begin;
  return window;
}

/// With `in` and `out` exchanged: the results whose windows hold a pixel.
template <class Index>
LOCKSTEP_HOST_DEVICE inline BasicWindow<Index> adaptive_window_of(Index in, Index out, Index result) {
  const Index begin = result * in / out, end = ((result + 1) * in + out - 1) / out;
  return {begin, end, 1, end - begin};
}

/// A sum of terms in blocks of chains.
template <class T>
class BlockSum {
 public:
  LOCKSTEP_HOST_DEVICE void add(T term) {
    if (count_ == kBlock) {
      sum_ = sum_ + chain_;
      chain_ = T(0);
      count_ = 0;
    }
    chain_ = chain_ + term;
    ++count_;
  }
  LOCKSTEP_HOST_DEVICE T value() const { return sum_ + chain_; }

 private:
  T sum_ = T(0), chain_ = T(0);
  int count_ = 0;
};

template <class T>
struct Largest {
  T value;
  std::int64_t index;
};

/// Whether a later value of the window takes over.
template <class T>
LOCKSTEP_HOST_DEVICE inline bool wins(T value, T best) {
  return value > best || (value != value && best == best);  // NOLINT(misc-redundant-expression): a NaN
}

template <class T, class Index>
LOCKSTEP_HOST_DEVICE inline Largest<T> largest_of(const T* plane, Index width, const BasicWindow<Index>& rows,
                                                  const BasicWindow<Index>& cols) {
  if (rows.is_empty() || cols.is_empty()) return {-static_cast<T>(INFINITY), -1};
  Largest<T> best{-static_cast<T>(INFINITY), rows.begin * width + cols.begin};
  for (Index h = rows.begin; h < rows.end; h += rows.step)
    for (Index w = cols.begin; w < cols.end; w += cols.step)
      if (wins(plane[h * width + w], best.value)) best = {plane[h * width + w], h * width + w};
  return best;
}

/// What the window's gradient or sum is divided by; `divisor` is the caller's, or 0.
template <class T, class Index>
LOCKSTEP_HOST_DEVICE inline T divisor_of(const BasicWindow<Index>& rows, const BasicWindow<Index>& cols,
                                         std::int64_t divisor) {
  return static_cast<T>(divisor != 0 ? divisor : std::int64_t{rows.divisor} * cols.divisor);
}

template <class T, class Index>
LOCKSTEP_HOST_DEVICE inline T average_of(const T* plane, Index width, const BasicWindow<Index>& rows,
                                         const BasicWindow<Index>& cols, std::int64_t divisor) {
  if (rows.is_empty() || cols.is_empty()) return T(0);
  BlockSum<T> sum;
  for (Index h = rows.begin; h < rows.end; ++h)
    for (Index w = cols.begin; w < cols.end; ++w) sum.add(plane[h * width + w]);
  return sum.value() / divisor_of<T>(rows, cols, divisor);
}

}  // namespace lockstep::pool
