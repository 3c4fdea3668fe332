#include "lockstep/parallel/parallel.h"

#include <algorithm>
#include <exception>
#include <omp.h>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lockstep/base/error.h"
#include "lockstep/base/float_mode.h"

namespace lockstep::parallel {

namespace {

thread_local int chosen_thread_count = 0;

// member(self, team) in each thread of a team, the caller's among them.
#if defined(__SANITIZE_THREAD__)

// GCC's OpenMP runtime is not built with the sanitizer, which does not see its barriers and would report
// races that are none. Threads of our own it understands.
thread_local bool in_team = false;

bool is_in_team() { return in_team || omp_in_parallel() != 0; }

template <class Member>
void run_team(int threads, Member&& member) {
  std::vector<std::thread> others;
  for (int self = 1; self < threads; ++self)
    others.emplace_back([&member, self, threads] {
      in_team = true;
      member(self, threads);
    });
  in_team = true;
  member(0, threads);
  in_team = false;
  for (std::thread& other : others) other.join();
}

#else

bool is_in_team() { return omp_in_parallel() != 0; }

template <class Member>
void run_team(int threads, Member&& member) {
#pragma omp parallel num_threads(threads)
  member(omp_get_thread_num(), omp_get_num_threads());
}

#endif

}  // namespace

int thread_count() {
  if (is_in_team()) return 1;
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
  // The runtime may give fewer threads than asked for; the ranges then are the fewer's.
  run_team(threads, [&](std::int64_t self, std::int64_t team) {
    const std::int64_t begin = grains * self / team * grain;
    const std::int64_t end = std::min(count, grains * (self + 1) / team * grain);
    try {
      if (begin < end) run(function, context, begin, end);
    } catch (...) {
      thrown[static_cast<std::size_t>(self)] = std::current_exception();
    }
  });
  for (const std::exception_ptr& exception : thrown)
    if (exception) std::rethrow_exception(exception);
}

}  // namespace internal
}  // namespace lockstep::parallel
