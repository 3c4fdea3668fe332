#pragma once
// LayerNorm, RMSNorm and GroupNorm, forward and backward. A row's results come from that row alone, by lanes
// (contracts, section 5); the gradients of gamma and beta are folds over rows (section 4). README.md holds
// the specification.

#include <cstdint>

#include "lockstep/base/view.h"
#include "lockstep/order/fold.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kNormSpecVersion = 2;

// All memory is float32 and contiguous, lies on `device`, and what is written overlaps nothing else but y or
// dx, which may be x or dy itself. `stream` is the cudaStream_t to work on (null: the default stream), unused
// on the CPU. Guarantees: run_to_run, batch, threads, cpu_to_gpu, and micro_batch for the folds (NaN payloads
// excepted). Throw Error(invalid_argument) for a negative extent, an eps that is negative or not finite, null
// memory that holds elements; Error(unsupported) for Device::cuda where this build or this machine has no
// CUDA. Nothing is written then. On a CUDA device a call returns before the work is done.

/// A gradient that is folded over the rows of the global batch.
template <class T>
struct BasicNormFold {
  T* total = nullptr;  ///< [features], read and written, +0 before the first row; null: not wanted
  T* open = nullptr;   ///< [features]; may be null where order::needs_open_partial(span) is false
};
using NormFold = BasicNormFold<float>;
using NormFold64 = BasicNormFold<double>;

/// y = (x - mean) · rstd · gamma + beta for each row.
template <class T>
struct BasicLayerNorm {
  const T* x = nullptr;      ///< [rows, features]
  const T* gamma = nullptr;  ///< [features]; null: ones
  const T* beta = nullptr;   ///< [features]; null: zeros
  T* y = nullptr;            ///< [rows, features]
  T* mean = nullptr;         ///< [rows], written for the backward; null: not wanted
  T* rstd = nullptr;         ///< [rows]: 1 / sqrt(variance + eps), written for the backward; null: not wanted
  std::int64_t rows = 0, features = 0;
  double eps = 1e-5;
};
using LayerNorm = BasicLayerNorm<float>;
using LayerNorm64 = BasicLayerNorm<double>;

template <class T>
struct BasicLayerNormBackward {
  const T* dy = nullptr;     ///< [span.rows, features]
  const T* x = nullptr;      ///< [span.rows, features], as in the forward; so are mean, rstd and gamma
  const T* mean = nullptr;   ///< [span.rows]
  const T* rstd = nullptr;   ///< [span.rows]
  const T* gamma = nullptr;  ///< [features]; null: ones
  T* dx = nullptr;           ///< [span.rows, features]; null: not wanted
  BasicNormFold<T> dgamma, dbeta;
  order::FoldSpan span;  ///< the rows of this call, and where they lie in the global batch
  std::int64_t features = 0;
  /// On a CUDA device: norm_backward_scratch_bytes(features, span) bytes on a boundary of 16, overwritten.
  /// The next call on the same stream may have the same. Unused on the CPU.
  void* scratch = nullptr;
};
using LayerNormBackward = BasicLayerNormBackward<float>;
using LayerNormBackward64 = BasicLayerNormBackward<double>;

/// The bytes of scratch that a backward's folds need on a CUDA device: at most 2 MiB, whatever the extents; 0
/// where the rows lie in one chunk. Throws Error(invalid_argument) for a negative extent or first row.
std::int64_t norm_backward_scratch_bytes(std::int64_t features, const order::FoldSpan& span);

void layer_norm(const LayerNorm& call, Device device = Device::cpu, void* stream = nullptr);
void layer_norm_backward(const LayerNormBackward& call, Device device = Device::cpu, void* stream = nullptr);

/// y = x · rstd · gamma for each row, with rstd = 1 / sqrt(mean of squares + eps).
template <class T>
struct BasicRmsNorm {
  const T* x = nullptr;      ///< [rows, features]
  const T* gamma = nullptr;  ///< [features]; null: ones
  T* y = nullptr;            ///< [rows, features]
  T* rstd = nullptr;         ///< [rows], written for the backward; null: not wanted
  std::int64_t rows = 0, features = 0;
  double eps = 1e-5;
};
using RmsNorm = BasicRmsNorm<float>;
using RmsNorm64 = BasicRmsNorm<double>;

