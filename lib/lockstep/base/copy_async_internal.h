#pragma once
// For .cu files: copies to shared memory that a thread starts and does not wait for, before
// __pipeline_commit() and __pipeline_wait_prior(). As __pipeline_memcpy_async, which makes a branch of each
// number of bytes that it may fill with zeros.

namespace lockstep::internal {

/// Starts the copy of kWidth floats, 4 or 1, of which the first `held` are there: the others become zeros,
/// and are not read. Both addresses lie on a boundary of kWidth floats.
template <int kWidth>
__device__ __forceinline__ void copy_async(float* to, const float* from, int held) {
  static_assert(kWidth == 4 || kWidth == 1);
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = held * static_cast<int>(sizeof(float));
  if constexpr (kWidth == 4)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from), "r"(bytes)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared), "l"(from), "r"(bytes)
                 : "memory");
}

}  // namespace lockstep::internal
