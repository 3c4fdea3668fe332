#include <cmath>
#include <cstdint>

#include "lockstep/order/fold.h"
#include "lockstep/parallel/parallel.h"
#include "lockstep/row_sum/row_sum_internal.h"

namespace lockstep::row_sum_internal {
namespace {

void sum_column(const Problem& p, std::int64_t j) {
  order::fold_rows(
      p.span, p.total[j], p.open == nullptr ? nullptr : p.open + j, [&](float partial, std::int64_t row) {
        const float x = p.x[row * p.x_row_stride + j];
        return p.y == nullptr ? partial + x : std::fma(x, p.y[row * p.y_row_stride + j], partial);
      });
}

}  // namespace

void sum_cpu(const Problem& p) {
  parallel::for_each_range(p.cols, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t j = begin; j < end; ++j) sum_column(p, j);
  });
}

}  // namespace lockstep::row_sum_internal
