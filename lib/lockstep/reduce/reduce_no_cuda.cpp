#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/reduce/reduce_internal.h"

namespace lockstep::reduce {
namespace {

[[noreturn]] void refuse(const char* operation) {
  fail(ErrorCode::unsupported, {operation, cuda_trouble(), {}, {}, "Or pass memory of Device::cpu."});
}

}  // namespace

void sum_cuda(const float*, float*, const ReduceShape&, float, void*) { refuse("reduce_sum"); }

void variance_cuda(const float*, float*, float*, const ReduceShape&, float, void*) {
  refuse("reduce_variance");
}

void select_cuda(const float*, float*, std::int64_t*, const ReduceShape&, bool, void*) {
  refuse("reduce_max or reduce_min");
}

void sum_backward_cuda(const float*, float*, const ReduceShape&, float, void*) {
  refuse("reduce_sum_backward");
}

void variance_backward_cuda(const float*, const float*, const float*, float*, const ReduceShape&, float,
                            void*) {
  refuse("reduce_variance_backward");
}

void select_backward_cuda(const float*, const std::int64_t*, float*, const ReduceShape&, void*) {
  refuse("reduce_select_backward");
}

}  // namespace lockstep::reduce
