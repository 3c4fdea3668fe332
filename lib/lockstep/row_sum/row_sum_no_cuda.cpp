#include "lockstep/base/device.h"
#include "lockstep/base/error.h"
#include "lockstep/row_sum/row_sum_internal.h"

namespace lockstep::row_sum_internal {

void sum_cuda(const Problem& problem, void*) {
  fail(ErrorCode::unsupported, {problem.is_product ? "row_product_sum_fold" : "row_sum_fold",
                                cuda_trouble(),
                                {},
                                {},
                                "Or pass rows in the host's memory."});
}

}  // namespace lockstep::row_sum_internal
