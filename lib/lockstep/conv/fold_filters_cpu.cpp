// Chains run over pixels, so a tile's rows are taps, read one pixel at a time where they lie in the image's
// planes, and its columns are filters, whose gradients are laid beside each other.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lockstep/base/ceil_div_internal.h"
#include "lockstep/base/scratch_internal.h"
#include "lockstep/conv/fold_internal.h"

namespace lockstep::conv_internal {
namespace {

using internal::ceil_div;

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
  const float* inside = nullptr;
  const float* gradients = nullptr;
};

/// Sums lie as [groups, taps and the bias, filters of all panels].
class FilterFolds final : public Folds {
 public:
  explicit FilterFolds(const ConvWeightGradient& call);

 private:
  std::int64_t sums(std::int64_t group, std::int64_t tap) const {
    return (group * (taps_ + 1) + tap) * width_;
  }
  std::int64_t floats() const override { return sums(g_.groups, 0); }
  std::int64_t place(std::int64_t filter, std::int64_t tap) const override {
    return sums(filter / filters_, tap) + filter % filters_;
  }
  std::int64_t make_parts(std::int64_t threads) override;
  Part make_part(std::int64_t group, std::int64_t begin, std::int64_t end) const;
  Range sums_of(std::int64_t part) const override;
  const Part& part_at(std::int64_t part) const { return parts_[static_cast<std::size_t>(part)]; }

  void run_chains(const order::FoldSegment& segment, std::int64_t part, bool masked,
                  float* partial) const override;
  void lay_gradients(const Piece& piece, std::int64_t group, float* to) const;
  void fold_tiles(const Piece& piece, const Part& part, const Sources& from, float* partial) const;
  void fold_masked(const Piece& piece, const Part& part, const Sources& from, float* partial) const;

  std::int64_t width_ = 0;
  std::vector<Panel> panels_;
  std::vector<Part> parts_;
};

FilterFolds::FilterFolds(const ConvWeightGradient& call) : Folds(call) {
  for (std::int64_t begin = 0; begin < filters_; begin = width_) {
    int form = kWidths - 1;
    while (form > 0 && ceil_div(filters_ - begin, forms_.lanes) < std::int64_t{1} << form) --form;
    const std::int64_t width = std::int64_t{forms_.lanes} << form;
    panels_.push_back({begin, std::min(width, filters_ - begin), form, width});
    width_ += width;
  }
}

/// A group each, or some channels of one where there are fewer segments than threads.
std::int64_t FilterFolds::make_parts(std::int64_t threads) {
  const std::int64_t channels = taps_ > 0 ? channels_ : 0;
  const std::int64_t segments = std::max<std::int64_t>(1, order::fold_segments(call_.span));
  const std::int64_t wanted = ceil_div(threads, segments * g_.groups);
  const std::int64_t cuts = std::clamp<std::int64_t>(wanted, 1, std::max<std::int64_t>(1, channels));
  for (std::int64_t group = 0; group < g_.groups; ++group)
    for (std::int64_t cut = 0; cut < cuts; ++cut)
      parts_.push_back(make_part(group, channels * cut / cuts, channels * (cut + 1) / cuts));
  return static_cast<std::int64_t>(parts_.size());
}

Part FilterFolds::make_part(std::int64_t group, std::int64_t begin, std::int64_t end) const {
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

Folds::Range FilterFolds::sums_of(std::int64_t part) const {
  const std::int64_t begin = sums(part_at(part).group, part_at(part).first_tap);
  return {begin, begin + static_cast<std::int64_t>(part_at(part).offsets.size()) * width_};
}

/// Pixel p of a panel lies at the panel's begin · pixels + p · its width.
void FilterFolds::lay_gradients(const Piece& piece, std::int64_t group, float* to) const {
  const std::int64_t pixels = g_.out_pixels();
  const float* const from =
      call_.dy + (piece.sample * g_.out_channels + group * filters_) * pixels + piece.first;
  for (const Panel& panel : panels_)
    forms_.lay_beside(from + panel.begin * pixels, pixels, panel.filters, piece.pixels, panel.width,
                      to + panel.begin * piece.pixels);
}

void FilterFolds::fold_tiles(const Piece& piece, const Part& part, const Sources& from,
                             float* partial) const {
  const auto taps = static_cast<std::int64_t>(part.offsets.size());
  for (const Panel& panel : panels_) {
    const std::int64_t tiles = ceil_div(taps, forms_.fold_rows[panel.form]);
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t begin = taps * t / tiles, rows = taps * (t + 1) / tiles - begin;
      float* const tile = partial + sums(part.group, part.first_tap + begin) + panel.begin;
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

void FilterFolds::fold_masked(const Piece& piece, const Part& part, const Sources& from,
                              float* partial) const {
  for (const Panel& panel : panels_) {
    for (std::size_t k = 0; k < part.offsets.size(); ++k) {
      float* const tile =
          partial + sums(part.group, part.first_tap + static_cast<std::int64_t>(k)) + panel.begin;
      for_each_rectangle(piece, [&](std::int64_t at, std::int64_t pixel, Pixels pixels) {
        for (std::int64_t lane = 0; lane < panel.width; lane += forms_.lanes) {
          pixels.gradient = from.gradients + panel.begin * piece.pixels + pixel * panel.width + lane;
          forms_.masked_fold(pixels, from.image + part.offsets[k] + at,
                             from.inside + part.inside_offsets[k] + at, panel.width, tile + lane);
        }
      });
    }
  }
}

void FilterFolds::run_chains(const order::FoldSegment& segment, std::int64_t index, bool masked,
                             float* partial) const {
  const Part& part = part_at(index);
  const Planes planes(h_, w_, part.channels, most_rows()), inside(h_, w_, 1, most_rows());
  float* const image = thread_scratch().planes.get(planes.floats() + planes.plane_floats());
  float* const gradients = thread_scratch().gradients.get(order::kRowsPerChunk * width_);
  std::fill_n(image + planes.floats(), planes.plane_floats(), 1.0f);
  float* mask = nullptr;
  if (masked) {
    mask = thread_scratch().inside.get(inside.floats() + inside.plane_floats());
    std::fill_n(mask + inside.floats(), inside.plane_floats(), 1.0f);
  }
  const Sources from{image, mask, gradients};
  for_each_piece(segment, [&](const Piece& piece) {
    const std::int64_t channel = piece.sample * g_.in_channels + part.group * channels_ + part.channel;
    planes.fill(call_.x + channel * g_.in_h * g_.in_w, row_of(piece), image);
    if (masked) inside.fill_inside(row_of(piece), mask);
    lay_gradients(piece, part.group, gradients);
    masked ? fold_masked(piece, part, from, partial) : fold_tiles(piece, part, from, partial);
  });
}

}  // namespace

void fold_by_filters(const ConvWeightGradient& call) { FilterFolds(call).run(); }

}  // namespace lockstep::conv_internal
