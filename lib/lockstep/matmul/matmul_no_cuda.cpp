#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/matmul/matmul_internal.h"

namespace lockstep::matmul_internal {

void sum_cuda(const Problem& problem, void*, unsigned*) {
  fail(ErrorCode::unsupported, {problem.accumulates ? "matmul_fold" : "matmul",
                                cuda_trouble(),
                                {},
                                {},
                                "Or pass matrices in the host's memory."});
}

std::vector<CudaForm> cuda_forms(const Problem&) { return {}; }

void sum_cuda_as(const CudaForm&, const Problem& problem, void* stream, unsigned* progress) {
  sum_cuda(problem, stream, progress);
}

}  // namespace lockstep::matmul_internal
