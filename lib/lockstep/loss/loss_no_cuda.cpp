#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/loss/loss_internal.h"

namespace lockstep::loss_internal {
namespace {

[[noreturn]] void refuse() {
  fail(ErrorCode::unsupported, {"loss", cuda_trouble(), {}, {}, "Or pass arrays on Device::cpu."});
}

}  // namespace

void run_cuda(const Call&, std::int64_t, void*) { refuse(); }
void row_losses_cuda(const float*, float*, const LossExtents&, void*) { refuse(); }

}  // namespace lockstep::loss_internal
