// Groups with few filters, as of a depthwise convolution, would leave most lanes of a vector idle. So groups
// lie side by side: the same channel of each in the planes, the same filter of each in the gradients.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lockstep/base/ceil_div_internal.h"
#include "lockstep/base/scratch_internal.h"
#include "lockstep/conv/fold_internal.h"

namespace lockstep::conv_internal {
namespace {

using internal::ceil_div;

struct ThreadScratch {
  internal::Scratch apart, image, inside, gradients;
};

ThreadScratch& thread_scratch() {
  thread_local ThreadScratch mine;
  return mine;
}

/// Sums lie as [blocks of groups, filters, taps and the bias, groups of a block].
class GroupFolds final : public Folds {
 public:
  explicit GroupFolds(const ConvWeightGradient& call);

 private:
  std::int64_t per_block() const { return filters_ * (taps_ + 1) * lanes_; }
  std::int64_t floats() const override { return blocks_ * per_block(); }
  std::int64_t place(std::int64_t filter, std::int64_t tap) const override {
    const std::int64_t group = filter / filters_;
    return group / lanes_ * per_block() + (filter % filters_ * (taps_ + 1) + tap) * lanes_ + group % lanes_;
  }
  std::int64_t make_parts(std::int64_t) override { return blocks_; }
  Range sums_of(std::int64_t block) const override {
    return {block * per_block(), (block + 1) * per_block()};
  }
  void run_chains(const order::FoldSegment& segment, std::int64_t block, bool masked,
                  float* partial) const override;

  std::int64_t groups_in(std::int64_t block) const { return std::min(lanes_, g_.groups - block * lanes_); }
  void lay_image(const Piece& piece, std::int64_t block, float* to) const;
  void lay_gradients(const Piece& piece, std::int64_t block, std::int64_t filter, float* to) const;
  void fold_taps(const Piece& piece, const float* image, const float* inside, const float* gradients,
                 float* sums) const;

  const std::int64_t lanes_, blocks_;
  const Planes planes_;  ///< of one channel
  std::vector<std::int64_t> offsets_, inside_offsets_;
};

GroupFolds::GroupFolds(const ConvWeightGradient& call)
    : Folds(call),
      lanes_(forms_.lanes),
      blocks_(ceil_div(g_.groups, lanes_)),
      planes_(h_, w_, 1, most_rows()) {
  const std::int64_t channels = taps_ > 0 ? channels_ : 0;
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::size_t i = 0; i < h_.tap_place.size(); ++i)
      for (std::size_t j = 0; j < w_.tap_place.size(); ++j) {
        offsets_.push_back(c * planes_.floats() + planes_.offset(0, i, j));
        inside_offsets_.push_back(planes_.offset(0, i, j));
      }
  if (!has_bias_) return;
  offsets_.push_back(channels * planes_.floats());  // ones, behind both
  inside_offsets_.push_back(planes_.floats());
}

/// [channels of a group, planes, groups of the block]
void GroupFolds::lay_image(const Piece& piece, std::int64_t block, float* to) const {
  if (taps_ == 0) return;
  const std::int64_t floats = planes_.floats(), groups = groups_in(block);
  float* const apart = thread_scratch().apart.get(lanes_ * floats);
  for (std::int64_t c = 0; c < channels_; ++c) {
    for (std::int64_t group = 0; group < groups; ++group) {
      const std::int64_t channel = piece.sample * g_.in_channels + (block * lanes_ + group) * channels_ + c;
      planes_.fill(call_.x + channel * g_.in_h * g_.in_w, row_of(piece), apart + group * floats);
    }
    forms_.lay_beside(apart, floats, groups, floats, lanes_, to + c * floats * lanes_);
  }
}

/// [pixels, groups of the block]
void GroupFolds::lay_gradients(const Piece& piece, std::int64_t block, std::int64_t filter, float* to) const {
  const std::int64_t pixels = g_.out_pixels();
  const std::int64_t channel = piece.sample * g_.out_channels + block * lanes_ * filters_ + filter;
  forms_.lay_beside(call_.dy + channel * pixels + piece.first, filters_ * pixels, groups_in(block),
                    piece.pixels, lanes_, to);
}

/// One filter of each group.
void GroupFolds::fold_taps(const Piece& piece, const float* image, const float* inside,
                           const float* gradients, float* sums) const {
  const auto taps = static_cast<std::int64_t>(offsets_.size());
  const std::int64_t tiles = ceil_div(taps, inside == nullptr ? forms_.fold_rows[0] : 1);
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t begin = taps * t / tiles, rows = taps * (t + 1) / tiles - begin;
    for_each_rectangle(piece, [&](std::int64_t at, std::int64_t pixel, Pixels pixels) {
      const float* from[kMostRows];
      for (std::int64_t i = 0; i < rows; ++i)
        from[i] = image + (offsets_[static_cast<std::size_t>(begin + i)] + at) * lanes_;
      pixels.gradient = gradients + pixel * lanes_;
      float* const tile = sums + begin * lanes_;
      if (inside == nullptr)
        forms_.beside[rows - 1](pixels, from, tile);
      else  // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): a tile has a row at least
        forms_.masked_beside(pixels, from[0], inside + inside_offsets_[static_cast<std::size_t>(begin)] + at,
                             tile);
    });
  }
}

void GroupFolds::run_chains(const order::FoldSegment& segment, std::int64_t block, bool masked,
                            float* partial) const {
  const std::int64_t channels = taps_ > 0 ? channels_ : 0, planes = channels * planes_.floats();
  float* const image = thread_scratch().image.get((planes + planes_.plane_floats()) * lanes_);
  float* const gradients = thread_scratch().gradients.get(order::kRowsPerChunk * lanes_);
  // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDelete): it takes what is thread_local for a local
  std::fill_n(image + planes * lanes_, planes_.plane_floats() * lanes_, 1.0f);
  float* mask = nullptr;
  if (masked) {
    mask = thread_scratch().inside.get(planes_.floats() + planes_.plane_floats());
    std::fill_n(mask + planes_.floats(), planes_.plane_floats(), 1.0f);
  }
  for_each_piece(segment, [&](const Piece& piece) {
    lay_image(piece, block, image);
    if (masked) planes_.fill_inside(row_of(piece), mask);
    for (std::int64_t filter = 0; filter < filters_; ++filter) {
      lay_gradients(piece, block, filter, gradients);
      fold_taps(piece, image, mask, gradients, partial + block * per_block() + filter * (taps_ + 1) * lanes_);
    }
  });
}

}  // namespace

void fold_by_groups(const ConvWeightGradient& call) { GroupFolds(call).run(); }

}  // namespace lockstep::conv_internal
