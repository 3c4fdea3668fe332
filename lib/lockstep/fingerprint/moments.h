#pragma once
// The open sums of the statistics. C++17, for host and device.

#include <cstdint>
#include <limits>

namespace lockstep::fingerprint {

/// Of the samples so far, in ascending global order; all but the first two of their finite elements.
struct Moments {
  std::int64_t count = 0;  ///< all elements, NaN and infinities included
  std::int64_t nans = 0;
  std::int64_t finite = 0;
  double sum = 0, mean = 0, m2 = 0, squares = 0;
  double min = std::numeric_limits<double>::infinity(), max = -std::numeric_limits<double>::infinity();
};

}  // namespace lockstep::fingerprint
