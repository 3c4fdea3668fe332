#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/fingerprint/fingerprints_cuda_internal.h"

namespace lockstep::fingerprint::internal {

void fingerprints_cuda(const DeviceTensor*, std::size_t, void*, std::size_t, void*) {
  fail(ErrorCode::unsupported, {"fingerprints", cuda_trouble(), {}, {}, "Or copy the tensors to the CPU."});
}

}  // namespace lockstep::fingerprint::internal
