#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/elementwise/elementwise_internal.h"

namespace lockstep::elementwise {

void run_cuda(const char* where, const Call&, void*) {
  fail(ErrorCode::unsupported, {where, cuda_trouble(), {}, {}, "Or pass arrays on Device::cpu."});
}

}  // namespace lockstep::elementwise
