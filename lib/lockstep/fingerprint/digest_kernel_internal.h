#pragma once
// The inner sums of the digest, one implementation for each instruction set, all with the same result.

#include <cstddef>
#include <cstdint>

namespace lockstep::fingerprint::internal {

/// What counts as a NaN in a word: by element type.
enum class Canon : std::uint8_t { none, float16, bfloat16, float32, float64 };

/// Adds Σ word(k) · T_L[j + k], k = 0 … words - 1, to sums[L]. `source` holds 4 · words bytes, j + words <= 1024; with
/// Canon::float64 j and words are even. With `copy_to` the bytes as they are (not canonicalised) are written there too.
using AccumulateFunction = void (*)(const std::uint8_t* source, std::uint8_t* copy_to, std::size_t words, std::size_t j,
                                    Canon canon, std::uint64_t sums[2]);

void accumulate_scalar(const std::uint8_t* source, std::uint8_t* copy_to, std::size_t words, std::size_t j, Canon canon,
                       std::uint64_t sums[2]);

struct Kernel {
  AccumulateFunction accumulate = accumulate_scalar;
  const char* name = "SCALAR";
};

/// The implementation of this name. Throws Error(invalid_argument) for a name that this machine or build lacks.
Kernel kernel_named(const char* name);
/// All names that work here, best first, "SCALAR" last; the array ends with a null pointer.
const char* const* kernel_names();
/// LOCKSTEP_ISA's choice, or else the best. Fixed at the first call.
const Kernel& kernel();
/// Makes kernel() give this one: for tests, which run every implementation in one process.
void force_kernel(const Kernel& forced);

}  // namespace lockstep::fingerprint::internal
