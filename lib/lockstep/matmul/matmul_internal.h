#pragma once
// What matmul.cpp chooses from: one form for the dot and the fold, since a dot is a fold over its features.

#include <cstdint>

#include "lockstep/matmul/matmul.h"
#include "lockstep/order/fold.h"

namespace lockstep::matmul_internal {

/// data[i * row_stride + k * depth_stride]: an operand by its place in the result and in the sum.
struct Operand {
  const float* data = nullptr;
  std::int64_t place_stride = 0, depth_stride = 0;
};

/// `batch` sums over a depth that is cut into chains as `span` says. Extents have been checked.
struct Problem {
  std::int64_t batch = 1, rows = 0, cols = 0;
  order::FoldSpan span;
  Operand left, right;  ///< places: rows and columns of the result
  std::int64_t left_batch_stride = 0, right_batch_stride = 0, result_batch_stride = 0;
  float* result = nullptr;
  std::int64_t row_stride = 0, col_stride = 0;
  bool accumulates =
      false;  ///< the fold: chains are added to what the result holds. Else the dot, with its epilogue
  float* open = nullptr;  ///< [rows, cols], contiguous
  float alpha = 1, beta = 0;
  const float* bias = nullptr;
  std::int64_t bias_row_stride = 0, bias_col_stride = 1;
};

void sum_cpu(const Problem& problem);

}  // namespace lockstep::matmul_internal
