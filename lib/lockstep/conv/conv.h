#pragma once
// Convolution in one and two dimensions (the cross-correlation that deep learning calls so), forward and both
// gradients. Each output pixel is one ordered dot (contracts, section 3); the gradients of weight and bias
// are folds over the output pixels of the global batch (section 4). README.md holds the specification. C++17.

#include <cstdint>

#include "lockstep/base/view.h"
#include "lockstep/order/fold.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kConvSpecVersion = 1;

/// What a convolution's arrays look like. All are float32 and contiguous:
///   x       [samples, in_channels, in_h, in_w]
///   weight  [out_channels, in_channels / groups, kernel_h, kernel_w]
///   y       [samples, out_channels, out_h, out_w]
/// One dimension is in_h = kernel_h = 1 with stride_h = dilation_h = 1 and pad_h = 0.
struct ConvGeometry {
  std::int64_t samples = 0, in_channels = 0, in_h = 1, in_w = 0;
  std::int64_t out_channels = 0, kernel_h = 1, kernel_w = 1;
  std::int64_t stride_h = 1, stride_w = 1;
  std::int64_t pad_h = 0, pad_w = 0;  ///< on both sides
  std::int64_t dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;  ///< a divisor of both numbers of channels

  constexpr std::int64_t out_h() const {
    return (in_h + 2 * pad_h - dilation_h * (kernel_h - 1) - 1) / stride_h + 1;
  }
  constexpr std::int64_t out_w() const {
    return (in_w + 2 * pad_w - dilation_w * (kernel_w - 1) - 1) / stride_w + 1;
  }
  constexpr std::int64_t out_pixels() const { return out_h() * out_w(); }
  /// Terms of an output pixel's dot.
  constexpr std::int64_t taps() const { return in_channels / groups * kernel_h * kernel_w; }
};

// All memory lies on `device`, and what is written must overlap nothing else. `stream` is the cudaStream_t to
// work on (null: the default stream), unused on the CPU; on a CUDA device a call returns before the work is
// done.
// Guarantees: run_to_run, batch, threads, cpu_to_gpu, and micro_batch for the folds (NaN payloads excepted).
// Throw Error(invalid_argument) for an extent below its least value (samples 0; stride, dilation, groups,
// kernel and image 1; padding 0), for groups that do not divide the channels, for a kernel that is larger
// than the padded image, for null memory that holds elements; Error(unsupported) for Device::cuda in a build
// without CUDA. Nothing is written then.

/// y[n, o, h, w] = sum of weight[o, c, kh, kw] · x[n, c, h·stride + kh·dilation - pad, …] + bias[o]
template <class T>
struct BasicConv {
  const T* x = nullptr;
  const T* weight = nullptr;
  const T* bias = nullptr;  ///< [out_channels], or null
  T* y = nullptr;
  ConvGeometry geometry;
};
using Conv = BasicConv<float>;
using Conv64 = BasicConv<double>;
void conv(const Conv& call, Device device = Device::cpu, void* stream = nullptr);

/// dx from dy, which has y's shape.
template <class T>
struct BasicConvInputGradient {
  const T* dy = nullptr;
  const T* weight = nullptr;
  T* dx = nullptr;
  ConvGeometry geometry;
};
using ConvInputGradient = BasicConvInputGradient<float>;
using ConvInputGradient64 = BasicConvInputGradient<double>;
void conv_input_gradient(const ConvInputGradient& call, Device device = Device::cpu, void* stream = nullptr);

/// A gradient that is folded over the output pixels of the global batch.
template <class T>
struct BasicConvFold {
  T* total = nullptr;  ///< read and written, +0 before the first pixel; null: not wanted
  T* open = nullptr;   ///< of the same size; may be null where order::needs_open_partial(span) is false
};
using ConvFold = BasicConvFold<float>;
using ConvFold64 = BasicConvFold<double>;

/// The gradients of weight and bias. The rows of their folds are output pixels (n, h, w): span.rows is
/// samples · out_pixels, and a cut may lie between any two samples. A call without samples that is the last
/// closes the chunk that is open.
template <class T>
struct BasicConvWeightGradient {
  const T* dy = nullptr;
  const T* x = nullptr;      ///< may be null where dweight is not wanted
  BasicConvFold<T> dweight;  ///< of weight's shape
  BasicConvFold<T> dbias;    ///< [out_channels]
  order::FoldSpan span;
  ConvGeometry geometry;
  /// On a CUDA device: memory of conv_weight_gradient_scratch_elements(geometry, span) elements, overwritten.
  /// The next call on the same stream may have the same. Unused on the CPU.
  T* scratch = nullptr;
};
using ConvWeightGradient = BasicConvWeightGradient<float>;
using ConvWeightGradient64 = BasicConvWeightGradient<double>;
void conv_weight_gradient(const ConvWeightGradient& call, Device device = Device::cpu,
                          void* stream = nullptr);

/// The elements of scratch that the gradients of weight and bias need on a CUDA device: partials of as many
/// chunks as keep it busy, at most 16 MiB of them; 0 where the pixels lie in one chunk. Throws
/// Error(invalid_argument) as conv_weight_gradient does.
std::int64_t conv_weight_gradient_scratch_elements(const ConvGeometry& geometry, const order::FoldSpan& span);

// The same in float64, in the same order: all float memory and numbers are double. For tests such as
// torch's gradcheck: one thread, and slow, and on the CPU alone. Guarantees: run_to_run, batch, micro_batch,
// threads. Errors as above.

void conv(const Conv64& call, Device device = Device::cpu, void* stream = nullptr);
void conv_input_gradient(const ConvInputGradient64& call, Device device = Device::cpu,
                         void* stream = nullptr);
void conv_weight_gradient(const ConvWeightGradient64& call, Device device = Device::cpu,
                          void* stream = nullptr);

}  // namespace lockstep
