#pragma once
// row_sum's folds where the rows lie, with the memory that they work in there.

#include <cstdint>
#include <type_traits>

#include "lockstep/row_sum/row_sum.h"
#include "lockstep/torch/on_device.h"

namespace lockstep::invariant {

template <class T>
void fold_rows(OnDevice& on, const T* x, std::int64_t row_stride, std::int64_t cols,
               const order::FoldSpan& span, double* total, double* open) {
  if constexpr (std::is_same_v<T, float>)
    row_sum_fold(x, row_stride, cols, span, total, open, on.device(), on.stream(),
                 on.scratch<double>(row_sum_scratch_elements(cols, span)));
  else
    row_sum_fold(x, row_stride, cols, span, total, open, on.device(), on.stream());
}

template <class T>
void fold_row_products(OnDevice& on, const T* x, const T* y, std::int64_t cols, const order::FoldSpan& span,
                       double* total, double* open) {
  if constexpr (std::is_same_v<T, float>)
    row_product_sum_fold(x, cols, y, cols, cols, span, total, open, on.device(), on.stream(),
                         on.scratch<double>(row_sum_scratch_elements(cols, span)));
  else
    row_product_sum_fold(x, cols, y, cols, cols, span, total, open, on.device(), on.stream());
}

}  // namespace lockstep::invariant
