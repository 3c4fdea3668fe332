// The double forms of the activations: the reference, one element after the other.

#include "lockstep/activation/activation_internal.h"
#include "lockstep/activation/activation_ref.h"
#include "lockstep/base/float_mode.h"

namespace lockstep::activation_internal {
namespace {

namespace ref = activation_ref;

void map(const Call64& call, double (*formula)(double)) {
  for (std::int64_t i = 0; i < call.count; ++i) call.result[i] = formula(call.x[i]);
}

void map_two(const Call64& call, double (*formula)(double, double)) {
  for (std::int64_t i = 0; i < call.count; ++i) call.result[i] = formula(call.dy[i], call.x[i]);
}

}  // namespace

void run_cpu(const Call64& call) {
  const FloatMode mode;
  const auto [beta, threshold] = call.softplus;
  switch (call.formula) {
    case Formula::relu:
      return map(call, ref::relu);
    case Formula::relu_backward:
      return map_two(call, ref::relu_backward);
    case Formula::sigmoid:
      return map(call, ref::sigmoid);
    case Formula::sigmoid_backward:
      return map_two(call, ref::sigmoid_backward);
    case Formula::tanh:
      return map(call, ref::tanh);
    case Formula::tanh_backward:
      return map_two(call, ref::tanh_backward);
    case Formula::silu:
      return map(call, ref::silu);
    case Formula::silu_backward:
      return map_two(call, ref::silu_backward);
    case Formula::gelu_erf:
      return map(call, ref::gelu_erf);
    case Formula::gelu_erf_backward:
      return map_two(call, ref::gelu_erf_backward);
    case Formula::gelu_tanh:
      return map(call, ref::gelu_tanh);
    case Formula::gelu_tanh_backward:
      return map_two(call, ref::gelu_tanh_backward);
    case Formula::softplus:
      for (std::int64_t i = 0; i < call.count; ++i)
        call.result[i] = ref::softplus(call.x[i], beta, threshold);
      return;
    case Formula::softplus_backward:
      for (std::int64_t i = 0; i < call.count; ++i)
        call.result[i] = ref::softplus_backward(call.dy[i], call.x[i], beta, threshold);
      return;
  }
}

}  // namespace lockstep::activation_internal
