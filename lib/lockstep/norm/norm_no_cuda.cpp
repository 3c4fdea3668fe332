#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/norm/norm_internal.h"

namespace lockstep::norm {
namespace {

[[noreturn]] void refuse(const char* operation) {
  fail(ErrorCode::unsupported, {operation, cuda_trouble(), {}, {}, "Or pass memory of Device::cpu."});
}

}  // namespace

void rows_cuda(const Rows& call, std::int64_t, void*) {
  refuse(call.is_centered ? "layer_norm" : "rms_norm");
}

void rows_backward_cuda(const RowsBackward& call, const NormFold&, const NormFold&, const order::FoldSpan&,
                        void*) {
  refuse(call.is_centered ? "layer_norm_backward" : "rms_norm_backward");
}

void group_norm_cuda(const GroupNorm&, void*) { refuse("group_norm"); }
void group_norm_backward_cuda(const GroupNormBackward&, void*) { refuse("group_norm_backward"); }

}  // namespace lockstep::norm
