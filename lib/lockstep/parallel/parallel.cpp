#include "lockstep/parallel/parallel.h"

#include <algorithm>
#include <exception>
#include <omp.h>
#include <string>
#include <utility>
#include <vector>

#include "lockstep/base/error.h"
#include "lockstep/base/float_mode.h"

namespace lockstep::parallel {

namespace {

thread_local int chosen_thread_count = 0;

}  // namespace

int thread_count() {
  if (omp_in_parallel() != 0) return 1;
  return chosen_thread_count > 0 ? chosen_thread_count : omp_get_max_threads();
}

int set_thread_count(int threads) {
  if (threads < 0)
    fail(ErrorCode::invalid_argument,
         {"set_thread_count", "threads", "0 or more", std::to_string(threads), {}});
  return std::exchange(chosen_thread_count, threads);
}

namespace internal {
namespace {

void run(RangeFunction function, void* context, std::int64_t begin, std::int64_t end) {
  const FloatMode mode;
  function(context, begin, end);
}

}  // namespace

void for_each_range(std::int64_t count, std::int64_t grain, RangeFunction function, void* context) {
  if (grain <= 0)
    fail(ErrorCode::invalid_argument, {"for_each_range", "grain", "above 0", std::to_string(grain), {}});
  if (count <= 0) return;
  const std::int64_t grains = (count + grain - 1) / grain;
  const int threads = static_cast<int>(std::min<std::int64_t>(thread_count(), grains));
  if (threads <= 1) return run(function, context, 0, count);

  std::vector<std::exception_ptr> thrown(static_cast<std::size_t>(threads));
#pragma omp parallel num_threads(threads)
  {
    // The runtime may give fewer threads than asked for; the ranges then are the fewer's.
    const std::int64_t team = omp_get_num_threads(), self = omp_get_thread_num();
    const std::int64_t begin = grains * self / team * grain;
    const std::int64_t end = std::min(count, grains * (self + 1) / team * grain);
    try {
      if (begin < end) run(function, context, begin, end);
    } catch (...) {
      thrown[static_cast<std::size_t>(self)] = std::current_exception();
    }
  }
  for (const std::exception_ptr& exception : thrown)
    if (exception) std::rethrow_exception(exception);
}

}  // namespace internal
}  // namespace lockstep::parallel
