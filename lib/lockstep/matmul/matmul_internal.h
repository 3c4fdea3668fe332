#pragma once
// What matmul.cpp chooses from: one form for the dot and the fold, since a dot is a fold over its features.

#include <cstdint>
#include <utility>
#include <vector>

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
  T* open = nullptr;  ///< [rows, cols]
  std::int64_t open_row_stride = 0, open_col_stride = 1;
  T alpha = 1, beta = 0;
  const T* bias = nullptr;
  std::int64_t bias_row_stride = 0, bias_col_stride = 1;
};
using Problem = BasicProblem<float>;
using Problem64 = BasicProblem<double>;

/// The same sums with rows for columns: a product of two numbers does not know which came first.
inline Problem transposed(Problem p) {
  std::swap(p.rows, p.cols);
  std::swap(p.left, p.right);
  std::swap(p.left_batch_stride, p.right_batch_stride);
  std::swap(p.row_stride, p.col_stride);
  std::swap(p.open_row_stride, p.open_col_stride);
  std::swap(p.bias_row_stride, p.bias_col_stride);
  return p;
}

void sum_cpu(const Problem& problem);
void sum_cpu(const Problem64& problem);  // matmul_fp64.cpp

// The CUDA form has several tiles to cut a result into, and two ways to share the tiles: a block takes all
// chains of one, or one chain of one. `progress` is memory for the second way, kMatmulScratchBytes, or null.

struct CudaForm {
  std::int64_t tile_rows, tile_cols;
  bool shares_tiles;  ///< needs memory for progress
};

void sum_cuda(const Problem& problem, void* stream, unsigned* progress);

/// For tests: all forms that can do the problem, and what sum_cuda does when it has chosen one.
std::vector<CudaForm> cuda_forms(const Problem& problem);
void sum_cuda_as(const CudaForm& form, const Problem& problem, void* stream, unsigned* progress);

}  // namespace lockstep::matmul_internal
