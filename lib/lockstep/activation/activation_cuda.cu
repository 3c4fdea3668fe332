#include "lockstep/activation/activation_inl.h"
#include "lockstep/activation/activation_internal.h"
#include "lockstep/base/element_kernels_internal.h"

namespace lockstep::activation_internal {
namespace {

namespace formulas = math::internal::activation;
using lockstep::internal::CudaArray;
using lockstep::internal::CudaNumber;
using lockstep::internal::map_elements;
using lockstep::internal::OfFloats;

using OfOne = float (*)(float);
using OfTwo = float (*)(float, float);

}  // namespace

#define LOCKSTEP_ACTIVATION(name, function)                                                               \
  case Formula::name:                                                                                     \
    return map_elements(#name, call.result, call.count, stream, OfFloats<static_cast<OfOne>(function)>(), \
                        CudaArray{call.x});                                                               \
  case Formula::name##_backward:                                                                          \
    return map_elements(#name "_backward", call.result, call.count, stream,                               \
                        OfFloats<static_cast<OfTwo>(formulas::name##_backward)>(), CudaArray{call.dy},    \
                        CudaArray{call.x});

void run_cuda(const Call& call, void* stream) {
  const CudaNumber beta{call.softplus.beta}, threshold{call.softplus.threshold};
  switch (call.formula) {
    LOCKSTEP_ACTIVATION(relu, formulas::relu)
    LOCKSTEP_ACTIVATION(sigmoid, math::sigmoid)
    LOCKSTEP_ACTIVATION(tanh, math::tanh)
    LOCKSTEP_ACTIVATION(silu, formulas::silu)
    LOCKSTEP_ACTIVATION(gelu_erf, formulas::gelu_erf)
    LOCKSTEP_ACTIVATION(gelu_tanh, formulas::gelu_tanh)
    case Formula::softplus:
      return map_elements("softplus", call.result, call.count, stream, OfFloats<formulas::softplus<float>>(),
                          CudaArray{call.x}, beta, threshold);
    case Formula::softplus_backward:
      return map_elements("softplus_backward", call.result, call.count, stream,
                          OfFloats<formulas::softplus_backward<float>>(), CudaArray{call.dy},
                          CudaArray{call.x}, beta, threshold);
  }
}

#undef LOCKSTEP_ACTIVATION

}  // namespace lockstep::activation_internal
