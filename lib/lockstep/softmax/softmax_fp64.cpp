// The double forms of softmax: the reference, one slice after the other.

#include <cstddef>

#include "lockstep/base/float_mode.h"
#include "lockstep/softmax/softmax_internal.h"
#include "lockstep/softmax/softmax_ref.h"

namespace lockstep::softmax_internal {
namespace {

template <class Slice, class... Operands>
void run(const AxisExtents& extents, Slice slice, double* result, const Operands*... operands) {
  const FloatMode mode;
  softmax_ref::write_over_axis(static_cast<std::size_t>(extents.outer),
                               static_cast<std::size_t>(extents.axis),
                               static_cast<std::size_t>(extents.inner), slice, result, operands...);
}

}  // namespace

void forward_cpu(Kind kind, const double* x, double* y, const AxisExtents& extents) {
  const auto slice =
      kind == Kind::softmax ? softmax_ref::softmax_slice<double> : softmax_ref::log_softmax_slice<double>;
  run(extents, slice, y, x);
}

void backward_cpu(Kind kind, const double* dy, const double* y, double* dx, const AxisExtents& extents) {
  const auto slice = kind == Kind::softmax ? softmax_ref::softmax_backward_slice<double>
                                           : softmax_ref::log_softmax_backward_slice<double>;
  run(extents, slice, dx, dy, y);
}

}  // namespace lockstep::softmax_internal
