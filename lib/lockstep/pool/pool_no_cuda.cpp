#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/pool/pool_internal.h"

namespace lockstep::pool {
namespace {

[[noreturn]] void refuse(const char* operation) {
  fail(ErrorCode::unsupported, {operation, cuda_trouble(), {}, {}, "Or pass memory of Device::cpu."});
}

}  // namespace

void max_pool_cuda(const MaxPool&, void*) { refuse("max_pool"); }
void max_pool_backward_cuda(const MaxPoolBackward&, void*) { refuse("max_pool_backward"); }
void average_cuda(const AverageProblem& p, const float*, float*, void*) {
  refuse(p.h.is_adaptive ? "adaptive_average_pool" : "average_pool");
}
void average_backward_cuda(const AverageProblem& p, const float*, float*, void*) {
  refuse(p.h.is_adaptive ? "adaptive_average_pool_backward" : "average_pool_backward");
}

}  // namespace lockstep::pool
