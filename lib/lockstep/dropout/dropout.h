#pragma once
// Dropout by position (contracts, section 8): whether an element is kept depends on the seed, the place in
// the module tree, the step, the global sample and the element's index in it, and on nothing else. README.md
// holds the specification.

#include <cstdint>

#include "lockstep/base/view.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kDropoutSpecVersion = 1;

/// What a call's draws depend on, beside the element.
struct DropoutDraw {
  std::uint64_t seed = 0;   ///< the run's
  std::int64_t stream = 0;  ///< number of the site in the module tree, 0 … 2^32 - 1
  std::int64_t step = 0;    ///< 0 … 2^32 - 1
  std::int64_t first_sample =
      0;  ///< the global index of the call's first sample; the last one is at most 2^32 - 1
};

/// y = x · fl32(1 / (1 - p)) where the element's word is at least floor(p · 2^32), else +0.
///
/// x, y   float32 [samples, elements], contiguous, in `device`'s memory; y may be x itself. A sample's
/// elements are counted from 0 in the order of
///        memory: at most 2^34
/// p      in [0, 1]: at 0 everything is kept and unscaled, at 1 nothing is
///
/// The gradient is the same call on dy: a recomputed draw is the same draw. What is dropped is +0 whatever x
/// holds, NaN included. `stream` is the cudaStream_t to work on (null: the default stream), unused on the
/// CPU; a call returns before a CUDA device's work is done. Guarantees: run_to_run, batch, micro_batch,
/// threads, workers, world, cpu_to_gpu. Throws Error(invalid_argument) for a probability or an extent out of
/// range or null memory that holds elements, Error(unsupported) for a number that does not fit its 32 bits,
/// or for Device::cuda in a build without CUDA or without a device.
void dropout(const float* x, float* y, std::int64_t samples, std::int64_t elements, double p,
             const DropoutDraw& draw, Device device = Device::cpu, void* stream = nullptr);

/// keeps[s, i] = 1 where dropout keeps the element, else 0: uint8 [samples, elements], contiguous, in
/// `device`'s memory. Errors as above.
void dropout_mask(std::uint8_t* keeps, std::int64_t samples, std::int64_t elements, double p,
                  const DropoutDraw& draw, Device device = Device::cpu, void* stream = nullptr);

// The same in float64: the same elements are kept, and the scale is 1 / (1 - p) in double. For tests such
// as torch's gradcheck: one thread, and slow. Guarantees: run_to_run, batch, micro_batch, threads. Errors
// as above, and Error(unsupported) for Device::cuda.

void dropout(const double* x, double* y, std::int64_t samples, std::int64_t elements, double p,
             const DropoutDraw& draw, Device device = Device::cpu, void* stream = nullptr);

}  // namespace lockstep
