#include <algorithm>
#include <cmath>
#include <cuda_pipeline_primitives.h>
#include <limits>
#include <type_traits>

#include "lockstep/base/divisor_internal.h"
#include "lockstep/norm/norm_inl.h"
#include "lockstep/norm/norm_internal.h"
#include "lockstep/order/column_fold_cuda_internal.h"
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

struct GammaBeta {
  float gamma, beta;
};

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
    const auto scales_at = [=](std::int64_t j) {
      const std::int64_t at = place(j);
      return GammaBeta{scale(call.gamma, at, 1.0f), centered ? scale(call.beta, at, 0.0f) : 0.0f};
    };
    elements.for_each(scales_at, [&](std::int64_t j, float x, const GammaBeta& of) {
      const float value = normalized<centered>(x, mean, rstd);
      call.y[row(j)] = centered ? std::fma(value, of.gamma, of.beta) : value * of.gamma;
    });
    if (team.rank() != 0) return;
    if (call.mean != nullptr) call.mean[row.index] = mean;
    if (call.rstd != nullptr) call.rstd[row.index] = rstd;
  });
}

/// g is dy, then dy · gamma.
struct Gradient {
  float g, x;
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
    const Scale place = scales.of_row(row.index);
    const auto loaded = order::elements_of<Form>(team, rows.axis, [=](std::int64_t j) {
      const std::int64_t at = row(j);
      return Gradient{call.dy[at], call.x[at]};
    });
    const auto elements = loaded.mapped([=](std::int64_t j) { return scale(call.gamma, place(j), 1.0f); },
                                        [](const Gradient& of, float gamma) {
                                          return Gradient{of.g * gamma, of.x};
                                        });
    const auto count = static_cast<float>(rows.axis);
    const float mean = centered ? call.mean[row.index] : 0.0f, rstd = call.rstd[row.index];
    const auto step = [=](const Sums& lane, std::int64_t, const Gradient& of) {
      return Sums{centered ? lane.of_g + of.g : 0.0f,
                  std::fma(of.g, normalized<centered>(of.x, mean, rstd), lane.of_product)};
    };
    const Sums sums = elements.reduce(Sums{0, 0}, step, order::AddLanes());
    const float mean_of_g = sums.of_g / count, mean_of_product = sums.of_product / count;
    if (!row.counts) return;
    elements.for_each([&](std::int64_t j, const Gradient& of) {
      const float value = normalized<centered>(of.x, mean, rstd);
      call.dx[row(j)] = centered ? centered_gradient(of.g, value, mean_of_g, mean_of_product, rstd)
                                 : uncentered_gradient(of.g, value, mean_of_product, rstd);
    });
  });
}

// ---- The gradients of gamma and beta: folds over rows, a column each

/// The folds of dy · normalized and of dy, side by side; one that is not wanted has null memory.
struct GammaAndBeta {
  using Partial = FoldPartials;
  NormFold gamma, beta;

  __device__ FoldPartials open(std::int64_t j) const { return {read(gamma.open, j), read(beta.open, j)}; }
  __device__ FoldPartials total(std::int64_t j) const { return {read(gamma.total, j), read(beta.total, j)}; }
  __device__ void keep_open(std::int64_t j, const FoldPartials& partial) const {
    write(gamma.open, j, partial.gamma);
    write(beta.open, j, partial.beta);
  }
  __device__ void keep_total(std::int64_t j, const FoldPartials& total) const {
    write(gamma.total, j, total.gamma);
    write(beta.total, j, total.beta);
  }

 private:
  __device__ static float read(const float* of, std::int64_t j) { return of == nullptr ? 0.0f : of[j]; }
  __device__ static void write(float* to, std::int64_t j, float value) {
    if (to != nullptr) to[j] = value;
  }
};

