#pragma once
// What an optimizer step works on. C++17, for host and device.

#include <cstdint>

namespace lockstep {

/// One parameter of an SGD step: contiguous float32 arrays of `count` elements that do not overlap.
struct SgdParameter {
  float* parameter = nullptr;
  const float* gradient = nullptr;
  float* momentum = nullptr;  ///< read and written where options.momentum is not 0; else may be null
  std::int64_t count = 0;
  bool first = false;  ///< `momentum` holds nothing yet: it becomes the gradient, as torch's does
};

/// One parameter of an Adam step: contiguous float32 arrays of `count` elements that do not overlap. The
/// state of a parameter that has not been stepped is zeros.
struct AdamParameter {
  float* parameter = nullptr;
  const float* gradient = nullptr;
  float* mean = nullptr;    ///< torch's exp_avg, read and written
  float* square = nullptr;  ///< torch's exp_avg_sq, read and written
  float* largest_square =
      nullptr;  ///< torch's max_exp_avg_sq, read and written with amsgrad; else may be null
  std::int64_t count = 0;
};

}  // namespace lockstep
