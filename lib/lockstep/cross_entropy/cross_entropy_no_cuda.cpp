#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/cross_entropy/cross_entropy_internal.h"

namespace lockstep::cross_entropy_internal {
namespace {

[[noreturn]] void refuse(const char* operation) {
  fail(ErrorCode::unsupported, {operation, cuda_trouble(), {}, {}, "Or pass memory of Device::cpu."});
}

}  // namespace

void forward_cuda(const ClassTargets&, const Forward&, void*) { refuse("cross_entropy"); }

void backward_cuda(const ClassTargets&, const Backward&, void*) { refuse("cross_entropy_backward"); }

void target_weights_cuda(const ClassTargets&, float*, void*) { refuse("target_weights"); }

}  // namespace lockstep::cross_entropy_internal