/// Order: a row after those before it, one fma, and one add for beta.
template <bool centered, bool has_gamma>
__device__ FoldPartials add_row(const FoldPartials& partial, float dy, float x, float mean, float rstd) {
  return {has_gamma ? std::fma(dy, normalized<centered>(x, mean, rstd), partial.gamma) : partial.gamma,
          partial.beta + dy};
}

constexpr int kStagesInFlight = 4;  // of 8 KiB: all the blocks of [32768, 768] find a place at once

/// LayerNorm's and RMSNorm's rows.
template <bool centered, bool has_gamma>
struct RowTerms {
  static constexpr int kStages = kStagesInFlight;
  static constexpr int kMostRows = has_gamma ? 64 : order::kStageElements<float>;
  struct Stage {
    alignas(16) float dy[order::kStageElements<float>];
    alignas(16) float x[has_gamma ? order::kStageElements<float> : 1];
    float mean[has_gamma && centered ? kMostRows : 1], rstd[has_gamma ? kMostRows : 1];
  };
  order::TileRows<float> dy, x;
  const float* mean;
  const float* rstd;

  __device__ int rows_a_stage() const { return min(dy.rows_a_stage(), kMostRows); }
  __device__ void fetch(int from, int count, Stage& to) const {
    dy.fetch(from, count, to.dy);
    if constexpr (has_gamma) {
      x.fetch(from, count, to.x);
      for (int row = static_cast<int>(threadIdx.x); row < count; row += order::kFoldLanes) {
        if (centered) __pipeline_memcpy_async(&to.mean[row], mean + from + row, sizeof(float));
        __pipeline_memcpy_async(&to.rstd[row], rstd + from + row, sizeof(float));
      }
    }
  }
  __device__ FoldPartials add(FoldPartials partial, int count, const Stage& stage) const {
    const int lane = static_cast<int>(threadIdx.x);
#pragma unroll 8
    for (int row = 0; row < count; ++row) {
      const int at = row * dy.width + lane;
      partial = add_row<centered, has_gamma>(partial, stage.dy[at], has_gamma ? stage.x[at] : 0.0f,
                                             has_gamma && centered ? stage.mean[row] : 0.0f,
                                             has_gamma ? stage.rstd[row] : 0.0f);
    }
    return partial;
  }
};

template <bool centered, bool has_gamma>
struct RowFold : GammaAndBeta {
  using Terms = RowTerms<centered, has_gamma>;
  RowsBackward call;

  __device__ Terms terms(const order::FoldTile& tile, std::int64_t row) const {
    const order::TileRows<float> dy(call.dy, call.features, tile, row);
    if constexpr (!has_gamma) return {dy, dy, nullptr, nullptr};
    return {dy, {call.x, call.features, tile, row}, centered ? call.mean + row : nullptr, call.rstd + row};
  }
};

/// GroupNorm's pixels, a lane a channel: a channel's pixels lie side by side in memory, and in a stage.
template <class Index, bool has_gamma>
class PixelTerms {
 public:
  static constexpr int kStages = kStagesInFlight, kRows = 32;
  static constexpr int kStride = kRows + 4;  // so that lanes who read four pixels each meet different banks
  using Pixels = float[order::kFoldLanes][kStride];
  struct Stage {
    alignas(16) Pixels dy;
    alignas(16) float x[has_gamma ? order::kFoldLanes : 1][kStride];
  };

  __device__ PixelTerms(const GroupNormBackward& of, const Divisor<Index>& by_pixels,
                        const order::FoldTile& columns, std::int64_t row)
      : call_(of),
        pixels_(by_pixels),
        tile_(columns),
        first_(row),
        sample_(sample_of(row)),
        left_(static_cast<Index>((sample_ + 1) * of.pixels - row)),
        group_(tile_.col() / (of.channels / of.groups)) {
    if (tile_.has_lane() && row < of.span.rows) read_statistics();
  }

