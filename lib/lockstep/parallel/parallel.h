#pragma once
// Work shared among threads: over outputs, never over a sum. What a range computes must not depend on where
// the ranges are cut, and then no number of threads changes a bit.

#include <cstdint>
#include <memory>
#include <type_traits>

namespace lockstep::parallel {

/// The number of threads that for_each_range may use: what set_thread_count said in this thread, or else
/// OpenMP's (OMP_NUM_THREADS, omp_set_num_threads). 1 inside a parallel region.
int thread_count();

/// For the calling thread; 0 leaves the number to OpenMP again. Returns what was set before. A program may
/// hold two OpenMP runtimes, LibTorch's own beside the system's, and then omp_set_num_threads reaches one of
/// them only. Throws Error(invalid_argument) below 0.
int set_thread_count(int threads);

namespace internal {
using RangeFunction = void (*)(void* context, std::int64_t begin, std::int64_t end);
void for_each_range(std::int64_t count, std::int64_t grain, RangeFunction function, void* context);
}  // namespace internal

/// Calls work(begin, end) for ranges that cover 0 … count - 1 once, from several threads at a time where
/// count is above `grain`. Ranges begin at multiples of `grain` (above 0), the items that are worth a
/// thread's while. Each call runs in the contracts' floating-point mode. Inside a parallel region of the
/// caller there is one range, in the calling thread. An exception that work throws reaches the caller, after
/// all ranges have ended; of several, that of the lowest range.
template <class Work>
void for_each_range(std::int64_t count, std::int64_t grain, Work&& work) {
  using Plain = std::remove_reference_t<Work>;
  internal::for_each_range(
      count, grain,
      [](void* context, std::int64_t begin, std::int64_t end) {
        (*static_cast<Plain*>(context))(begin, end);
      },
      const_cast<void*>(static_cast<const void*>(std::addressof(work))));
}

}  // namespace lockstep::parallel
