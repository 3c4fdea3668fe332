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
// memory that holds elements; Error(unsupported) where this build has no form for the device. Nothing is
// written then.

/// A gradient that is folded over the rows of the global batch.
struct NormFold {
  float* total = nullptr;  ///< [features], read and written, +0 before the first row; null: not wanted
  float* open = nullptr;   ///< [features]; may be null where order::needs_open_partial(span) is false
};

/// y = (x - mean) · rstd · gamma + beta for each row.
struct LayerNorm {
  const float* x = nullptr;      ///< [rows, features]
  const float* gamma = nullptr;  ///< [features]; null: ones
  const float* beta = nullptr;   ///< [features]; null: zeros
  float* y = nullptr;            ///< [rows, features]
  float* mean = nullptr;         ///< [rows], written for the backward; null: not wanted
  float* rstd = nullptr;  ///< [rows]: 1 / sqrt(variance + eps), written for the backward; null: not wanted
  std::int64_t rows = 0, features = 0;
  double eps = 1e-5;
};

struct LayerNormBackward {
  const float* dy = nullptr;     ///< [span.rows, features]
  const float* x = nullptr;      ///< [span.rows, features], as in the forward; so are mean, rstd and gamma
  const float* mean = nullptr;   ///< [span.rows]
  const float* rstd = nullptr;   ///< [span.rows]
  const float* gamma = nullptr;  ///< [features]; null: ones
  float* dx = nullptr;           ///< [span.rows, features]; null: not wanted
  NormFold dgamma, dbeta;
  order::FoldSpan span;  ///< the rows of this call, and where they lie in the global batch
  std::int64_t features = 0;
};

void layer_norm(const LayerNorm& call, Device device = Device::cpu, void* stream = nullptr);
void layer_norm_backward(const LayerNormBackward& call, Device device = Device::cpu, void* stream = nullptr);

/// y = x · rstd · gamma for each row, with rstd = 1 / sqrt(mean of squares + eps).
struct RmsNorm {
  const float* x = nullptr;      ///< [rows, features]
  const float* gamma = nullptr;  ///< [features]; null: ones
  float* y = nullptr;            ///< [rows, features]
  float* rstd = nullptr;         ///< [rows], written for the backward; null: not wanted
  std::int64_t rows = 0, features = 0;
  double eps = 1e-5;
};

struct RmsNormBackward {
  const float* dy = nullptr;     ///< [span.rows, features]
  const float* x = nullptr;      ///< [span.rows, features], as in the forward; so are rstd and gamma
  const float* rstd = nullptr;   ///< [span.rows]
  const float* gamma = nullptr;  ///< [features]; null: ones
  float* dx = nullptr;           ///< [span.rows, features]; null: not wanted
  NormFold dgamma;
  order::FoldSpan span;
  std::int64_t features = 0;
};

void rms_norm(const RmsNorm& call, Device device = Device::cpu, void* stream = nullptr);
void rms_norm_backward(const RmsNormBackward& call, Device device = Device::cpu, void* stream = nullptr);

/// LayerNorm over each sample's groups of channels, with a gamma and a beta for each channel. `channels` is a
/// multiple of `groups`; pixels are the product of the axes behind the channels.
struct GroupNorm {
  const float* x = nullptr;      ///< [samples, channels, pixels]
  const float* gamma = nullptr;  ///< [channels]; null: ones
  const float* beta = nullptr;   ///< [channels]; null: zeros
  float* y = nullptr;            ///< [samples, channels, pixels]
  float* mean = nullptr;         ///< [samples, groups]; null: not wanted
  float* rstd = nullptr;         ///< [samples, groups]; null: not wanted
  std::int64_t samples = 0, channels = 0, pixels = 0, groups = 1;
  double eps = 1e-5;
};

/// The rows of dgamma's and dbeta's folds, [channels] each, are the pixels of the global batch, sample by
/// sample: span.rows is samples · pixels.
struct GroupNormBackward {
  const float* dy = nullptr;  ///< [samples, channels, pixels]
  const float* x = nullptr;   ///< [samples, channels, pixels], as in the forward; so are mean, rstd and gamma
  const float* mean = nullptr;   ///< [samples, groups]
  const float* rstd = nullptr;   ///< [samples, groups]
  const float* gamma = nullptr;  ///< [channels]; null: ones
  float* dx = nullptr;           ///< [samples, channels, pixels]; null: not wanted
  NormFold dgamma, dbeta;
  order::FoldSpan span;
  std::int64_t samples = 0, channels = 0, pixels = 0, groups = 1;
};

void group_norm(const GroupNorm& call, Device device = Device::cpu, void* stream = nullptr);
void group_norm_backward(const GroupNormBackward& call, Device device = Device::cpu, void* stream = nullptr);

}  // namespace lockstep
