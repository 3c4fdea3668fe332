// The double forms of the operations: the reference, one element after the other.

#include <cstddef>

#include "lockstep/base/float_mode.h"
#include "lockstep/elementwise/elementwise_internal.h"
#include "lockstep/elementwise/elementwise_ref.h"

namespace lockstep::elementwise {

void run_cpu(const Call64& call) {
  const FloatMode mode;
  const auto element_of = [](const Operand64& operand) {
    return [&operand](std::size_t i) { return operand.is_array() ? operand.values()[i] : operand.value(); };
  };
  const auto a = element_of(call.a), b = element_of(call.b), c = element_of(call.c);
  const auto count = static_cast<std::size_t>(call.count);
  switch (call.operation) {
    case Operation::add_scaled:
      return add_scaled_ref(call.out, a, b, call.factor, count);
    case Operation::addcmul:
      return addcmul_ref(call.out, a, b, c, call.factor, count);
    case Operation::addcdiv:
      return addcdiv_ref(call.out, a, b, c, call.factor, count);
    case Operation::lerp:
      return lerp_ref(call.out, a, b, c, count);
  }
}

}  // namespace lockstep::elementwise
