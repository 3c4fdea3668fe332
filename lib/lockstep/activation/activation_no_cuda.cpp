#include "lockstep/activation/activation_internal.h"
#include "lockstep/base/device.h"
#include "lockstep/base/error.h"

namespace lockstep::activation_internal {

void run_cuda(const Call&, void*) {
  fail(ErrorCode::unsupported, {"activation", cuda_trouble(), {}, {}, "Or pass arrays on Device::cpu."});
}

}  // namespace lockstep::activation_internal
