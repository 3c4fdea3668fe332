#include <algorithm>
#include <string>

#include "lockstep/base/error.h"
#include "lockstep_loader/sampler/torch_fetch_internal.h"

namespace lockstep::loader {

void check_plan(const FetchPlan& plan) {
  if (plan.batch_size < 1) {
    fail(ErrorCode::invalid_argument, {"torch order", "batch size", "1 or more",
                                       std::to_string(plan.batch_size), "Pass a positive batch size"});
  }
  if (plan.workers < 0) {
    fail(ErrorCode::invalid_argument,
         {"torch order", "workers", "0 or more", std::to_string(plan.workers), {}});
  }
  if (plan.workers > 0 && plan.prefetch_factor < 1) {
    fail(ErrorCode::invalid_argument, {"torch order", "prefetch factor", "1 or more with workers",
                                       std::to_string(plan.prefetch_factor), "PyTorch's default is 2"});
  }
}

Pulled indices_pulled(std::int64_t samples, const FetchPlan& plan, std::int64_t batches_taken,
                      bool exhausted) {
  const std::int64_t full = samples / plan.batch_size;
  const bool rest = samples % plan.batch_size != 0;
  const std::int64_t batches = full + (rest && !plan.drop_last ? 1 : 0);
  if (batches_taken < 0 || batches_taken > batches) {
    fail(ErrorCode::invalid_argument, {"torch order",
                                       "batches taken",
                                       "0 to " + std::to_string(batches),
                                       std::to_string(batches_taken),
                                       {}});
  }
  const std::int64_t fetches =
      std::int64_t{plan.workers} * (plan.workers > 0 ? plan.prefetch_factor : 0) + batches_taken;
  const std::int64_t fetches_to_end = rest && !plan.drop_last ? batches : batches + 1;
  if (exhausted || fetches >= fetches_to_end) return {true, samples, true};
  return {fetches > 0, std::min(fetches, full) * plan.batch_size, false};
}

}  // namespace lockstep::loader
