#include "lockstep/attention/attention_internal.h"
#include "lockstep/base/device.h"
#include "lockstep/base/error.h"

namespace lockstep::attention_internal {
namespace {

[[noreturn]] void refuse(const char* operation) {
  fail(ErrorCode::unsupported, {operation, cuda_trouble(), {}, {}, "Or copy the memory to the CPU."});
}

}  // namespace

void backward_cuda(const Problem&, void*, void*) { refuse("attention_backward"); }
std::int64_t backward_scratch_bytes(const AttentionExtents&) { refuse("attention_backward_scratch_bytes"); }

}  // namespace lockstep::attention_internal