  __device__ int rows_a_stage() const { return kRows; }
  __device__ void fetch(int from, int count, Stage& to) const {
    copy(call_.dy, from, count, to.dy);
    if constexpr (has_gamma) copy(call_.x, from, count, to.x);
  }
  __device__ FoldPartials add(FoldPartials partial, int count, const Stage& stage) {
    const int lane = static_cast<int>(threadIdx.x);
#pragma unroll 2
    for (int row = 0; row < count; row += 4) {
      const auto dy = four_at(stage.dy[lane] + row), x = four_at(stage.x[has_gamma ? lane : 0] + row);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (row + i >= count) break;
        if (left_ == 0) {
          ++sample_, left_ = pixels_.value();
          read_statistics();
        }
        partial = add_row<true, has_gamma>(partial, dy.of[i], x.of[i], mean_, rstd_);
        --left_;
      }
    }
    return partial;
  }

 private:
  __device__ void read_statistics() {
    if constexpr (has_gamma) {
      mean_ = call_.mean[sample_ * call_.groups + group_];
      rstd_ = call_.rstd[sample_ * call_.groups + group_];
    }
  }

  struct Four {
    float of[4];
  };
  __device__ static Four four_at(const float* at) {
    const float4 four = *reinterpret_cast<const float4*>(at);
    return {four.x, four.y, four.z, four.w};
  }
  __device__ std::int64_t sample_of(std::int64_t row) const {
    return pixels_.quotient(static_cast<Index>(row));
  }
  /// Element of the tile's first channel.
  __device__ std::int64_t place(std::int64_t row) const {
    const std::int64_t n = sample_of(row);
    return (n * call_.channels + tile_.first_col) * call_.pixels + (row - n * call_.pixels);
  }
  /// Sixteen bytes a lane where all rows come in whole pieces of so many, eight lanes a channel; else four,
  /// all lanes a channel.
  __device__ void copy(const float* from_tensor, int from, int count, Pixels& to) const {
    constexpr int kPiece = 4, kLanesAChannel = kRows / kPiece;
    const int lane = static_cast<int>(threadIdx.x);
    const bool in_pieces = (call_.pixels | first_) % kPiece == 0 &&
                           reinterpret_cast<std::uintptr_t>(from_tensor) % sizeof(float4) == 0;
    const int row = in_pieces ? lane % kLanesAChannel * kPiece : lane;
    if (row >= count) return;
    const float* const begin = from_tensor + place(first_ + from + row);
    if (in_pieces) {
      for (int channel = lane / kLanesAChannel; channel < tile_.width;
           channel += order::kFoldLanes / kLanesAChannel)
        __pipeline_memcpy_async(&to[channel][row], begin + channel * call_.pixels, sizeof(float4));
    } else {
      for (int channel = 0; channel < tile_.width; ++channel)
        __pipeline_memcpy_async(&to[channel][row], begin + channel * call_.pixels, sizeof(float));
    }
  }

  const GroupNormBackward& call_;
  Divisor<Index> pixels_;
  order::FoldTile tile_;
  std::int64_t first_;         // row of the span
  std::int64_t sample_;        // of the next row to add
  Index left_;                 // of the sample's rows, from that one on
  std::int64_t group_;         // of the lane's channel
  float mean_ = 0, rstd_ = 0;  // of the sample and the group
};

template <class Index, bool has_gamma>
struct PixelFold : GammaAndBeta {
  using Terms = PixelTerms<Index, has_gamma>;
  GroupNormBackward call;
  Divisor<Index> pixels;

  __device__ Terms terms(const order::FoldTile& tile, std::int64_t row) const {
    return {call, pixels, tile, row};
  }
};

/// launch(the folds that are wanted, std::bool_constant: gamma's is among them), if any is.
template <class Launch>
void with_folds(const NormFold& gamma, const NormFold& beta, Launch launch) {
  const auto wanted = [](const NormFold& fold) { return fold.total == nullptr ? NormFold() : fold; };
  const GammaAndBeta folds{wanted(gamma), wanted(beta)};
  if (gamma.total != nullptr)
    launch(folds, std::true_type());
  else if (beta.total != nullptr)
    launch(folds, std::false_type());
}

