#pragma once
// What norm.cpp chooses from, one function a device. C++17.

#include <cstdint>

#include "lockstep/base/host_device.h"
#include "lockstep/norm/norm.h"

namespace lockstep::norm {

/// So many elements of one channel hold whole vectors of every form.
constexpr std::int64_t kWholePixels = 16;

/// A row norm as the kernels see it: each of LayerNorm, RMSNorm, and one group of GroupNorm for all samples.
/// Row r begins at x + r * row_stride; gamma and beta hold an element each of a row, or are null.
template <class T>
struct BasicRows {
  const T* x;
  const T* gamma;
  const T* beta;
  T* y;
  T* mean;
  T* rstd;
  std::int64_t row_stride, statistics_stride;  ///< of x and y; of mean and rstd
  std::int64_t features;
  T eps;
  bool is_centered;
  std::int64_t pixels;  ///< above 0: gamma and beta hold a number for so many elements each, a multiple of
                        ///< kWholePixels
};
using Rows = BasicRows<float>;
using Rows64 = BasicRows<double>;

template <class T>
struct BasicRowsBackward {
  const T* dy;
  const T* x;
  const T* mean;
  const T* rstd;
  const T* gamma;
  T* dx;
  std::int64_t row_stride, statistics_stride;
  std::int64_t features;
  bool is_centered;
  std::int64_t pixels;  ///< as in Rows
  void* scratch = nullptr;
};
using RowsBackward = BasicRowsBackward<float>;
using RowsBackward64 = BasicRowsBackward<double>;

/// A column's partials of the two folds, as they lie in scratch.
struct FoldPartials {
  float gamma, beta;
  LOCKSTEP_HOST_DEVICE FoldPartials operator+(const FoldPartials& other) const {
    return {gamma + other.gamma, beta + other.beta};
  }
};

void rows_cpu(const Rows& call, std::int64_t rows);
void rows_backward_cpu(const RowsBackward& call, const NormFold& dgamma, const NormFold& dbeta,
                       const order::FoldSpan& span);
void group_norm_cpu(const GroupNorm& call);
void group_norm_backward_cpu(const GroupNormBackward& call);
// Rows lie side by side, and so do their statistics; rows_cuda is for LayerNorm and RMSNorm.
void rows_cuda(const Rows& call, std::int64_t rows, void* stream);
void rows_backward_cuda(const RowsBackward& call, const NormFold& dgamma, const NormFold& dbeta,
                        const order::FoldSpan& span, void* stream);
void group_norm_cuda(const GroupNorm& call, void* stream);
void group_norm_backward_cuda(const GroupNormBackward& call, void* stream);

// norm_fp64.cpp
void rows_cpu(const Rows64& call, std::int64_t rows);
void rows_backward_cpu(const RowsBackward64& call, const NormFold64& dgamma, const NormFold64& dbeta,
                       const order::FoldSpan& span);
void group_norm_cpu(const GroupNorm64& call);
void group_norm_backward_cpu(const GroupNormBackward64& call);

}  // namespace lockstep::norm
