#include <algorithm>

#include "lockstep/conv/planes_internal.h"

namespace lockstep::conv_internal {
namespace {

std::int64_t floor_div(std::int64_t a, std::int64_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }
std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return -floor_div(-a, b); }

std::vector<std::int64_t> forward_shifts(std::int64_t kernel, std::int64_t dilation, std::int64_t pad) {
  std::vector<std::int64_t> shifts;
  for (std::int64_t t = 0; t < kernel; ++t) shifts.push_back(t * dilation - pad);
  return shifts;
}

}  // namespace

Axis::Axis(std::int64_t source_extent, std::int64_t results_extent, std::int64_t source_step,
           const std::vector<std::int64_t>& shifts)
    : source(source_extent), results(results_extent), step(source_step) {
  std::int64_t highest = 0;
  for (const std::int64_t shift : shifts) {
    const std::int64_t place = floor_div(shift, step), phase = shift - place * step;
    const auto known = std::find(phases.begin(), phases.end(), phase);
    tap_phase.push_back(known - phases.begin());
    if (known == phases.end()) phases.push_back(phase);
    tap_place.push_back(place);
    lowest = tap_place.size() == 1 ? place : std::min(lowest, place);
    highest = tap_place.size() == 1 ? place : std::max(highest, place);
  }
  for (std::int64_t& place : tap_place) place -= lowest;
  reach = highest - lowest;
}

Axis forward_axis_h(const ConvGeometry& g) {
  return {g.in_h, g.out_h(), g.stride_h, forward_shifts(g.kernel_h, g.dilation_h, g.pad_h)};
}

Axis forward_axis_w(const ConvGeometry& g) {
  return {g.in_w, g.out_w(), g.stride_w, forward_shifts(g.kernel_w, g.dilation_w, g.pad_w)};
}

Planes::Planes(const Axis& h, const Axis& w, std::int64_t channels, std::int64_t most_rows)
    : h_(h),
      w_(w),
      channels_(channels),
      rows_(most_rows + h.reach),
      row_step_(w.results + w.reach),
      plane_(rows_ * row_step_),
      per_channel_(static_cast<std::int64_t>(h.phases.size() * w.phases.size()) * plane_) {}

std::int64_t Planes::offset(std::int64_t channel, std::size_t tap_h, std::size_t tap_w) const {
  const std::int64_t plane =
      h_.tap_phase[tap_h] * static_cast<std::int64_t>(w_.phases.size()) + w_.tap_phase[tap_w];
  return channel * per_channel_ + plane * plane_ + h_.tap_place[tap_h] * row_step_ + w_.tap_place[tap_w];
}

/// A null source stands for ones.
void Planes::fill_plane(const float* source, std::int64_t first, std::int64_t phase_h, std::int64_t phase_w,
                        float* plane) const {
  const std::int64_t begin = std::clamp(ceil_div(-phase_w, w_.step) - w_.lowest, std::int64_t{0}, row_step_);
  const std::int64_t end = std::clamp(ceil_div(w_.source - phase_w, w_.step) - w_.lowest, begin, row_step_);
  for (std::int64_t row = 0; row < rows_; ++row, plane += row_step_) {
    const std::int64_t h = (first + h_.lowest + row) * h_.step + phase_h;
    if (h < 0 || h >= h_.source) {
      std::fill(plane, plane + row_step_, 0.0f);
      continue;
    }
    std::fill(plane, plane + begin, 0.0f);
    std::fill(plane + end, plane + row_step_, 0.0f);
    if (source == nullptr) {
      std::fill(plane + begin, plane + end, 1.0f);
      continue;
    }
    const float* const from = source + h * w_.source + phase_w + w_.lowest * w_.step;
    if (w_.step == 1)
      std::copy(from + begin, from + end, plane + begin);
    else
      for (std::int64_t j = begin; j < end; ++j) plane[j] = from[j * w_.step];
  }
}

void Planes::fill(const float* source, std::int64_t first, float* planes) const {
  for (std::int64_t channel = 0; channel < channels_; ++channel) {
    for (const std::int64_t phase_h : h_.phases) {
      for (const std::int64_t phase_w : w_.phases) {
        fill_plane(source, first, phase_h, phase_w, planes);
        planes += plane_;
      }
    }
    source += h_.source * w_.source;
  }
  std::fill(planes, planes + kSlack, 0.0f);
}

void Planes::fill_inside(std::int64_t first, float* planes) const {
  for (const std::int64_t phase_h : h_.phases) {
    for (const std::int64_t phase_w : w_.phases) {
      fill_plane(nullptr, first, phase_h, phase_w, planes);
      planes += plane_;
    }
  }
  std::fill(planes, planes + kSlack, 0.0f);
}

}  // namespace lockstep::conv_internal
