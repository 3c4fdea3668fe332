// The double forms of the pools: the reference, one window after the other.

#include <cstddef>

#include "lockstep/base/float_mode.h"
#include "lockstep/pool/pool_internal.h"
#include "lockstep/pool/pool_ref.h"

namespace lockstep::pool {
namespace {

auto window_in(const std::vector<Window>& windows) {
  return [&windows](std::int64_t i) { return windows[static_cast<std::size_t>(i)]; };
}

std::int64_t count(const std::vector<Window>& windows) { return static_cast<std::int64_t>(windows.size()); }

}  // namespace

void max_pool_cpu(const MaxPool64& call) {
  max_pool_ref(call.x, call.y, call.indices, call.planes, call.h, call.w);
}

void max_pool_backward_cpu(const MaxPoolBackward64& call) {
  const std::int64_t pixels = call.h.in * call.w.in;
  for (std::int64_t i = 0; i < call.planes * call.h.out() * call.w.out(); ++i)
    if (call.indices[i] < -1 || call.indices[i] >= pixels) refuse_index(call.indices[i], pixels);
  const FloatMode mode;
  max_pool_backward_ref(call.dy, call.indices, call.dx, call.planes, call.h, call.w);
}

void average_cpu(const Averages& a, const double* x, double* y) {
  const FloatMode mode;
  average_pool_ref(x, y, a.planes, a.in_h, a.in_w, count(a.rows), count(a.cols), window_in(a.rows),
                   window_in(a.cols), a.divisor);
}

void average_backward_cpu(const Averages& a, const double* dy, double* dx) {
  const FloatMode mode;
  average_pool_backward_ref(dy, dx, a.planes, a.in_h, a.in_w, count(a.rows), count(a.cols), window_in(a.rows),
                            window_in(a.cols), a.divisor);
}

}  // namespace lockstep::pool
