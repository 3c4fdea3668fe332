#pragma once
// Digest and statistics of many tensors at once: on a CUDA device in a few launches for all of them, without
// waiting for it. The values are those of digest.h and statistics.h, bit for bit.

#include <cstdint>
#include <span>
#include <type_traits>

#include "lockstep/base/view.h"
#include "lockstep/fingerprint/digest.h"
#include "lockstep/fingerprint/moments.h"

namespace lockstep::fingerprint {

/// What is asked of a tensor. Its first axis is the sample; a scalar is one sample of one element.
struct FingerprintRequest {
  ConstView tensor;
  std::int64_t first_sample = 0;  ///< the first sample's global index, for the digest
  bool unordered = false;
  bool statistics = true;
};

/// The open sums; finish() of digest.h and of statistics.h makes of them what is recorded.
struct Fingerprint {
  DigestSum digest;     ///< digest_samples(tensor, first_sample)
  DigestSum unordered;  ///< digest_samples_unordered(tensor), where it was asked for
  Moments moments;      ///< of all samples, where they were asked for
};
static_assert(std::is_trivially_copyable_v<Fingerprint>, "it is copied from a device as bytes");

/// Writes results[i], for requests[i], which all lie on `device`, as `results` does. On a CUDA device the
/// work is submitted to `stream` (a cudaStream_t; null: the default stream) and the call returns; the list is
/// read before. `scratch`: fingerprints_scratch_bytes(requests) bytes of the device's memory at a multiple of
/// 256, in use until the work is done; unused on the CPU. Nothing is allocated, and a CUDA graph may capture
/// it.
/// Throws Error(invalid_argument) for a tensor on another device, a negative first sample, null memory, and
/// memory that is not aligned to its elements, on a CUDA device; Error(unsupported) for Device::cuda in a
/// build without CUDA. Nothing is written when it throws.
void fingerprints(std::span<const FingerprintRequest> requests, Fingerprint* results, void* scratch,
                  Device device, void* stream = nullptr);

/// 64 bytes for each sample of more than one element whose statistics are asked for.
std::int64_t fingerprints_scratch_bytes(std::span<const FingerprintRequest> requests);

}  // namespace lockstep::fingerprint