template <class T>
struct BasicRmsNormBackward {
  const T* dy = nullptr;     ///< [span.rows, features]
  const T* x = nullptr;      ///< [span.rows, features], as in the forward; so are rstd and gamma
  const T* rstd = nullptr;   ///< [span.rows]
  const T* gamma = nullptr;  ///< [features]; null: ones
  T* dx = nullptr;           ///< [span.rows, features]; null: not wanted
  BasicNormFold<T> dgamma;
  order::FoldSpan span;
  std::int64_t features = 0;
  void* scratch = nullptr;  ///< as in LayerNormBackward
};
using RmsNormBackward = BasicRmsNormBackward<float>;
using RmsNormBackward64 = BasicRmsNormBackward<double>;

void rms_norm(const RmsNorm& call, Device device = Device::cpu, void* stream = nullptr);
void rms_norm_backward(const RmsNormBackward& call, Device device = Device::cpu, void* stream = nullptr);

/// LayerNorm over each sample's groups of channels, with a gamma and a beta for each channel. `channels` is a
/// multiple of `groups`; pixels are the product of the axes behind the channels.
template <class T>
struct BasicGroupNorm {
  const T* x = nullptr;      ///< [samples, channels, pixels]
  const T* gamma = nullptr;  ///< [channels]; null: ones
  const T* beta = nullptr;   ///< [channels]; null: zeros
  T* y = nullptr;            ///< [samples, channels, pixels]
  T* mean = nullptr;         ///< [samples, groups]; null: not wanted
  T* rstd = nullptr;         ///< [samples, groups]; null: not wanted
  std::int64_t samples = 0, channels = 0, pixels = 0, groups = 1;
  double eps = 1e-5;
};
using GroupNorm = BasicGroupNorm<float>;
using GroupNorm64 = BasicGroupNorm<double>;

/// The rows of dgamma's and dbeta's folds, [channels] each, are the pixels of the global batch, sample by
/// sample: span.rows is samples · pixels.
template <class T>
struct BasicGroupNormBackward {
  const T* dy = nullptr;     ///< [samples, channels, pixels]
  const T* x = nullptr;      ///< [samples, channels, pixels], as in the forward; so are mean, rstd and gamma
  const T* mean = nullptr;   ///< [samples, groups]
  const T* rstd = nullptr;   ///< [samples, groups]
  const T* gamma = nullptr;  ///< [channels]; null: ones
  T* dx = nullptr;           ///< [samples, channels, pixels]; null: not wanted
  BasicNormFold<T> dgamma, dbeta;
  order::FoldSpan span;
  std::int64_t samples = 0, channels = 0, pixels = 0, groups = 1;
  void* scratch = nullptr;  ///< as in LayerNormBackward, with the channels for features
};
using GroupNormBackward = BasicGroupNormBackward<float>;
using GroupNormBackward64 = BasicGroupNormBackward<double>;

void group_norm(const GroupNorm& call, Device device = Device::cpu, void* stream = nullptr);
void group_norm_backward(const GroupNormBackward& call, Device device = Device::cpu, void* stream = nullptr);

// The same in float64, in the same order: all float memory and numbers are double. For tests such as
// torch's gradcheck: one thread, and slow. Guarantees: run_to_run, batch, micro_batch, threads. Errors as
// above;
// Device::cuda is unsupported.

void layer_norm(const LayerNorm64& call, Device device = Device::cpu, void* stream = nullptr);
void layer_norm_backward(const LayerNormBackward64& call, Device device = Device::cpu,
                         void* stream = nullptr);
void rms_norm(const RmsNorm64& call, Device device = Device::cpu, void* stream = nullptr);
void rms_norm_backward(const RmsNormBackward64& call, Device device = Device::cpu, void* stream = nullptr);
void group_norm(const GroupNorm64& call, Device device = Device::cpu, void* stream = nullptr);
void group_norm_backward(const GroupNormBackward64& call, Device device = Device::cpu,
                         void* stream = nullptr);

}  // namespace lockstep
