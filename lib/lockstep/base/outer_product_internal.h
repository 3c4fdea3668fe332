#pragma once
// For .cu files: chains that lie in a thread's registers, and the step that all of them take together.

#include <cmath>

namespace lockstep::internal {

/// Column j of so many lies where j ^ kBankSwap<columns> would: the factor that an fma of add_outer_product
/// does not share with the one before, and its addend, then come from different banks of registers. That is
/// worth a quarter of a product's time.
template <int kCols>
constexpr int kBankSwap = kCols % 2 == 0 ? 1 : 0;

/// The chain of each (i, j) takes left[i] * right[j], of the rows whose bit is set. Columns are passed
/// forwards and backwards by turns, so that each fma has a factor of the one before.
template <int kRows, int kCols>
__device__ __forceinline__ void add_outer_product(const float (&left)[kRows], const float (&right)[kCols],
                                                  float (&chains)[kRows][kCols],
                                                  unsigned rows = (1u << kRows) - 1) {
#pragma unroll
  for (int i = 0; i < kRows; ++i) {
    if ((rows >> i & 1) == 0) continue;
#pragma unroll
    for (int step = 0; step < kCols; ++step) {
      const int j = i % 2 == 0 ? step : kCols - 1 - step;
      float& chain = chains[i][j ^ kBankSwap<kCols>];
      chain = std::fma(left[i], right[j], chain);
    }
  }
}

}  // namespace lockstep::internal
