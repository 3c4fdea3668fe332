// The double forms of the products: the reference, one element after the other.

#include "lockstep/base/float_mode.h"
#include "lockstep/matmul/matmul_internal.h"
#include "lockstep/matmul/matmul_ref.h"

namespace lockstep::matmul_internal {

void sum_cpu(const Problem64& p) {
  const FloatMode mode;
  const std::int64_t depth = p.span.rows;
  for (std::int64_t i = 0; i < p.batch; ++i) {
    const RefMatrix<const double> left{p.left.data + i * p.left_batch_stride, p.rows, depth,
                                       p.left.place_stride, p.left.depth_stride};
    const RefMatrix<const double> right{p.right.data + i * p.right_batch_stride, depth, p.cols,
                                        p.right.depth_stride, p.right.place_stride};
    const RefMatrix<double> result{p.result + i * p.result_batch_stride, p.rows, p.cols, p.row_stride,
                                   p.col_stride};
    if (p.accumulates)
      matmul_fold_ref({left.data, depth, p.rows, left.col_stride, left.row_stride}, right, p.span, result,
                      p.open);
    else
      matmul_ref(left, right, result, p.alpha, p.beta, p.bias);
  }
}

}  // namespace lockstep::matmul_internal
