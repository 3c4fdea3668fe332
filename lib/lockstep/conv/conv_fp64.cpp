// The double forms of the convolution: the reference, one element after the other.

#include "lockstep/base/float_mode.h"
#include "lockstep/conv/conv_internal.h"
#include "lockstep/conv/conv_ref.h"

namespace lockstep::conv_internal {

void conv_cpu(const Conv64& call) {
  const FloatMode mode;
  conv_ref(call.x, call.weight, call.bias, call.y, call.geometry);
}

void input_gradient_cpu(const ConvInputGradient64& call) {
  const FloatMode mode;
  conv_input_gradient_ref(call.dy, call.weight, call.dx, call.geometry);
}

void weight_gradient_cpu(const ConvWeightGradient64& call) {
  const FloatMode mode;
  conv_weight_gradient_ref(call.dy, call.x, call.dweight.total, call.dweight.open, call.dbias.total,
                           call.dbias.open, call.span, call.geometry);
}

}  // namespace lockstep::conv_internal
