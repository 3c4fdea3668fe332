#include "lockstep/attention/attention_internal.h"
#include "lockstep/base/device.h"
#include "lockstep/base/error.h"

namespace lockstep::attention_internal {

void forward_cuda(const Problem&, void*) {
  fail(ErrorCode::unsupported, {"attention", cuda_trouble(), {}, {}, "Or copy the memory to the CPU."});
}

}  // namespace lockstep::attention_internal
