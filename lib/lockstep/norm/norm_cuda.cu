#include <algorithm>
#include <cmath>
#include <cuda_pipeline_primitives.h>
#include <limits>

#include "lockstep/base/divisor_internal.h"
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

using internal::Divisor;

// ---- Which gamma and beta an element j of a row has

/// Its own: LayerNorm and RMSNorm.
struct OfFeature {
  __device__ OfFeature of_row(std::int64_t) const { return {}; }
  __device__ std::int64_t operator()(std::int64_t j) const { return j; }
};

/// Its channel's: GroupNorm, whose rows are the groups of each sample. Index holds a row's elements.
template <class Index>
struct OfChannel {
  std::int64_t groups, wide;  ///< channels of a group
  Divisor<Index> pixels;
  std::int64_t first = 0;

  __device__ OfChannel of_row(std::int64_t row) const { return {groups, wide, pixels, row % groups * wide}; }
  __device__ std::int64_t operator()(std::int64_t j) const {
    return first + pixels.quotient(static_cast<Index>(j));
  }
};

// ---- Rows

// Order: the sum by lanes, ascending, of x; then that of (x - mean)² (RMSNorm: of x²), one fma a term; each
// element alone.
template <class Form, bool centered, class Scale>
__global__ void __launch_bounds__(Form::kBlockThreads)
    norm_rows(Rows call, order::Slices rows, Scale scales) {
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
    const Scale place = scales.of_row(row.index);
    elements.for_each([&](std::int64_t j, float x) {
      const float value = normalized<centered>(x, mean, rstd), gamma = scale(call.gamma, place(j), 1.0f);
      call.y[row(j)] = centered ? std::fma(value, gamma, scale(call.beta, place(j), 0.0f)) : value * gamma;
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
template <class Form, bool centered, class Scale>
__global__ void __launch_bounds__(Form::kBlockThreads)
    norm_backward_rows(RowsBackward call, order::Slices rows, Scale scales) {
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
    const Scale place = scales.of_row(row.index);
    const auto step = [=](const Sums& lane, std::int64_t j, const Gradient& of) {
      const float g = of.dy * scale(call.gamma, place(j), 1.0f);
      return Sums{lane.of_g + g, std::fma(g, normalized<centered>(of.x, mean, rstd), lane.of_product)};
    };
    const Sums sums = elements.reduce(Sums{0, 0}, step, order::AddLanes());
    const float mean_of_g = sums.of_g / count, mean_of_product = sums.of_product / count;
    if (!row.counts) return;
    elements.for_each([&](std::int64_t j, const Gradient& of) {
      const float g = of.dy * scale(call.gamma, place(j), 1.0f),
                  value = normalized<centered>(of.x, mean, rstd);
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

/// Order: total + partial(i) of `count` segments from `first` on, ascending; one that does not close stays
/// open.
template <class Partial>
__device__ void fold_segments(const NormFold& to, std::int64_t j, const order::FoldSpan& span,
                              std::int64_t first, int count, Partial partial) {
  float total = to.total[j];
  for (int i = 0; i < count; ++i) {
    if (order::fold_segment(span, first + i).closes)
      total = total + partial(i);
    else
      to.open[j] = partial(i);
  }
  to.total[j] = total;
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
        const int count = static_cast<int>(min(segments - first, std::int64_t{kFoldChunks}));
        if (is_gamma_wanted)
          fold_segments(dgamma, j, span, first, count, [&](int i) { return partials[i][column].gamma; });
        if (is_beta_wanted)
          fold_segments(dbeta, j, span, first, count, [&](int i) { return partials[i][column].beta; });
      }
      __syncthreads();
    }
  }
}

// ---- The same for GroupNorm: a channel's pixels lie side by side, so a thread block has a channel, and some
// chunks of it at a time, whose pixels come through shared memory a stage ahead of their sums

constexpr int kPixelThreads = 256, kPixelChunks = 64, kPixelRows = 32;

struct PixelStage {
  float dy[kPixelChunks][kPixelRows + 1];  // one more, so that a row's threads meet different banks
  float x[kPixelChunks][kPixelRows + 1];
};

/// One channel's rows, the pixels of all samples.
template <class Index>
struct ChannelRows {
  const GroupNormBackward& call;
  Divisor<Index> pixels;
  std::int64_t channel;

  __device__ std::int64_t sample(std::int64_t row) const { return pixels.quotient(static_cast<Index>(row)); }
  __device__ std::int64_t place(std::int64_t row) const {
    const std::int64_t n = sample(row);
    return (n * call.channels + channel) * call.pixels + (row - n * call.pixels);
  }
  __device__ std::int64_t statistic(std::int64_t n) const {
    return n * call.groups + channel / (call.channels / call.groups);
  }
};

/// Rows `at` … of each chunk from segment `first` on, a warp a chunk and a lane a row.
template <class Index>
__device__ void load_pixels(const ChannelRows<Index>& rows, std::int64_t first, std::int64_t segments,
                            std::int64_t at, bool is_gamma_wanted, PixelStage& to) {
  const int lane = static_cast<int>(threadIdx.x) % kPixelRows;
#pragma unroll 4
  for (int chunk = static_cast<int>(threadIdx.x) / kPixelRows; chunk < kPixelChunks;
       chunk += kPixelThreads / kPixelRows) {
    if (first + chunk >= segments) break;
    const order::FoldSegment segment = order::fold_segment(rows.call.span, first + chunk);
    if (at + lane >= segment.rows) continue;
    const std::int64_t place = rows.place(segment.offset + at + lane);
    __pipeline_memcpy_async(&to.dy[chunk][lane], rows.call.dy + place, sizeof(float));
    if (is_gamma_wanted) __pipeline_memcpy_async(&to.x[chunk][lane], rows.call.x + place, sizeof(float));
  }
}

/// A thread's chunk: its chains over `count` rows of a stage.
template <class Index>
__device__ void add_pixels(const ChannelRows<Index>& rows, std::int64_t row, int count, bool is_gamma_wanted,
                           const PixelStage& stage, Partials& partials) {
  const int chunk = static_cast<int>(threadIdx.x);
  std::int64_t sample = rows.sample(row), left = (sample + 1) * rows.call.pixels - row;
  for (int i = 0; i < count; ++sample, left = rows.call.pixels) {
    const int end = left < count - i ? i + static_cast<int>(left) : count;
    const float mean = is_gamma_wanted ? rows.call.mean[rows.statistic(sample)] : 0.0f;
    const float rstd = is_gamma_wanted ? rows.call.rstd[rows.statistic(sample)] : 0.0f;
#pragma unroll 8
    for (; i < end; ++i) {
      const float dy = stage.dy[chunk][i];
      if (is_gamma_wanted)
        partials.gamma = std::fma(dy, normalized<true>(stage.x[chunk][i], mean, rstd), partials.gamma);
      partials.beta = partials.beta + dy;
    }
  }
}

// Order: of a channel, a chain over the pixels of each chunk, ascending, one fma (beta: add) a pixel; then
// the chunks' partials, ascending.
template <class Index>
__global__ void __launch_bounds__(kPixelThreads)
    fold_channels(GroupNormBackward call, Divisor<Index> pixels) {
  __shared__ PixelStage stages[2];
  __shared__ Partials partials[kPixelChunks];
  const bool is_gamma_wanted = call.dgamma.total != nullptr, is_beta_wanted = call.dbeta.total != nullptr;
  const std::int64_t segments = order::fold_segments(call.span);
  const int longest = static_cast<int>(min(call.span.rows, order::kRowsPerChunk));
  for (std::int64_t channel = blockIdx.x; channel < call.channels; channel += gridDim.x) {
    const ChannelRows<Index> rows{call, pixels, channel};
    for (std::int64_t first = 0; first < segments; first += kPixelChunks) {
      const int count = static_cast<int>(min(segments - first, std::int64_t{kPixelChunks}));
      const bool has_chunk = static_cast<int>(threadIdx.x) < count;
      const order::FoldSegment own =
          has_chunk ? order::fold_segment(call.span, first + threadIdx.x) : order::FoldSegment();
      Partials sums{own.opens || !is_gamma_wanted ? 0.0f : call.dgamma.open[channel],
                    own.opens || !is_beta_wanted ? 0.0f : call.dbeta.open[channel]};
      load_pixels(rows, first, segments, 0, is_gamma_wanted, stages[0]);
      __pipeline_commit();
      for (int at = 0, slot = 0; at < longest; at += kPixelRows, slot ^= 1) {
        __pipeline_wait_prior(0);
        __syncthreads();  // every thread's copies of this stage are there, and the other stage is free
        load_pixels(rows, first, segments, at + kPixelRows, is_gamma_wanted, stages[slot ^ 1]);
        __pipeline_commit();
        const std::int64_t rest = own.rows - at;
        if (has_chunk && rest > 0)
          add_pixels(rows, own.offset + at, static_cast<int>(min(rest, std::int64_t{kPixelRows})),
                     is_gamma_wanted, stages[slot], sums);
      }
      __pipeline_wait_prior(0);
      if (has_chunk) partials[threadIdx.x] = sums;
      __syncthreads();
      if (is_gamma_wanted && threadIdx.x == 0)
        fold_segments(call.dgamma, channel, call.span, first, count,
                      [&](int i) { return partials[i].gamma; });
      if (is_beta_wanted && threadIdx.x == kPixelChunks)
        fold_segments(call.dbeta, channel, call.span, first, count, [&](int i) { return partials[i].beta; });
      __syncthreads();  // the partials and the stages are free
    }
  }
}

// ---- Launches

constexpr std::int64_t kMostBlocks = 1 << 20;

template <bool centered, class Form, class Scale>
void forward(Form form, const Rows& call, const order::Slices& rows, const Scale& scales, void* stream) {
  order::launch_slices(form, "norm: norm_rows", norm_rows<Form, centered, Scale>, rows, stream, call, rows,
                       scales);
}

template <bool centered, class Form, class Scale>
void backward(Form form, const RowsBackward& call, const order::Slices& rows, const Scale& scales,
              void* stream) {
  order::launch_slices(form, "norm: norm_backward_rows", norm_backward_rows<Form, centered, Scale>, rows,
                       stream, call, rows, scales);
}

bool is_narrow(std::int64_t count) { return count <= std::numeric_limits<std::int32_t>::max(); }

/// run(the form for rows of n elements, an Index for their number).
template <class Run>
void with_group_form(std::int64_t n, Run run) {
  using LongestRows = order::LaneForm<order::BlockTeam<512>, 2, 0>;
  if (!is_narrow(n)) return run(LongestRows(), std::int64_t{});
  order::with_row_form(n, [&](auto form) { run(form, std::int32_t{}); });
}

/// The rows of a GroupNorm, forward or backward.
template <class Call>
order::Slices groups_of(const Call& c) {
  return {c.samples * c.groups, c.channels / c.groups * c.pixels, 1};
}

template <class Index, class Call>
OfChannel<Index> channels_of(const Call& c) {
  return {c.groups, c.channels / c.groups,
          Divisor<Index>(static_cast<Index>(std::max<std::int64_t>(1, c.pixels)))};
}

template <class Index>
void fold_all_channels(const GroupNormBackward& c, void* stream) {
  const auto blocks = static_cast<unsigned>(std::min(c.channels, kMostBlocks));
  fold_channels<Index><<<blocks, kPixelThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      c, Divisor<Index>(static_cast<Index>(std::max<std::int64_t>(1, c.pixels))));
  check_launch("norm: fold_channels");
}

}  // namespace

void rows_cuda(const Rows& call, std::int64_t rows, void* stream) {
  if (rows == 0) return;
  const order::Slices slices{rows, call.features, 1};
  order::with_row_form(call.features, [&](auto form) {
    call.is_centered ? forward<true>(form, call, slices, OfFeature(), stream)
                     : forward<false>(form, call, slices, OfFeature(), stream);
  });
}

// The folds first: dx may lie where dy does.
void rows_backward_cuda(const RowsBackward& call, const NormFold& dgamma, const NormFold& dbeta,
                        const order::FoldSpan& span, void* stream) {
  if (call.features == 0) return;
  if ((dgamma.total != nullptr || dbeta.total != nullptr) && order::fold_segments(span) > 0) {
    const auto blocks =
        static_cast<unsigned>(std::min((call.features + kFoldColumns - 1) / kFoldColumns, kMostBlocks));
    const auto kernel = call.is_centered ? fold_columns<true> : fold_columns<false>;
    kernel<<<blocks, kFoldColumns * kFoldChunks, 0, static_cast<cudaStream_t>(stream)>>>(call, dgamma, dbeta,
                                                                                         span);
    check_launch("norm: fold_columns");
  }
  if (call.dx == nullptr || span.rows == 0) return;
  const order::Slices slices{span.rows, call.features, 1};
  order::with_row_form(call.features, [&](auto form) {
    call.is_centered ? backward<true>(form, call, slices, OfFeature(), stream)
                     : backward<false>(form, call, slices, OfFeature(), stream);
  });
}

void group_norm_cuda(const GroupNorm& c, void* stream) {
  const order::Slices rows = groups_of(c);
  if (rows.outer == 0) return;
  const Rows call{
      c.x, c.gamma, c.beta, c.y, c.mean, c.rstd, rows.axis, 1, rows.axis, static_cast<float>(c.eps), true, 0};
  with_group_form(rows.axis, [&](auto form, auto index) {
    forward<true>(form, call, rows, channels_of<decltype(index)>(c), stream);
  });
}

// The folds first, as above.
void group_norm_backward_cuda(const GroupNormBackward& c, void* stream) {
  const bool has_folds = c.dgamma.total != nullptr || c.dbeta.total != nullptr;
  if (has_folds && c.channels > 0 && order::fold_segments(c.span) > 0)
    (is_narrow(c.span.rows) ? fold_all_channels<std::int32_t> : fold_all_channels<std::int64_t>)(c, stream);
  const order::Slices rows = groups_of(c);
  if (c.dx == nullptr || rows.outer * rows.axis == 0) return;
  const RowsBackward call{c.dy, c.x, c.mean, c.rstd, c.gamma, c.dx, rows.axis, 1, rows.axis, true, 0};
  with_group_form(rows.axis, [&](auto form, auto index) {
    backward<true>(form, call, rows, channels_of<decltype(index)>(c), stream);
  });
}

}  // namespace lockstep::norm
