// The gradients of weight and bias. Chains run over pixels, so a tile's rows are taps, read one pixel at a
// time where they lie in the image's planes, and its columns are filters, whose gradients are laid beside
// each other. A bias is a weight whose tap reads 1 everywhere: fma(dy, 1, chain) is chain + dy.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lockstep/base/float_mode.h"
#include "lockstep/base/scratch_internal.h"
#include "lockstep/conv/chain_internal.h"
#include "lockstep/conv/conv_internal.h"
#include "lockstep/conv/finite_internal.h"
#include "lockstep/conv/planes_internal.h"
#include "lockstep/parallel/parallel.h"

namespace lockstep::conv_internal {
namespace {

constexpr double kWorkPerThread = 1 << 18;  // multiplications that are worth a thread's start

constexpr std::int64_t kPartialFloats = 1 << 20;  // of the segments that threads work on before their fold

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Some filters of a group side by side.
struct Panel {
  std::int64_t begin = 0, filters = 0;
  int form = 0;
  std::int64_t width = 0;
};

/// Some input channels of one group, whose taps one thread takes; the last of a group takes the bias too.
struct Part {
  std::int64_t group = 0, channel = 0, channels = 0;
  std::int64_t first_tap = 0;
  std::vector<std::int64_t> offsets, inside_offsets;  ///< of its taps in the planes and in their mask
};

/// Pixels first … first + pixels - 1 of one sample.
struct Piece {
  std::int64_t sample = 0, first = 0, pixels = 0;
};

struct ThreadScratch {
  internal::Scratch planes, inside, gradients;
};

ThreadScratch& thread_scratch() {
  thread_local ThreadScratch mine;
  return mine;
}

/// What a piece's chains read.
struct Sources {
  const float* image = nullptr;
  const float* inside = nullptr;  ///< null: every term exists, or is a zero that changes nothing
  const float* gradients = nullptr;
};

/// Sums lie as [groups, taps and the bias, filters of all panels] until the call's end.
class Folds {
 public:
  explicit Folds(const ConvWeightGradient& call);
  void run();

 private:
  std::int64_t place(std::int64_t group, std::int64_t tap) const {
    return (group * (taps_ + 1) + tap) * width_;
  }
  std::int64_t floats() const { return place(g_.groups, 0); }
  std::int64_t useful_threads() const;
  std::int64_t most_rows() const;
  void make_panels();
  void make_parts(std::int64_t threads);
  Part make_part(std::int64_t group, std::int64_t begin, std::int64_t end) const;

  template <class Move>
  void for_each_sum(bool is_bias, Move move) const;
  void load(float* ConvFold::*memory, float* sums) const;
  void store(const float* sums, float* ConvFold::*memory) const;

  void run_segments(std::int64_t threads);
  void run_part(const order::FoldSegment& segment, const Part& part, float* partial) const;
  void run_chains(const order::FoldSegment& segment, const Part& part, bool masked, float* partial) const;
  void start(const order::FoldSegment& segment, const Part& part, float* partial) const;
  void pack_gradients(const Piece& piece, std::int64_t group, float* to) const;
  void fold_tiles(const Piece& piece, const Part& part, const Sources& from, float* partial) const;
  void fold_masked(const Piece& piece, const Part& part, const Sources& from, float* partial) const;
  template <class Visit>
  void for_each_rectangle(const Piece& piece, Visit visit) const;

