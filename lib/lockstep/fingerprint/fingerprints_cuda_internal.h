#pragma once
// What fingerprints() hands to its CUDA form. C++17.

#include <cstddef>
#include <cstdint>

#include "lockstep/base/dtype.h"
#include "lockstep/fingerprint/digest_inl.h"
#include "lockstep/fingerprint/moments.h"
#include "lockstep/fingerprint/statistics_inl.h"

namespace lockstep::fingerprint::internal {

/// A tensor of a device.
struct DeviceTensor {
  const std::uint8_t* data;
  std::int64_t samples, elements;  ///< elements of one sample
  std::int64_t bytes;              ///< of one sample
  std::uint64_t first_word;        ///< the index of its first word in the digest
  std::uint64_t* digest;           ///< two lanes
  std::uint64_t* unordered;        ///< two lanes; null: not asked for
  Moments* moments;                ///< null: not asked for
  SampleMoments* of_samples;       ///< scratch, one a sample, where a sample has more than one element
  DType dtype;
  Canon canon;

  LOCKSTEP_HOST_DEVICE std::int64_t words() const { return (bytes + 3) / 4; }  ///< of one sample
};

/// Fills `results`, `result_bytes` bytes on the device in which all tensors' results lie.
void fingerprints_cuda(const DeviceTensor* tensors, std::size_t count, void* results,
                       std::size_t result_bytes, void* stream);

}  // namespace lockstep::fingerprint::internal
