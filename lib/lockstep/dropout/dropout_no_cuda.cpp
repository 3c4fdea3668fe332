#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/dropout/dropout_internal.h"

namespace lockstep::dropout_draws {

void run_cuda(const Call&, void*) {
  fail(ErrorCode::unsupported, {"dropout", cuda_trouble(), {}, {}, "Or pass arrays on Device::cpu."});
}

}  // namespace lockstep::dropout_draws
