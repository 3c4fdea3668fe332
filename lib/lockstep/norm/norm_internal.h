#pragma once
// What norm.cpp chooses from, one function a device. C++17.

#include <cstdint>

#include "lockstep/norm/norm.h"

namespace lockstep::norm {

/// A row norm as the kernels see it: each of LayerNorm, RMSNorm, and one group of GroupNorm for all samples.
/// Row r begins at x + r * row_stride; gamma and beta hold an element each of a row, or are null.
struct Rows {
  const float* x;
  const float* gamma;
  const float* beta;
  float* y;
  float* mean;
  float* rstd;
  std::int64_t row_stride, statistics_stride;  ///< of x and y; of mean and rstd
  std::int64_t features;
  float eps;
  bool is_centered;
};

struct RowsBackward {
  const float* dy;
  const float* x;
  const float* mean;
  const float* rstd;
  const float* gamma;
  float* dx;
  std::int64_t row_stride, statistics_stride;
  std::int64_t features;
  bool is_centered;
};

void rows_cpu(const Rows& call, std::int64_t rows);
void rows_backward_cpu(const RowsBackward& call, const NormFold& dgamma, const NormFold& dbeta,
                       const order::FoldSpan& span);
void group_norm_cpu(const GroupNorm& call);
void group_norm_backward_cpu(const GroupNormBackward& call);

}  // namespace lockstep::norm