  const ConvWeightGradient& call_;
  const ConvGeometry& g_;
  const Forms& forms_;
  const Axis h_, w_;
  std::int64_t filters_, taps_, width_ = 0;  ///< taps that are wanted
  bool has_bias_;
  std::vector<Panel> panels_;
  std::vector<Part> parts_;
  std::vector<float> total_, open_;
};

Folds::Folds(const ConvWeightGradient& call)
    : call_(call),
      g_(call.geometry),
      forms_(forms()),
      h_(forward_axis_h(g_)),
      w_(forward_axis_w(g_)),
      filters_(g_.out_channels / g_.groups),
      taps_(call.dweight.total == nullptr ? 0 : g_.taps()),
      has_bias_(call.dbias.total != nullptr) {
  make_panels();
}

void Folds::make_panels() {
  for (std::int64_t begin = 0; begin < filters_; begin = width_) {
    int form = kWidths - 1;
    while (form > 0 && ceil_div(filters_ - begin, forms_.lanes) < std::int64_t{1} << form) --form;
    const std::int64_t width = std::int64_t{forms_.lanes} << form;
    panels_.push_back({begin, std::min(width, filters_ - begin), form, width});
    width_ += width;
  }
}

std::int64_t Folds::useful_threads() const {
  const double work = static_cast<double>(call_.span.rows) * static_cast<double>(g_.out_channels) *
                      static_cast<double>(taps_ + 1);
  return std::max<std::int64_t>(
      1, std::min<std::int64_t>(parallel::thread_count(), static_cast<std::int64_t>(work / kWorkPerThread)));
}

/// Rows of pixels that a chunk may touch.
std::int64_t Folds::most_rows() const {
  return std::min(g_.out_h(), (order::kRowsPerChunk - 2) / g_.out_w() + 2);
}

/// A group each, or some channels of one where there are fewer segments than threads.
void Folds::make_parts(std::int64_t threads) {
  const std::int64_t channels = taps_ > 0 ? g_.in_channels / g_.groups : 0;
  const std::int64_t wanted = ceil_div(threads, order::fold_segments(call_.span) * g_.groups);
  const std::int64_t cuts = std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(1, channels));
  for (std::int64_t group = 0; group < g_.groups; ++group)
    for (std::int64_t cut = 0; cut < cuts; ++cut)
      parts_.push_back(make_part(group, channels * cut / cuts, channels * (cut + 1) / cuts));
}

Part Folds::make_part(std::int64_t group, std::int64_t begin, std::int64_t end) const {
  const Planes planes(h_, w_, end - begin, most_rows()), inside(h_, w_, 1, most_rows());
  Part part{group, begin, end - begin, begin * g_.kernel_h * g_.kernel_w, {}, {}};
  for (std::int64_t c = 0; c < end - begin; ++c)
    for (std::size_t i = 0; i < h_.tap_place.size(); ++i)
      for (std::size_t j = 0; j < w_.tap_place.size(); ++j) {
        part.offsets.push_back(planes.offset(c, i, j));
        part.inside_offsets.push_back(inside.offset(0, i, j));
      }
  if (has_bias_ && part.first_tap + static_cast<std::int64_t>(part.offsets.size()) == taps_) {
    part.offsets.push_back(planes.floats());  // a plane of ones, behind both
    part.inside_offsets.push_back(inside.floats());
  }
  return part;
}

// ---- From the folds' memory to the sums' and back

/// move(element of the fold, where its sum lies)
template <class Move>
void Folds::for_each_sum(bool is_bias, Move move) const {
  const std::int64_t count = is_bias ? 1 : taps_, first = is_bias ? taps_ : 0;
  for (std::int64_t o = 0; o < g_.out_channels; ++o)
    for (std::int64_t k = 0; k < count; ++k)
      move(o * count + k, place(o / filters_, first + k) + o % filters_);
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

// ---- Chains

/// Filters side by side: pixel p of a panel lies at the panel's begin · pixels + p · its width.
void Folds::pack_gradients(const Piece& piece, std::int64_t group, float* to) const {
  const std::int64_t pixels = g_.out_pixels();
  const float* const from =
      call_.dy + (piece.sample * g_.out_channels + group * filters_) * pixels + piece.first;
  for (const Panel& panel : panels_)
    forms_.lay_beside(from + panel.begin * pixels, pixels, panel.filters, piece.pixels, panel.width,
                      to + panel.begin * piece.pixels);
}

/// The piece as at most three rectangles: visit(its place in the planes, its first pixel, Pixels).
template <class Visit>
void Folds::for_each_rectangle(const Piece& piece, Visit visit) const {
  const std::int64_t width = g_.out_w(), row_step = width + w_.reach, end = piece.first + piece.pixels;
  for (std::int64_t pixel = piece.first; pixel < end;) {
    const std::int64_t row = pixel / width, col = pixel % width;
    const bool is_whole = col == 0 && end - pixel >= width;
    const std::int64_t rows = is_whole ? (end - pixel) / width : 1;
    const std::int64_t cols = is_whole ? width : std::min(width - col, end - pixel);
    visit((row - piece.first / width) * row_step + col, pixel - piece.first,
          Pixels{rows, cols, row_step, nullptr});
    pixel += rows * cols;
  }
}

void Folds::fold_tiles(const Piece& piece, const Part& part, const Sources& from, float* partial) const {
  const auto taps = static_cast<std::int64_t>(part.offsets.size());
  for (const Panel& panel : panels_) {
    const std::int64_t tiles = ceil_div(taps, forms_.fold_rows[panel.form]);
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t begin = taps * t / tiles, rows = taps * (t + 1) / tiles - begin;
      float* const tile = partial + place(part.group, part.first_tap + begin) + panel.begin;
      for_each_rectangle(piece, [&](std::int64_t at, std::int64_t pixel, Pixels pixels) {
        const float* image[kMostRows];
        for (std::int64_t i = 0; i < rows; ++i)
          image[i] = from.image + part.offsets[static_cast<std::size_t>(begin + i)] + at;
        pixels.gradient = from.gradients + panel.begin * piece.pixels + pixel * panel.width;
        forms_.fold[rows - 1][panel.form](pixels, image, tile, width_);
      });
    }
  }
}

void Folds::fold_masked(const Piece& piece, const Part& part, const Sources& from, float* partial) const {
  for (const Panel& panel : panels_) {
    for (std::size_t k = 0; k < part.offsets.size(); ++k) {
      float* const sums =
          partial + place(part.group, part.first_tap + static_cast<std::int64_t>(k)) + panel.begin;
      for_each_rectangle(piece, [&](std::int64_t at, std::int64_t pixel, Pixels pixels) {
        for (std::int64_t lane = 0; lane < panel.width; lane += forms_.lanes) {
          pixels.gradient = from.gradients + panel.begin * piece.pixels + pixel * panel.width + lane;
          forms_.masked_fold(pixels, from.image + part.offsets[k] + at,
                             from.inside + part.inside_offsets[k] + at, panel.width, sums + lane);
        }
      });
    }
  }
}

/// Where the segment's chains begin.
void Folds::start(const order::FoldSegment& segment, const Part& part, float* partial) const {
  const std::int64_t begin = place(part.group, part.first_tap),
                     end = begin + static_cast<std::int64_t>(part.offsets.size()) * width_;
  if (segment.opens)
    std::fill(partial + begin, partial + end, 0.0f);
  else
    std::copy(open_.begin() + begin, open_.begin() + end, partial + begin);
}

void Folds::run_chains(const order::FoldSegment& segment, const Part& part, bool masked,
                       float* partial) const {
  const Planes planes(h_, w_, part.channels, most_rows()), inside(h_, w_, 1, most_rows());
  const std::int64_t pixels = g_.out_pixels(), image = g_.in_h * g_.in_w;
  float* const planes_memory = thread_scratch().planes.get(planes.floats() + planes.plane_floats());
  float* const gradients = thread_scratch().gradients.get(order::kRowsPerChunk * width_);
  std::fill_n(planes_memory + planes.floats(), planes.plane_floats(), 1.0f);
  Sources from{planes_memory, nullptr, gradients};
  float* mask = nullptr;
  if (masked) {
    from.inside = mask = thread_scratch().inside.get(inside.floats() + inside.plane_floats());
    std::fill_n(mask + inside.floats(), inside.plane_floats(), 1.0f);
  }
  start(segment, part, partial);
  for (std::int64_t row = segment.offset; row < segment.offset + segment.rows;) {
    const std::int64_t first = row % pixels;
    const Piece piece{row / pixels, first, std::min(pixels - first, segment.offset + segment.rows - row)};
    const std::int64_t channel = part.group * (g_.in_channels / g_.groups) + part.channel;
    planes.fill(call_.x + (piece.sample * g_.in_channels + channel) * image, first / g_.out_w(),
                planes_memory);
    if (masked) inside.fill_inside(first / g_.out_w(), mask);
    pack_gradients(piece, part.group, gradients);
    masked ? fold_masked(piece, part, from, partial) : fold_tiles(piece, part, from, partial);
    row += piece.pixels;
  }
}

/// A chain with an infinity or NaN has none without its cause in it: only then do the borders' zeros matter.
void Folds::run_part(const order::FoldSegment& segment, const Part& part, float* partial) const {
  if (part.offsets.empty()) return;
  run_chains(segment, part, false, partial);
  const float* const sums = partial + place(part.group, part.first_tap);
  if (!all_finite(sums, static_cast<std::int64_t>(part.offsets.size()) * width_))
    run_chains(segment, part, true, partial);
}

// ---- The fold

/// Some segments at a time, whose partials are then folded in their order.
void Folds::run_segments(std::int64_t threads) {
  const std::int64_t segments = order::fold_segments(call_.span);
  const std::int64_t parts = static_cast<std::int64_t>(parts_.size());
  const std::int64_t remembered = std::max(threads, kPartialFloats / floats());
  const std::int64_t wave = threads == 1 ? 1 : std::min(segments, remembered);
  std::vector<float> partials(static_cast<std::size_t>(wave * floats()));
  for (std::int64_t first = 0; first < segments; first += wave) {
    const std::int64_t tasks = std::min(wave, segments - first) * parts;
    parallel::for_each_range(tasks, ceil_div(tasks, threads), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t task = begin; task < end; ++task)
        run_part(order::fold_segment(call_.span, first + task / parts),
                 parts_[static_cast<std::size_t>(task % parts)], partials.data() + task / parts * floats());
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
  const bool has_open = order::needs_open_partial(call_.span);
  total_.resize(static_cast<std::size_t>(floats()));
  load(&ConvFold::total, total_.data());
  if (has_open) {
    open_.resize(total_.size());
    if (call_.span.first_row % order::kRowsPerChunk != 0) load(&ConvFold::open, open_.data());
  }
  const std::int64_t threads = useful_threads();
  make_parts(threads);
  run_segments(threads);
  store(total_.data(), &ConvFold::total);
  if (!order::fold_segment(call_.span, segments - 1).closes) store(open_.data(), &ConvFold::open);
}

}  // namespace

void weight_gradient_cpu(const ConvWeightGradient& call) { Folds(call).run(); }

}  // namespace lockstep::conv_internal
