#pragma once
// Pooling over windows of one or two dimensions, forward and backward: the largest value with its index, the
// average, and the average over windows that adapt to the size of the result. README.md holds the
// specification. C++17.

#include <cstdint>

#include "lockstep/base/view.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kPoolSpecVersion = 1;

/// One axis of a pooling. The window of result i has the taps i · stride - pad + t · dilation, t < kernel.
struct PoolAxis {
  std::int64_t in = 1, kernel = 1, stride = 1;
  std::int64_t pad = 0;  ///< on both sides, at most half of the window
  std::int64_t dilation = 1;
  bool ceil_mode =
      false;  ///< a last window that reaches beyond the padding counts, where it begins before it

  /// Windows of the axis.
  constexpr std::int64_t out() const {
    const std::int64_t room = in + 2 * pad - dilation * (kernel - 1) - 1 + (ceil_mode ? stride - 1 : 0);
    const std::int64_t windows = room < 0 ? 0 : room / stride + 1;
    return ceil_mode && (windows - 1) * stride >= in + pad ? windows - 1 : windows;
  }
};

// Images are float32, contiguous, [planes, in h, in w] with one plane for each sample and channel; results
// [planes, out h, out w]. One dimension is a height of 1 (PoolAxis()). All memory lies on `device`, and what
// is written must overlap nothing else. `stream` is the cudaStream_t to work on (null: the default stream),
// unused on the CPU; on a CUDA device a call returns before the work is done.
// Guarantees: run_to_run, batch, threads, cpu_to_gpu (NaN payloads excepted); there is nothing to fold.
// Throw Error(invalid_argument) for an extent below its least value (planes and padding 0, the others 1), for
// a padding above half of the window, for an image that no window fits, for null memory that holds elements;
// Error(unsupported) for Device::cuda in a build without CUDA. Nothing is written then, unless it is an index
// that is no pixel.

/// y = the largest value of each window; ties take the first tap, the first NaN wins. Padding never does. A
/// window without a tap inside of the image gives minus infinity and the index -1.
template <class T>
struct BasicMaxPool {
  const T* x = nullptr;
  T* y = nullptr;
  std::int64_t* indices = nullptr;  ///< of the winners in their planes, h · in w + w; null: not wanted
  std::int64_t planes = 0;
  PoolAxis h, w;
};
using MaxPool = BasicMaxPool<float>;
using MaxPool64 = BasicMaxPool<double>;
void max_pool(const MaxPool& call, Device device = Device::cpu, void* stream = nullptr);

/// dx[pixel] = sum of dy over the windows that it won, ascending. On a CUDA device, which cannot refuse an
/// index, one that is neither -1 nor among the pixels that its window spans makes their gradients NaN.
template <class T>
struct BasicMaxPoolBackward {
  const T* dy = nullptr;
  const std::int64_t* indices =
      nullptr;  ///< the forward's. On the CPU Error(invalid_argument) for one that is no pixel
  T* dx = nullptr;
  std::int64_t planes = 0;
  PoolAxis h, w;
};
using MaxPoolBackward = BasicMaxPoolBackward<float>;
using MaxPoolBackward64 = BasicMaxPoolBackward<double>;
void max_pool_backward(const MaxPoolBackward& call, Device device = Device::cpu, void* stream = nullptr);

/// y = the sum of each window's pixels, ascending, over its divisor: `divisor` where that is not 0, else the
/// number of its taps inside of the padded image, or inside of the image alone. A window without pixels gives
/// +0. Dilation must be 1.
template <class T>
struct BasicAveragePool {
  const T* x = nullptr;
  T* y = nullptr;
  std::int64_t planes = 0;
  PoolAxis h, w;
  bool count_include_pad = true;
  std::int64_t divisor = 0;
};
using AveragePool = BasicAveragePool<float>;
using AveragePool64 = BasicAveragePool<double>;
void average_pool(const AveragePool& call, Device device = Device::cpu, void* stream = nullptr);

/// dx[pixel] = sum of dy / divisor over the windows that hold it, ascending.
template <class T>
struct BasicAveragePoolBackward {
  const T* dy = nullptr;
  T* dx = nullptr;
  std::int64_t planes = 0;
  PoolAxis h, w;
  bool count_include_pad = true;
  std::int64_t divisor = 0;
};
using AveragePoolBackward = BasicAveragePoolBackward<float>;
using AveragePoolBackward64 = BasicAveragePoolBackward<double>;
void average_pool_backward(const AveragePoolBackward& call, Device device = Device::cpu,
                           void* stream = nullptr);

/// The average over out_h × out_w windows; that of result i spans floor(i · in / out) … ceil((i + 1) · in /
/// out) - 1.
template <class T>
struct BasicAdaptiveAveragePool {
  const T* x = nullptr;
  T* y = nullptr;
  std::int64_t planes = 0, in_h = 1, in_w = 1, out_h = 1, out_w = 1;
};
using AdaptiveAveragePool = BasicAdaptiveAveragePool<float>;
using AdaptiveAveragePool64 = BasicAdaptiveAveragePool<double>;
void adaptive_average_pool(const AdaptiveAveragePool& call, Device device = Device::cpu,
                           void* stream = nullptr);

template <class T>
struct BasicAdaptiveAveragePoolBackward {
  const T* dy = nullptr;
  T* dx = nullptr;
  std::int64_t planes = 0, in_h = 1, in_w = 1, out_h = 1, out_w = 1;
};
using AdaptiveAveragePoolBackward = BasicAdaptiveAveragePoolBackward<float>;
using AdaptiveAveragePoolBackward64 = BasicAdaptiveAveragePoolBackward<double>;
void adaptive_average_pool_backward(const AdaptiveAveragePoolBackward& call, Device device = Device::cpu,
                                    void* stream = nullptr);

// The same in float64, in the same order: all float memory and numbers are double. For tests such as
// torch's gradcheck: one thread, and slow, and on the CPU alone. Guarantees: run_to_run, batch, threads.
// Errors as above.

void max_pool(const MaxPool64& call, Device device = Device::cpu, void* stream = nullptr);
void max_pool_backward(const MaxPoolBackward64& call, Device device = Device::cpu, void* stream = nullptr);
void average_pool(const AveragePool64& call, Device device = Device::cpu, void* stream = nullptr);
void average_pool_backward(const AveragePoolBackward64& call, Device device = Device::cpu,
                           void* stream = nullptr);
void adaptive_average_pool(const AdaptiveAveragePool64& call, Device device = Device::cpu,
                           void* stream = nullptr);
void adaptive_average_pool_backward(const AdaptiveAveragePoolBackward64& call, Device device = Device::cpu,
                                    void* stream = nullptr);

}  // namespace lockstep
