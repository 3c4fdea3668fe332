#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/conv/conv_internal.h"

namespace lockstep::conv_internal {
namespace {

[[noreturn]] void refuse(const char* operation) {
  fail(ErrorCode::unsupported, {operation, cuda_trouble(), {}, {}, "Or pass memory of Device::cpu."});
}

}  // namespace

void conv_cuda(const Conv&, void*) { refuse("conv"); }
void input_gradient_cuda(const ConvInputGradient&, void*) { refuse("conv_input_gradient"); }

}  // namespace lockstep::conv_internal
