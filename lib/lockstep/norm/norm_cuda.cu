#include <algorithm>
#include <cmath>

#include "lockstep/norm/norm_inl.h"
#include "lockstep/norm/norm_internal.h"
#include "lockstep/order/fold.h"
#include "lockstep/order/lanes_cuda_internal.h"

namespace lockstep::norm {
namespace {

template <bool centered>
__device__ float normalized(float x, float mean, float rstd) {
  return centered ? norm::centered(x, mean, rstd) : uncentered(x, rstd);
}

__device__ float scale(const float* values, std::int64_t j, float otherwise) {
  return values == nullptr ? otherwise : values[j];
}

// Order: the sum by lanes, ascending, of x; then that of (x - mean)² (RMSNorm: of x²), one fma a term; each
// element alone.
template <class Form, bool centered>
__global__ void __launch_bounds__(Form::kBlockThreads) norm_rows(Rows call, order::Slices rows) {
  using Team = typename Form::Team;
  __shared__ typename Team::template Memory<float> memory;
  const Team team(memory);
  order::for_each_slice(team, rows, [&](const order::Slice<Team>& row) {
    const auto elements =
        order::elements_of<Form>(team, rows.axis, [=](std::int64_t j) { return call.x[row(j)]; });
    const auto count = static_cast<float>(rows.axis);
    float mean = 0;
    if constexpr (centered) {
      const auto add = [](float lane, std::int64_t, float x) { return lane + x; };
      mean = elements.reduce(0.0f, add, order::AddLanes()) / count;
    }
    const auto add_square = [=](float lane, std::int64_t, float x) {
      const float deviation = centered ? x - mean : x;
      return std::fma(deviation, deviation, lane);
    };
    const float squares = elements.reduce(0.0f, add_square, order::AddLanes());
    const float rstd = reciprocal_root(squares, count, call.eps);
    if (!row.counts) return;
    elements.for_each([&](std::int64_t j, float x) {
      const float value = normalized<centered>(x, mean, rstd), gamma = scale(call.gamma, j, 1.0f);
      call.y[row(j)] = centered ? std::fma(value, gamma, scale(call.beta, j, 0.0f)) : value * gamma;
    });
    if (team.rank() != 0) return;
    if (call.mean != nullptr) call.mean[row.index] = mean;
    if (call.rstd != nullptr) call.rstd[row.index] = rstd;
  });
}

struct Gradient {
  float dy, x;
};

/// The sums that a row's dx needs; RMSNorm needs the second alone.
struct Sums {
  float of_g, of_product;
  __device__ Sums operator+(const Sums& other) const {
    return {of_g + other.of_g, of_product + other.of_product};
  }
};

__device__ Sums from_thread(const Sums& sums, int distance) {
  return {order::from_thread(sums.of_g, distance), order::from_thread(sums.of_product, distance)};
}

// Order: the sums by lanes, ascending, of g = dy · gamma and of g · h with one fma a term; each element
// alone.
template <class Form, bool centered>
__global__ void __launch_bounds__(Form::kBlockThreads)
    norm_backward_rows(RowsBackward call, order::Slices rows) {
  using Team = typename Form::Team;
  __shared__ typename Team::template Memory<Sums> memory;
  const Team team(memory);
  order::for_each_slice(team, rows, [&](const order::Slice<Team>& row) {
    const auto elements = order::elements_of<Form>(team, rows.axis, [=](std::int64_t j) {
      const std::int64_t at = row(j);
      return Gradient{call.dy[at], call.x[at]};
    });
    const auto count = static_cast<float>(rows.axis);
    const float mean = centered ? call.mean[row.index] : 0.0f, rstd = call.rstd[row.index];
    const auto step = [=](const Sums& lane, std::int64_t j, const Gradient& of) {
      const float g = of.dy * scale(call.gamma, j, 1.0f);
      return Sums{lane.of_g + g, std::fma(g, normalized<centered>(of.x, mean, rstd), lane.of_product)};
    };
    const Sums sums = elements.reduce(Sums{0, 0}, step, order::AddLanes());
    const float mean_of_g = sums.of_g / count, mean_of_product = sums.of_product / count;
    if (!row.counts) return;
    elements.for_each([&](std::int64_t j, const Gradient& of) {
      const float g = of.dy * scale(call.gamma, j, 1.0f), value = normalized<centered>(of.x, mean, rstd);
      call.dx[row(j)] = centered ? centered_gradient(g, value, mean_of_g, mean_of_product, rstd)
                                 : uncentered_gradient(g, value, mean_of_product, rstd);
    });
  });
}

// ---- The gradients of gamma and beta

constexpr int kFoldColumns = 8, kFoldChunks = 64;  // of a thread block: 32 bytes of a row, for each chunk

struct Partials {
  float gamma, beta;
};

/// A chunk's chains of column j. Rows are asked for some at a time.
template <bool centered>
__device__ Partials chunk_partials(const RowsBackward& call, const order::FoldSegment& segment,
                                   std::int64_t j, Partials partials, bool is_gamma_wanted) {
  constexpr int kRows = 8;
  const std::int64_t end = segment.offset + segment.rows;
  for (std::int64_t first = segment.offset; first < end; first += kRows) {
    float dy[kRows], value[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const std::int64_t row = first + i;
      if (row >= end) continue;
      dy[i] = call.dy[row * call.features + j];
      if (is_gamma_wanted)
        value[i] = normalized<centered>(call.x[row * call.features + j], centered ? call.mean[row] : 0.0f,
                                        call.rstd[row]);
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (first + i >= end) continue;
      if (is_gamma_wanted) partials.gamma = std::fma(dy[i], value[i], partials.gamma);
      partials.beta = partials.beta + dy[i];
    }
  }
  return partials;
}

/// The total after a segment's partial, or the partial that stays open.
__device__ void fold(const NormFold& to, std::int64_t j, const order::FoldSegment& segment, float partial) {
  if (segment.closes)
    to.total[j] = to.total[j] + partial;
  else
    to.open[j] = partial;
}

// Order: of a column, a chain over the rows of each chunk, ascending, one fma (beta: add) a row; then the
// chunks' partials, ascending.
template <bool centered>
__global__ void __launch_bounds__(kFoldColumns* kFoldChunks)
    fold_columns(RowsBackward call, NormFold dgamma, NormFold dbeta, order::FoldSpan span) {
  __shared__ Partials partials[kFoldChunks][kFoldColumns];
  const int column = static_cast<int>(threadIdx.x) % kFoldColumns;
  const int chunk = static_cast<int>(threadIdx.x) / kFoldColumns;
  const bool is_gamma_wanted = dgamma.total != nullptr, is_beta_wanted = dbeta.total != nullptr;
  const std::int64_t segments = order::fold_segments(span);
  const std::int64_t step = std::int64_t{gridDim.x} * kFoldColumns;
  for (std::int64_t base = std::int64_t{blockIdx.x} * kFoldColumns; base < call.features; base += step) {
    const std::int64_t j = base + column;
    const bool is_column = j < call.features;
    for (std::int64_t first = 0; first < segments; first += kFoldChunks) {
      if (is_column && first + chunk < segments) {
        const order::FoldSegment segment = order::fold_segment(span, first + chunk);
        const Partials start{segment.opens || !is_gamma_wanted ? 0.0f : dgamma.open[j],
                             segment.opens || !is_beta_wanted ? 0.0f : dbeta.open[j]};
        partials[chunk][column] = chunk_partials<centered>(call, segment, j, start, is_gamma_wanted);
      }
      __syncthreads();
      if (is_column && chunk == 0) {
        for (int i = 0; i < kFoldChunks && first + i < segments; ++i) {
          const order::FoldSegment segment = order::fold_segment(span, first + i);
          if (is_gamma_wanted) fold(dgamma, j, segment, partials[i][column].gamma);
          if (is_beta_wanted) fold(dbeta, j, segment, partials[i][column].beta);
        }
      }
      __syncthreads();
    }
  }
}

template <bool centered>
void forward(const Rows& call, const order::Slices& rows, void* stream) {
  order::with_row_form(rows.axis, [&](auto form) {
    order::launch_slices(form, "norm: norm_rows", norm_rows<decltype(form), centered>, rows, stream, call,
                         rows);
  });
}

template <bool centered>
void backward(const RowsBackward& call, const order::Slices& rows, void* stream) {
  order::with_row_form(rows.axis, [&](auto form) {
    order::launch_slices(form, "norm: norm_backward_rows", norm_backward_rows<decltype(form), centered>, rows,
                         stream, call, rows);
  });
}

}  // namespace

void rows_cuda(const Rows& call, std::int64_t rows, void* stream) {
  if (rows == 0) return;
  (call.is_centered ? forward<true> : forward<false>)(call, {rows, call.features, 1}, stream);
}

// The folds first: dx may lie where dy does.
void rows_backward_cuda(const RowsBackward& call, const NormFold& dgamma, const NormFold& dbeta,
                        const order::FoldSpan& span, void* stream) {
  if (call.features == 0) return;
  if ((dgamma.total != nullptr || dbeta.total != nullptr) && order::fold_segments(span) > 0) {
    constexpr std::int64_t kMostBlocks = 1 << 20;
    const auto blocks =
        static_cast<unsigned>(std::min((call.features + kFoldColumns - 1) / kFoldColumns, kMostBlocks));
    const auto kernel = call.is_centered ? fold_columns<true> : fold_columns<false>;
    kernel<<<blocks, kFoldColumns * kFoldChunks, 0, static_cast<cudaStream_t>(stream)>>>(call, dgamma, dbeta,
                                                                                         span);
    check_launch("norm: fold_columns");
  }
  if (call.dx == nullptr || span.rows == 0) return;
  (call.is_centered ? backward<true> : backward<false>)(call, {span.rows, call.features, 1}, stream);
}

}  // namespace lockstep::norm
