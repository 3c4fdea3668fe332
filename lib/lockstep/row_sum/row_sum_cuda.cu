// The folds of order/column_fold_cuda_internal.h, of one matrix or of the products of two, in float64.

#include <cmath>
#include <cstdint>
#include <cuda_pipeline_primitives.h>

#include "lockstep/order/column_fold_cuda_internal.h"
#include "lockstep/row_sum/row_sum_internal.h"

namespace lockstep::row_sum_internal {
namespace {

template <bool is_product>
struct Terms {
  struct Stage {
    alignas(16) float x[order::kStageElements<float>];
    alignas(16) float y[is_product ? order::kStageElements<float> : 4];
  };
  static constexpr int kStages = 5;
  order::TileRows<float> x, y;  // y: of a product

  __device__ int rows_a_stage() const { return x.rows_a_stage(); }
  __device__ void fetch(int from, int count, Stage& to) const {
    x.fetch(from, count, to.x);
    if constexpr (is_product) y.fetch(from, count, to.y);
  }
  /// Order: rows ascending, one float64 add or fma each.
  __device__ double add(double sum, int count, const Stage& stage) const {
    const int lane = static_cast<int>(threadIdx.x);
#pragma unroll 8
    for (int row = 0; row < count; ++row) {
      const double term = stage.x[row * x.width + lane];
      if constexpr (is_product)
        sum = std::fma(term, static_cast<double>(stage.y[row * x.width + lane]), sum);
      else
        sum = sum + term;
    }
    return sum;
  }
};

template <bool is_product>
struct Fold {
  using Partial = double;
  using Terms = row_sum_internal::Terms<is_product>;
  Problem p;

  __device__ double open(std::int64_t j) const { return p.open[j]; }
  __device__ double total(std::int64_t j) const { return p.total[j]; }
  __device__ void keep_open(std::int64_t j, double partial) const { p.open[j] = partial; }
  __device__ void keep_total(std::int64_t j, double total) const { p.total[j] = total; }
  __device__ Terms terms(const order::FoldTile& tile, std::int64_t row) const {
    const order::TileRows<float> x(p.x, p.x_row_stride, tile, row);
    if constexpr (is_product) return {x, {p.y, p.y_row_stride, tile, row}};
    return {x, x};
  }
};

template <bool is_product>
void sum_as(const Problem& p, void* stream) {
  order::launch_column_fold("row_sum: sum of columns", Fold<is_product>{p}, p.span, p.cols, p.scratch,
                            stream);
}

}  // namespace

void sum_cuda(const Problem& problem, void* stream) {
  problem.is_product ? sum_as<true>(problem, stream) : sum_as<false>(problem, stream);
}

}  // namespace lockstep::row_sum_internal
