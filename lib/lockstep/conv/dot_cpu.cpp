// Forward and the gradient with respect to the input: both are dots of weights with planes of an image, the
// latter one for each remainder of the stride. No bit depends on how they are cut.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lockstep/base/ceil_div_internal.h"
#include "lockstep/base/scratch_internal.h"
#include "lockstep/conv/chain_internal.h"
#include "lockstep/conv/conv_internal.h"
#include "lockstep/conv/finite_internal.h"
#include "lockstep/conv/planes_internal.h"
#include "lockstep/parallel/parallel.h"

namespace lockstep::conv_internal {
namespace {

constexpr std::int64_t kBlock = 1024;            // terms of a chain
constexpr std::int64_t kPlaneFloats = 64 << 10;  // that stay in the second cache
constexpr double kWorkPerThread = 1 << 18;       // multiplications that are worth a thread's start

using internal::ceil_div;

/// One term of the dot, by the taps of both axes and the source's channel in its group.
struct Term {
  std::int64_t k = 0;       ///< its number, those that do not exist included
  std::int64_t weight = 0;  ///< where its weight lies behind the result channel's first
  std::int64_t channel = 0;
  std::size_t tap_h = 0, tap_w = 0;
};

/// `groups` correlations of images [samples, groups · sources, h.source, w.source] with weights, to images
/// [samples, groups · results, …].
struct Problem {
  const float* image = nullptr;
  const float* weight = nullptr;
  const float* bias = nullptr;
  float* out = nullptr;
  std::int64_t samples = 0, groups = 1, sources = 0, results = 0;
  std::int64_t weight_group_step = 0, weight_result_step = 0;
  std::int64_t out_sample_step = 0, out_channel_step = 0, out_row_step = 0, out_col_step = 1;
  Axis h, w;
  std::vector<Term> terms;  ///< ascending
};

struct ThreadScratch {
  internal::Scratch planes, inside;
};

ThreadScratch& thread_scratch() {
  thread_local ThreadScratch mine;
  return mine;
}

class Dots {
 public:
  explicit Dots(const Problem& problem);
  void run() const;

 private:
  struct Tile {
    std::int64_t begin = 0, rows = 0;  ///< channels of the result in the group
  };
  /// Some pixels of a block, neighbours in the planes.
  struct Strip {
    std::int64_t begin = 0, cols = 0;
    int form = 0;
    std::int64_t width = 0;
  };

  std::int64_t rows_per_block() const;
  double work() const;
  void pack_weights();
  void run_task(std::int64_t task) const;
  void run_strip(const Strip& strip, const float* planes, const float* inside, const float* weights,
                 const float* bias, float* out) const;
  void chains(const Strip& strip, const float* planes, const float* inside, const Tile& tile,
              std::int64_t begin, std::int64_t end, const float* weights, float* chains) const;
  void finish(const Strip& strip, const Tile& tile, const float* chains, bool first, bool last,
              const float* bias, float* out) const;

