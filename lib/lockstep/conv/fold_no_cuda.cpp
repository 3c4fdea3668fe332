#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/conv/conv_internal.h"

namespace lockstep::conv_internal {

void weight_gradient_cuda(const ConvWeightGradient&, void*) {
  fail(ErrorCode::unsupported,
       {"conv_weight_gradient", cuda_trouble(), {}, {}, "Or pass memory of Device::cpu."});
}

}  // namespace lockstep::conv_internal
