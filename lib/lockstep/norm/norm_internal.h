#pragma once
// What norm.cpp chooses from, one function a device. C++17.

#include <cstdint>

#include "lockstep/norm/norm.h"

namespace lockstep::norm {

/// So many elements of one channel hold whole vectors of every form.
constexpr std::int64_t kWholePixels = 16;

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
  std::int64_t pixels;  ///< above 0: gamma and beta hold a number for so many elements each, a multiple of
                        ///< kWholePixels
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
  std::int64_t pixels;  ///< as in Rows
};

void rows_cpu(const Rows& call, std::int64_t rows);
void rows_backward_cpu(const RowsBackward& call, const NormFold& dgamma, const NormFold& dbeta,
                       const order::FoldSpan& span);
void group_norm_cpu(const GroupNorm& call);
void group_norm_backward_cpu(const GroupNormBackward& call);

}  // namespace lockstep::norm