  const Problem& p_;
  const Forms& forms_;
  bool is_finite_;
  std::int64_t block_rows_;
  Planes planes_, inside_;
  std::int64_t terms_;
  std::vector<std::int64_t> offsets_, inside_offsets_;
  std::vector<std::int64_t> blocks_;  ///< where chains begin, and the end
  std::vector<Tile> tiles_;
  std::vector<float> weights_;  ///< [groups, tile, terms, rows of the tile]
};

Dots::Dots(const Problem& problem)
    : p_(problem),
      forms_(forms()),
      is_finite_(all_finite(problem.weight, problem.groups * problem.weight_group_step)),
      block_rows_(rows_per_block()),
      planes_(problem.h, problem.w, problem.sources, block_rows_),
      inside_(problem.h, problem.w, 1, block_rows_),
      terms_(static_cast<std::int64_t>(problem.terms.size())) {
  blocks_.push_back(0);
  for (const Term& term : p_.terms) {
    const auto index = static_cast<std::int64_t>(offsets_.size());
    if (index > 0 && term.k / kBlock != p_.terms[offsets_.size() - 1].k / kBlock) blocks_.push_back(index);
    offsets_.push_back(planes_.offset(term.channel, term.tap_h, term.tap_w));
    inside_offsets_.push_back(inside_.offset(0, term.tap_h, term.tap_w));
  }
  blocks_.push_back(terms_);
  const std::int64_t tiles = ceil_div(p_.results, forms_.dot_rows);
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t begin = p_.results * t / tiles;
    tiles_.push_back({begin, p_.results * (t + 1) / tiles - begin});
  }
  pack_weights();
}

/// As many as the planes of stay in a cache, and as leave work for every thread.
std::int64_t Dots::rows_per_block() const {
  const auto planes = static_cast<std::int64_t>(p_.h.phases.size() * p_.w.phases.size());
  const std::int64_t row = std::max<std::int64_t>(1, p_.sources * planes * (p_.w.results + p_.w.reach));
  const std::int64_t cached = std::max(kPlaneFloats / row - p_.h.reach, 2 * p_.h.reach + 1);
  const std::int64_t threads = work() < 2 * kWorkPerThread ? 1 : parallel::thread_count();
  const std::int64_t parts = ceil_div(threads, std::max<std::int64_t>(1, p_.samples * p_.groups));
  return std::clamp<std::int64_t>(std::min(cached, ceil_div(p_.h.results, parts)), 1, p_.h.results);
}

double Dots::work() const {
  return static_cast<double>(p_.samples) * static_cast<double>(p_.groups * p_.results) *
         static_cast<double>(p_.h.results * p_.w.results) * static_cast<double>(p_.terms.size() + 1);
}

void Dots::pack_weights() {
  weights_.resize(static_cast<std::size_t>(p_.groups * p_.results * terms_));
  float* to = weights_.data();
  for (std::int64_t group = 0; group < p_.groups; ++group) {
    for (const Tile& tile : tiles_) {
      const float* const from = p_.weight + group * p_.weight_group_step + tile.begin * p_.weight_result_step;
      for (const Term& term : p_.terms)
        for (std::int64_t i = 0; i < tile.rows; ++i) *to++ = from[i * p_.weight_result_step + term.weight];
    }
  }
}

void Dots::chains(const Strip& strip, const float* planes, const float* inside, const Tile& tile,
                  std::int64_t begin, std::int64_t end, const float* weights, float* chains) const {
  if (inside == nullptr)
    return forms_.dot[tile.rows - 1][strip.form](end - begin, weights + begin * tile.rows,
                                                 planes + strip.begin, offsets_.data() + begin, chains);
  for (std::int64_t i = 0; i < tile.rows; ++i)
    forms_.masked_dot({end - begin, weights + begin * tile.rows + i, tile.rows, planes + strip.begin,
                       offsets_.data() + begin, inside + strip.begin, inside_offsets_.data() + begin},
                      strip.width, chains + i * strip.width);
}

/// The pixels of the strip row by row: what lies between the rows of the planes belongs to no pixel.
void Dots::finish(const Strip& strip, const Tile& tile, const float* chains, bool first, bool last,
                  const float* bias, float* out) const {
  DotEnd end;
  end.row_step = p_.out_channel_step;
  end.col_step = p_.out_col_step;
  end.continues = !first;
  end.bias = last && bias != nullptr ? bias + tile.begin : nullptr;
  const std::int64_t strip_end = strip.begin + strip.cols, step = planes_.row_step();
  for (std::int64_t row = strip.begin / step; row * step < strip_end; ++row) {
    const std::int64_t from = std::max(strip.begin, row * step),
                       to = std::min(strip_end, row * step + p_.w.results);
    if (from >= to) continue;
    end.out = out + tile.begin * p_.out_channel_step + row * p_.out_row_step +
              (from - row * step) * p_.out_col_step;
    forms_.finish_dots(chains + (from - strip.begin), strip.width, tile.rows, to - from, end);
  }
}

void Dots::run_strip(const Strip& strip, const float* planes, const float* inside, const float* weights,
                     const float* bias, float* out) const {
  alignas(64) float scratch[kMostTileElements];
  for (std::size_t block = 0; block + 1 < blocks_.size(); ++block) {
    for (const Tile& tile : tiles_) {
      chains(strip, planes, inside, tile, blocks_[block], blocks_[block + 1], weights + tile.begin * terms_,
             scratch);
      finish(strip, tile, scratch, block == 0, block + 2 == blocks_.size(), bias, out);
    }
  }
}

/// A block of rows of one sample's group.
void Dots::run_task(std::int64_t task) const {
  const std::int64_t blocks = ceil_div(p_.h.results, block_rows_);
  const std::int64_t group = task / blocks % p_.groups, sample = task / blocks / p_.groups;
  const std::int64_t first = task % blocks * block_rows_;
  const std::int64_t rows = std::min(block_rows_, p_.h.results - first);
  const std::int64_t image = p_.h.source * p_.w.source;
  float* const planes = thread_scratch().planes.get(planes_.floats());
  planes_.fill(p_.image + (sample * p_.groups + group) * p_.sources * image, first, planes);
  float* inside = nullptr;
  if (!is_finite_) inside_.fill_inside(first, inside = thread_scratch().inside.get(inside_.floats()));
  const float* const weights = weights_.data() + group * p_.results * terms_;
  const float* const bias = p_.bias == nullptr ? nullptr : p_.bias + group * p_.results;
  float* const out = p_.out + sample * p_.out_sample_step + group * p_.results * p_.out_channel_step +
                     first * p_.out_row_step;
  const std::int64_t pixels = (rows - 1) * planes_.row_step() + p_.w.results;
  for (std::int64_t begin = 0; begin < pixels;) {
    int form = forms_.dot_form;
    while (form > 0 && pixels - begin <= std::int64_t{forms_.lanes} << (form - 1)) --form;
    const std::int64_t width = std::int64_t{forms_.lanes} << form;
    const Strip strip{begin, std::min(width, pixels - begin), form, width};
    run_strip(strip, planes, inside, weights, bias, out);
    begin += width;
  }
}

void Dots::run() const {
  if (p_.results == 0 || p_.h.results == 0 || p_.w.results == 0) return;
  const std::int64_t tasks = p_.samples * p_.groups * ceil_div(p_.h.results, block_rows_);
  if (tasks == 0) return;
  const std::int64_t threads = std::max<std::int64_t>(
      1,
      std::min<std::int64_t>(parallel::thread_count(), static_cast<std::int64_t>(work() / kWorkPerThread)));
  parallel::for_each_range(tasks, ceil_div(tasks, threads), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) run_task(task);
  });
}