// ---- Launches

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

/// run(the form for rows of n elements, of which each is Kept, an Index for their number).
template <class Kept, class Run>
void with_group_form(std::int64_t n, Run run) {
  using LongestRows = order::LaneForm<order::BlockTeam<512>, 2, 0>;
  if (!is_narrow(n)) return run(LongestRows(), std::int64_t{});
  order::with_row_form<Kept>(n, [&](auto form) { run(form, std::int32_t{}); });
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

template <bool centered>
void fold_rows(const RowsBackward& call, const NormFold& dgamma, const NormFold& dbeta,
               const order::FoldSpan& span, void* stream) {
  with_folds(dgamma, dbeta, [&](const GammaAndBeta& folds, auto has_gamma) {
    const RowFold<centered, decltype(has_gamma)::value> fold{folds, call};
    order::launch_column_fold("norm: fold of rows", fold, span, call.features, call.scratch, stream);
  });
}

template <class Index>
void fold_pixels(const GroupNormBackward& c, void* stream) {
  const Divisor<Index> pixels(static_cast<Index>(std::max<std::int64_t>(1, c.pixels)));
  with_folds(c.dgamma, c.dbeta, [&](const GammaAndBeta& folds, auto has_gamma) {
    const PixelFold<Index, decltype(has_gamma)::value> fold{folds, c, pixels};
    order::launch_column_fold("norm: fold of pixels", fold, c.span, c.channels, c.scratch, stream);
  });
}

}  // namespace

void rows_cuda(const Rows& call, std::int64_t rows, void* stream) {
  if (rows == 0) return;
  const order::Slices slices{rows, call.features, 1};
  order::with_row_form<float>(call.features, [&](auto form) {
    call.is_centered ? forward<true>(form, call, slices, OfFeature(), stream)
                     : forward<false>(form, call, slices, OfFeature(), stream);
  });
}

// The folds first: dx may lie where dy does.
void rows_backward_cuda(const RowsBackward& call, const NormFold& dgamma, const NormFold& dbeta,
                        const order::FoldSpan& span, void* stream) {
  if (call.features == 0) return;
  (call.is_centered ? fold_rows<true> : fold_rows<false>)(call, dgamma, dbeta, span, stream);
  if (call.dx == nullptr || span.rows == 0) return;
  const order::Slices slices{span.rows, call.features, 1};
  order::with_row_form<Gradient>(call.features, [&](auto form) {
    call.is_centered ? backward<true>(form, call, slices, OfFeature(), stream)
                     : backward<false>(form, call, slices, OfFeature(), stream);
  });
}

void group_norm_cuda(const GroupNorm& c, void* stream) {
  const order::Slices rows = groups_of(c);
  if (rows.outer == 0) return;
  const Rows call{
      c.x, c.gamma, c.beta, c.y, c.mean, c.rstd, rows.axis, 1, rows.axis, static_cast<float>(c.eps), true, 0};
  with_group_form<float>(rows.axis, [&](auto form, auto index) {
    forward<true>(form, call, rows, channels_of<decltype(index)>(c), stream);
  });
}

// The folds first, as above.
void group_norm_backward_cuda(const GroupNormBackward& c, void* stream) {
  if (c.channels > 0)
    (is_narrow(c.span.rows) ? fold_pixels<std::int32_t> : fold_pixels<std::int64_t>)(c, stream);
  const order::Slices rows = groups_of(c);
  if (c.dx == nullptr || rows.outer * rows.axis == 0) return;
  const RowsBackward call{c.dy, c.x, c.mean, c.rstd, c.gamma, c.dx, rows.axis, 1, rows.axis, true, 0};
  with_group_form<Gradient>(rows.axis, [&](auto form, auto index) {
    backward<true>(form, call, rows, channels_of<decltype(index)>(c), stream);
  });
}

}  // namespace lockstep::norm
