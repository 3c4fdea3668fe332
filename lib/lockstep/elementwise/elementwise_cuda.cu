#include "lockstep/base/element_kernels_internal.h"
#include "lockstep/elementwise/elementwise_inl.h"
#include "lockstep/elementwise/elementwise_internal.h"

namespace lockstep::elementwise {
namespace {

using internal::CudaArrayOrNumber;
using internal::CudaNumber;
using internal::map_elements;
using internal::OfFloats;

CudaArrayOrNumber source(const Operand& operand) { return {operand.values(), operand.value()}; }

template <float (*formula)(float, float, float, float)>
void of_three(const char* where, const Call& call, void* stream) {
  map_elements(where, call.out, call.count, stream, OfFloats<formula>(), source(call.a), source(call.b),
               source(call.c), CudaNumber{call.factor});
}

}  // namespace

void run_cuda(const char* where, const Call& call, void* stream) {
  switch (call.operation) {
    case Operation::add_scaled:
      return map_elements(where, call.out, call.count, stream, OfFloats<add_scaled<float>>(), source(call.a),
                          source(call.b), CudaNumber{call.factor});
    case Operation::addcmul:
      return of_three<addcmul<float>>(where, call, stream);
    case Operation::addcdiv:
      return of_three<addcdiv<float>>(where, call, stream);
    case Operation::lerp:
      return map_elements(where, call.out, call.count, stream, OfFloats<lerp<float>>(), source(call.a),
                          source(call.b), source(call.c));
  }
}

}  // namespace lockstep::elementwise
