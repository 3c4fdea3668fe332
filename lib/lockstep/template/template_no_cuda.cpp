#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/template/template_internal.h"

namespace lockstep {

void template_op_cuda(const float*, float*, std::int64_t, std::int64_t, void*) {
  fail(ErrorCode::unsupported, {"template_op", cuda_trouble(), {}, {}, "Or pass tensors on Device::cpu."});
}

}  // namespace lockstep