// ---- The two of them

/// The taps of an input's pixels with one remainder by the stride, and what they read for the first of them.
struct Hits {
  std::vector<std::int64_t> taps, shifts;
};

Hits hits(std::int64_t remainder, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
          std::int64_t dilation) {
  Hits found;
  for (std::int64_t t = 0; t < kernel; ++t) {
    const std::int64_t distance = remainder + pad - t * dilation;
    if (distance % stride != 0) continue;
    found.taps.push_back(t);
    found.shifts.push_back(distance / stride);
  }
  return found;
}

/// The gradients of the pixels (remainder_h + stride_h · i, remainder_w + stride_w · j).
void gradient_of_remainder(const ConvInputGradient& call, std::int64_t remainder_h,
                           std::int64_t remainder_w) {
  const ConvGeometry& g = call.geometry;
  const Hits h = hits(remainder_h, g.kernel_h, g.stride_h, g.pad_h, g.dilation_h);
  const Hits w = hits(remainder_w, g.kernel_w, g.stride_w, g.pad_w, g.dilation_w);
  const std::int64_t channels = g.in_channels / g.groups, filters = g.out_channels / g.groups;
  const std::int64_t kernel = g.kernel_h * g.kernel_w, image = g.in_h * g.in_w;
  Problem p;
  p.image = call.dy;
  p.weight = call.weight;
  p.out = call.dx + remainder_h * g.in_w + remainder_w;
  p.samples = g.samples;
  p.groups = g.groups;
  p.sources = filters;
  p.results = channels;
  p.weight_group_step = filters * g.taps();
  p.weight_result_step = kernel;
  p.out_sample_step = g.in_channels * image;
  p.out_channel_step = image;
  p.out_row_step = g.stride_h * g.in_w;
  p.out_col_step = g.stride_w;
  p.h = Axis(g.out_h(), ceil_div(g.in_h - remainder_h, g.stride_h), 1, h.shifts);
  p.w = Axis(g.out_w(), ceil_div(g.in_w - remainder_w, g.stride_w), 1, w.shifts);
  for (std::int64_t o = 0; o < filters; ++o)
    for (std::size_t i = 0; i < h.taps.size(); ++i)
      for (std::size_t j = 0; j < w.taps.size(); ++j) {
        const std::int64_t tap = h.taps[i] * g.kernel_w + w.taps[j];
        p.terms.push_back({o * kernel + tap, o * g.taps() + tap, o, i, j});
      }
  Dots(p).run();
}

}  // namespace

void conv_cpu(const Conv& call) {
  const ConvGeometry& g = call.geometry;
  Problem p;
  p.image = call.x;
  p.weight = call.weight;
  p.bias = call.bias;
  p.out = call.y;
  p.samples = g.samples;
  p.groups = g.groups;
  p.sources = g.in_channels / g.groups;
  p.results = g.out_channels / g.groups;
  p.weight_group_step = p.results * g.taps();
  p.weight_result_step = g.taps();
  p.out_sample_step = g.out_channels * g.out_pixels();
  p.out_channel_step = g.out_pixels();
  p.out_row_step = g.out_w();
  p.h = forward_axis_h(g);
  p.w = forward_axis_w(g);
  for (std::int64_t k = 0; k < g.taps(); ++k)
    p.terms.push_back({k, k, k / (g.kernel_h * g.kernel_w),
                       static_cast<std::size_t>(k / g.kernel_w % g.kernel_h),
                       static_cast<std::size_t>(k % g.kernel_w)});
  Dots(p).run();
}

void input_gradient_cpu(const ConvInputGradient& call) {
  const ConvGeometry& g = call.geometry;
  for (std::int64_t h = 0; h < std::min(g.stride_h, g.in_h); ++h)
    for (std::int64_t w = 0; w < std::min(g.stride_w, g.in_w); ++w) gradient_of_remainder(call, h, w);
}

}  // namespace lockstep::conv_internal
