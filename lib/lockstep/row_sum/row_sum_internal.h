#pragma once
// What row_sum.cpp chooses from. Extents have been checked. C++17.

#include <cstdint>

#include "lockstep/order/fold.h"

namespace lockstep::row_sum_internal {

/// T is the type of the rows.
template <class T>
struct BasicProblem {
  const T* x = nullptr;
  std::int64_t x_row_stride = 0;
  const T* y = nullptr;
  std::int64_t y_row_stride = 0;
  bool is_product = false;  ///< else y is null
  std::int64_t cols = 0;
  order::FoldSpan span;
  double* total = nullptr;
  double* open = nullptr;
  double* scratch = nullptr;  ///< the CUDA form's: order::fold_scratch_partials(cols, span)
};
using Problem = BasicProblem<float>;

void sum_cpu(const Problem& problem);
void sum_cuda(const Problem& problem, void* stream);

}  // namespace lockstep::row_sum_internal
