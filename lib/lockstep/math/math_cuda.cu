#include <cuda_runtime_api.h>

#include "lockstep/base/element_kernels_internal.h"
#include "lockstep/math/math_inl.h"
#include "lockstep/math/math_internal.h"

namespace lockstep::math {
namespace {

using lockstep::internal::CudaArray;
using lockstep::internal::map_elements;
using lockstep::internal::OfFloats;

}  // namespace

#define LOCKSTEP_MATH_MAP(name)                           \
  case Function::name:                                    \
    return map_elements("math::" #name, y, count, stream, \
                        OfFloats<static_cast<float (*)(float)>(math::name)>(), CudaArray{x});

void run_cuda(Function function, const float* x, float* y, std::int64_t count, void* stream) {
  switch (function) { LOCKSTEP_MATH_FUNCTIONS(LOCKSTEP_MATH_MAP) }
}

#undef LOCKSTEP_MATH_MAP

void pow_cuda(const float* x, const float* y, float* z, std::int64_t count, void* stream) {
  map_elements("math::pow", z, count, stream, OfFloats<static_cast<float (*)(float, float)>(math::pow)>(),
               CudaArray{x}, CudaArray{y});
}

}  // namespace lockstep::math
