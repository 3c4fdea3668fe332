#pragma once
// What reduce.cpp chooses from, one function a device; and what the CPU's vector forms are called with.
// C++17.

#include <cstdint>

#include "lockstep/reduce/reduce.h"

namespace lockstep::reduce {

void sum_cpu(const float* x, float* y, const ReduceShape& shape);
void mean_cpu(const float* x, float* y, const ReduceShape& shape);
/// `divisor` is the number that the sum is divided by.
void variance_cpu(const float* x, float* y, float* mean, const ReduceShape& shape, float divisor);
void select_cpu(const float* x, float* y, std::int64_t* index, const ReduceShape& shape, bool smallest);
void sum_backward_cpu(const float* dy, float* dx, const ReduceShape& shape, float divisor);
void variance_backward_cpu(const float* dy, const float* x, const float* mean, float* dx,
                           const ReduceShape& shape, float factor);
void select_backward_cpu(const float* dy, const std::int64_t* index, float* dx, const ReduceShape& shape);

// reduce_cuda.cu
/// The sum, divided.
void sum_cuda(const float* x, float* y, const ReduceShape& shape, float divisor, void* stream);
void variance_cuda(const float* x, float* y, float* mean, const ReduceShape& shape, float divisor,
                   void* stream);
void select_cuda(const float* x, float* y, std::int64_t* index, const ReduceShape& shape, bool smallest,
                 void* stream);
void sum_backward_cuda(const float* dy, float* dx, const ReduceShape& shape, float divisor, void* stream);
void variance_backward_cuda(const float* dy, const float* x, const float* mean, float* dx,
                            const ReduceShape& shape, float factor, void* stream);
/// A slice whose index lies outside the axis is NaN.
void select_backward_cuda(const float* dy, const std::int64_t* index, float* dx, const ReduceShape& shape,
                          void* stream);

// reduce_fp64.cpp
void sum_cpu(const double* x, double* y, const ReduceShape& shape);
void mean_cpu(const double* x, double* y, const ReduceShape& shape);
void variance_cpu(const double* x, double* y, double* mean, const ReduceShape& shape, double divisor);
void select_cpu(const double* x, double* y, std::int64_t* index, const ReduceShape& shape, bool smallest);
void sum_backward_cpu(const double* dy, double* dx, const ReduceShape& shape, double divisor);
void variance_backward_cpu(const double* dy, const double* x, const double* mean, double* dx,
                           const ReduceShape& shape, double factor);
void select_backward_cpu(const double* dy, const std::int64_t* index, double* dx, const ReduceShape& shape);

/// Columns begin … begin + count - 1 of slice `outer`, count at most kTile.
struct Tile {
  std::int64_t outer, begin, count;
};

constexpr std::int64_t kTile = 64;

/// Which sum is taken, and of what.
struct SumCall {
  const float* x;
  float* y;
  float* mean;  ///< of a variance; null where it is not wanted
  ReduceShape shape;
  float divisor;
};

struct SelectCall {
  const float* x;
  float* y;
  std::int64_t* index;
  ReduceShape shape;
  bool smallest;
};

}  // namespace lockstep::reduce
