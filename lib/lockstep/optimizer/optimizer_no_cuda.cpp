#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/optimizer/optimizer_cuda_internal.h"

namespace lockstep::optimizer {
namespace {

[[noreturn]] void refuse(const char* operation) {
  fail(ErrorCode::unsupported, {operation, cuda_trouble(), {}, {}, "Or copy the arrays to the CPU."});
}

}  // namespace

void sgd_cuda(const SgdParameter*, std::size_t, const SgdFactors<float>&, void*) { refuse("sgd"); }
void adam_cuda(const AdamParameter*, std::size_t, const AdamFactors<float>&, bool, void*) { refuse("adam"); }
void gradient_norm_cuda(const GradientArray*, std::size_t, const float*, float*, void*) {
  refuse("gradient_norm");
}
void clip_cuda(const GradientArray*, std::size_t, const float*, float, void*) {
  refuse("clip_gradient_norm");
}

}  // namespace lockstep::optimizer
