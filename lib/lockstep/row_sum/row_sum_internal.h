#pragma once
// What row_sum.cpp chooses from. Extents have been checked.

#include <cstdint>

#include "lockstep/order/fold.h"

namespace lockstep::row_sum_internal {

/// A null y stands for ones that are not multiplied by.
struct Problem {
  const float* x = nullptr;
  std::int64_t x_row_stride = 0;
  const float* y = nullptr;
  std::int64_t y_row_stride = 0;
  std::int64_t cols = 0;
  order::FoldSpan span;
  float* total = nullptr;
  float* open = nullptr;
};

void sum_cpu(const Problem& problem);

}  // namespace lockstep::row_sum_internal
