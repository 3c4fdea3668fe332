// The gradients of weight and bias, chunk by chunk.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lockstep/base/ceil_div_internal.h"
#include "lockstep/base/float_mode.h"
#include "lockstep/conv/conv_internal.h"
#include "lockstep/conv/finite_internal.h"
#include "lockstep/conv/fold_internal.h"
#include "lockstep/parallel/parallel.h"

namespace lockstep::conv_internal {
namespace {

constexpr double kWorkPerThread = 1 << 18;        // multiplications that are worth a thread's start
constexpr std::int64_t kPartialFloats = 1 << 20;  // of the segments that threads work on before their fold

using internal::ceil_div;

}  // namespace

Folds::Folds(const ConvWeightGradient& call)
    : call_(call),
      g_(call.geometry),
      forms_(forms()),
      h_(forward_axis_h(g_)),
      w_(forward_axis_w(g_)),
      channels_(g_.in_channels / g_.groups),
      filters_(g_.out_channels / g_.groups),
      taps_(call.dweight.total == nullptr ? 0 : g_.taps()),
      has_bias_(call.dbias.total != nullptr) {}

std::int64_t Folds::useful_threads() const {
  const double work = static_cast<double>(call_.span.rows) * static_cast<double>(g_.out_channels) *
                      static_cast<double>(taps_ + 1);
  return std::max<std::int64_t>(
      1, std::min<std::int64_t>(parallel::thread_count(), static_cast<std::int64_t>(work / kWorkPerThread)));
}

std::int64_t Folds::most_rows() const {
  return std::min(g_.out_h(), (order::kRowsPerChunk - 2) / g_.out_w() + 2);
}

/// move(element of the fold, where its sum lies)
template <class Move>
void Folds::for_each_sum(bool is_bias, Move move) const {
  const std::int64_t count = is_bias ? 1 : taps_, first = is_bias ? taps_ : 0;
  for (std::int64_t o = 0; o < g_.out_channels; ++o)
    for (std::int64_t k = 0; k < count; ++k) move(o * count + k, place(o, first + k));
}

void Folds::load(float* ConvFold::*memory, float* sums) const {
  const float* const weight = call_.dweight.*memory;
  const float* const bias = call_.dbias.*memory;
  for_each_sum(false, [&](std::int64_t element, std::int64_t at) { sums[at] = weight[element]; });
  if (has_bias_) for_each_sum(true, [&](std::int64_t element, std::int64_t at) { sums[at] = bias[element]; });
}

void Folds::store(const float* sums, float* ConvFold::*memory) const {
  float* const weight = call_.dweight.*memory;
  float* const bias = call_.dbias.*memory;
  for_each_sum(false, [&](std::int64_t element, std::int64_t at) { weight[element] = sums[at]; });
  if (has_bias_) for_each_sum(true, [&](std::int64_t element, std::int64_t at) { bias[element] = sums[at]; });
}

void Folds::start(const order::FoldSegment& segment, const Range& sums, float* partial) const {
  if (segment.opens)
    std::fill(partial + sums.begin, partial + sums.end, 0.0f);
  else
    std::copy(open_.begin() + sums.begin, open_.begin() + sums.end, partial + sums.begin);
}

/// A zero of the planes' borders matters beside infinities and NaN alone, and those stay in a chain to its
/// end.
void Folds::run_part(const order::FoldSegment& segment, std::int64_t part, float* partial) const {
  const Range sums = sums_of(part);
  if (sums.begin == sums.end) return;
  start(segment, sums, partial);
  run_chains(segment, part, false, partial);
  if (all_finite(partial + sums.begin, sums.end - sums.begin)) return;
  start(segment, sums, partial);
  run_chains(segment, part, true, partial);
}

/// Some segments at a time, whose partials are then folded in their order.
void Folds::run_segments(std::int64_t threads) {
  const std::int64_t segments = order::fold_segments(call_.span), parts = make_parts(threads);
  const std::int64_t remembered = std::max(threads, kPartialFloats / floats());
  const std::int64_t wave = threads == 1 ? 1 : std::min(segments, remembered);
  std::vector<float> partials(static_cast<std::size_t>(wave * floats()));
  for (std::int64_t first = 0; first < segments; first += wave) {
    const std::int64_t tasks = std::min(wave, segments - first) * parts;
    parallel::for_each_range(tasks, ceil_div(tasks, threads), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t task = begin; task < end; ++task)
        run_part(order::fold_segment(call_.span, first + task / parts), task % parts,
                 partials.data() + task / parts * floats());
    });
    const FloatMode mode;
    for (std::int64_t index = 0; index < tasks / parts; ++index) {
      const float* const partial = partials.data() + index * floats();
      if (!order::fold_segment(call_.span, first + index).closes)
        std::copy(partial, partial + floats(), open_.begin());
      else
        for (std::size_t i = 0; i < total_.size(); ++i) total_[i] = total_[i] + partial[i];
    }
  }
}

void Folds::run() {
  const std::int64_t segments = order::fold_segments(call_.span);
  if (segments == 0 || filters_ == 0 || (taps_ == 0 && !has_bias_)) return;
  total_.resize(static_cast<std::size_t>(floats()));
  load(&ConvFold::total, total_.data());
  if (order::needs_open_partial(call_.span)) {
    open_.resize(total_.size());
    if (call_.span.first_row % order::kRowsPerChunk != 0) load(&ConvFold::open, open_.data());
  }
  run_segments(useful_threads());
  store(total_.data(), &ConvFold::total);
  if (!order::fold_segment(call_.span, segments - 1).closes) store(open_.data(), &ConvFold::open);
}

void weight_gradient_cpu(const ConvWeightGradient& call) {
  const ConvGeometry& g = call.geometry;
  const bool has_few_filters = g.out_channels / g.groups <= forms().lanes / 4;
  has_few_filters&& g.groups > 1 ? fold_by_groups(call) : fold_by_filters(call);
}

}  // namespace lockstep::conv_internal
