#pragma once
// The contract in its slowest and most obvious form: the judge of the other twins, in their tests. Rows of
// float or double.

#include <cmath>
#include <cstdint>

#include "lockstep/order/fold.h"

namespace lockstep {

template <class T>
void row_sum_fold_ref(const T* x, std::int64_t row_stride, std::int64_t cols, const order::FoldSpan& span,
                      double* total, double* open) {
  for (std::int64_t j = 0; j < cols; ++j) {
    order::fold_rows(
        span, total[j], open == nullptr ? nullptr : open + j,
        [&](double partial, std::int64_t row) { return partial + double{x[row * row_stride + j]}; });
  }
}

template <class T>
void row_product_sum_fold_ref(const T* x, std::int64_t x_row_stride, const T* y, std::int64_t y_row_stride,
                              std::int64_t cols, const order::FoldSpan& span, double* total, double* open) {
  for (std::int64_t j = 0; j < cols; ++j) {
    order::fold_rows(
        span, total[j], open == nullptr ? nullptr : open + j, [&](double partial, std::int64_t row) {
          return std::fma(double{x[row * x_row_stride + j]}, double{y[row * y_row_stride + j]}, partial);
        });
  }
}

}  // namespace lockstep
