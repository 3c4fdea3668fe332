#pragma once
// What matmul.cpp chooses from: one form for the dot and the fold, since a dot is a fold over its features.

#include <cstdint>

#include "lockstep/matmul/matmul.h"
#include "lockstep/order/fold.h"

namespace lockstep::matmul_internal {

/// data[i * row_stride + k * depth_stride]: an operand by its place in the result and in the sum.
template <class T>
struct BasicOperand {
  const T* data = nullptr;
  std::int64_t place_stride = 0, depth_stride = 0;
};
using Operand = BasicOperand<float>;

/// `batch` sums over a depth that is cut into chains as `span` says. Extents have been checked.
template <class T>
struct BasicProblem {
  std::int64_t batch = 1, rows = 0, cols = 0;
  order::FoldSpan span;
  BasicOperand<T> left, right;  ///< places: rows and columns of the result
  std::int64_t left_batch_stride = 0, right_batch_stride = 0, result_batch_stride = 0;
  T* result = nullptr;
  std::int64_t row_stride = 0, col_stride = 0;
  bool accumulates =
      false;  ///< the fold: chains are added to what the result holds. Else the dot, with its epilogue
  T* open = nullptr;  ///< [rows, cols], contiguous
  T alpha = 1, beta = 0;
  const T* bias = nullptr;
  std::int64_t bias_row_stride = 0, bias_col_stride = 1;
};
using Problem = BasicProblem<float>;
using Problem64 = BasicProblem<double>;

void sum_cpu(const Problem& problem);
void sum_cpu(const Problem64& problem);  // matmul_fp64.cpp

}  // namespace lockstep::matmul_internal
