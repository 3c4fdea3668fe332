#pragma once
// The image as the chains read it: copied once into planes with zeros around, one plane for each remainder of
// the stride, so that what a tap reads for neighbouring pixels are neighbours in memory.

#include <cstdint>
#include <vector>

#include "lockstep/conv/conv.h"

namespace lockstep::conv_internal {

/// One axis: the result i reads the source at step · i + shift[t] for its tap t.
struct Axis {
  Axis() = default;
  Axis(std::int64_t source_extent, std::int64_t results_extent, std::int64_t source_step,
       const std::vector<std::int64_t>& shifts);

  std::int64_t source = 0, results = 0, step = 1;
  std::vector<std::int64_t> phases;     ///< the remainders by `step` that taps have
  std::vector<std::int64_t> tap_phase;  ///< by tap: its remainder's number in `phases`
  std::vector<std::int64_t> tap_place;  ///< by tap: where in that plane the result 0 reads
  std::int64_t lowest = 0;              ///< the plane's place 0 is the source's lowest · step + phase
  std::int64_t reach = 0;               ///< places of a plane beyond the number of results
};

/// The axes of a convolution's forward.
Axis forward_axis_h(const ConvGeometry& g);
Axis forward_axis_w(const ConvGeometry& g);

/// Planes for some channels of one sample, for blocks of at most `most_rows` rows of results.
class Planes {
 public:
  Planes(const Axis& h, const Axis& w, std::int64_t channels, std::int64_t most_rows);

  std::int64_t row_step() const { return row_step_; }
  std::int64_t plane_floats() const { return plane_; }
  /// Of all planes, and what a chain may read behind them.
  std::int64_t floats() const { return channels_ * per_channel_ + kSlack; }
  /// Where in the planes the tap of the block's first result is.
  std::int64_t offset(std::int64_t channel, std::size_t tap_h, std::size_t tap_w) const;

  /// source [channels, h.source, w.source]; the block begins at row `first` of the results.
  void fill(const float* source, std::int64_t first, float* planes) const;
  /// For one channel: 1 inside of the image, 0 outside.
  void fill_inside(std::int64_t first, float* planes) const;

 private:
  static constexpr std::int64_t kSlack = 64;

  void fill_plane(const float* source, std::int64_t first, std::int64_t phase_h, std::int64_t phase_w,
                  float* plane) const;

  const Axis& h_;
  const Axis& w_;
  std::int64_t channels_, rows_, row_step_, plane_, per_channel_;
};

}  // namespace lockstep::conv_internal
