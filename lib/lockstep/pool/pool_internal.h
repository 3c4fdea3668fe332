#pragma once
// What pool.cpp chooses from. Arguments have been checked.

#include <vector>

#include "lockstep/pool/pool.h"
#include "lockstep/pool/pool_inl.h"

namespace lockstep::pool {

/// The windows of one axis of an average: those of a PoolAxis or, adaptive, `out` windows over axis.in.
struct AverageAxis {
  PoolAxis axis;
  std::int64_t out = 1;
  bool is_adaptive = false;
  bool count_include_pad = true;
};

/// An average over windows of any kind, as few numbers.
struct AverageProblem {
  std::int64_t planes = 0;
  AverageAxis h, w;
  std::int64_t divisor = 0;
};

/// The same with its windows made. Windows of a uniform axis are `stride` apart, but for their clipped
/// ends.
struct Averages {
  std::int64_t planes = 0, in_h = 1, in_w = 1;
  std::vector<Window> rows, cols;  ///< of the results
  std::int64_t divisor = 0;
};

/// For an index of max_pool_backward that is neither a pixel nor -1.
[[noreturn]] void refuse_index(std::int64_t index, std::int64_t pixels);

void max_pool_cpu(const MaxPool& call);
void max_pool_backward_cpu(const MaxPoolBackward& call);
void average_cpu(const Averages& windows, const float* x, float* y);
void average_backward_cpu(const Averages& windows, const float* dy, float* dx);

void max_pool_cuda(const MaxPool& call, void* stream);
void max_pool_backward_cuda(const MaxPoolBackward& call, void* stream);
void average_cuda(const AverageProblem& problem, const float* x, float* y, void* stream);
void average_backward_cuda(const AverageProblem& problem, const float* dy, float* dx, void* stream);

// pool_fp64.cpp
void max_pool_cpu(const MaxPool64& call);
void max_pool_backward_cpu(const MaxPoolBackward64& call);
void average_cpu(const Averages& windows, const double* x, double* y);
void average_backward_cpu(const Averages& windows, const double* dy, double* dx);

}  // namespace lockstep::pool
