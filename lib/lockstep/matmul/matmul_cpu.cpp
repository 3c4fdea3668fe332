#include <cmath>
#include <cstdint>

#include "lockstep/matmul/matmul_internal.h"
#include "lockstep/order/fold.h"
#include "lockstep/parallel/parallel.h"

namespace lockstep::matmul_internal {
namespace {

void sum_element(const Problem& p, std::int64_t batch, std::int64_t i, std::int64_t j) {
  const float* const left = p.left.data + batch * p.left_batch_stride + i * p.left.place_stride;
  const float* const right = p.right.data + batch * p.right_batch_stride + j * p.right.place_stride;
  float& result = p.result[batch * p.result_batch_stride + i * p.row_stride + j * p.col_stride];
  float* const open = p.open == nullptr ? nullptr : p.open + i * p.open_row_stride + j * p.open_col_stride;
  float x = p.accumulates ? result : 0.0f;
  order::fold_rows(p.span, x, open, [&](float partial, std::int64_t k) {
    return std::fma(left[k * p.left.depth_stride], right[k * p.right.depth_stride], partial);
  });
  if (p.alpha != 1) x = p.alpha * x;
  if (p.beta != 0) x = std::fma(p.beta, result, x);
  if (p.bias != nullptr) x = x + p.bias[i * p.bias_row_stride + j * p.bias_col_stride];
  result = x;
}

}  // namespace

void sum_cpu(const Problem& p) {
  parallel::for_each_range(p.batch * p.rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t j = 0; j < p.cols; ++j) sum_element(p, row / p.rows, row % p.rows, j);
  });
}

}  // namespace lockstep::matmul_internal
