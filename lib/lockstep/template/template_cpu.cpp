#include "lockstep/base/float_mode.h"
#include "lockstep/order/lanes.h"
#include "lockstep/template/template_internal.h"

namespace lockstep {

// Lanes are independent chains, so the compiler may hold them in SIMD registers without changing a bit.
void template_op_cpu(const float* x, float* y, std::int64_t rows, std::int64_t features) {
  const FloatMode mode;
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = x + r * features;
    y[r] = order::lane_sum<float>(features, [row](std::int64_t j) { return row[j]; });
  }
}

}  // namespace lockstep
