#pragma once
// Digests of tensors: two 64-bit lanes, each a keyed sum modulo 2^64 over 32-bit words. Position-sensitive,
// yet a sum: the same for every order of the work and mergeable over shards by global index. Specified with
// vectors in README.md. Thread-safety: values; distinct objects may be used from distinct threads.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "lockstep/base/view.h"

namespace lockstep::fingerprint {

/// A finished digest: dtype and shape are bound in. Persisted; changes only with spec_version of the room.
struct Digest {
  std::uint64_t lane0 = 0;
  std::uint64_t lane1 = 0;

  bool operator==(const Digest&) const = default;
  std::string hex() const;  ///< 32 lower-case digits, lane0 first
  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& lane0& lane1;
  }
};

/// The open sums, before dtype and shape are bound in. Merging is adding lane by lane.
struct DigestSum {
  std::uint64_t lane0 = 0;
  std::uint64_t lane1 = 0;

  void merge(const DigestSum& other) { lane0 += other.lane0, lane1 += other.lane1; }
  bool operator==(const DigestSum&) const = default;
  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& lane0& lane1;
  }
};

/// 32-bit words of one sample: its bytes, zero-padded to a multiple of 4. Any NaN counts as 0x7fc00000
/// (0x7e00 in float16, 0x7fc0 in bfloat16, 0x7ff8000000000000 in float64); -0 is not +0.
std::int64_t words_per_sample(DType dtype, const Shape& sample_shape);

/// Sum over `samples`, a view [n, …sample shape], whose first sample has the global index `first_sample`.
DigestSum digest_samples(const ConstView& samples, std::int64_t first_sample);

/// Sum over the samples *without* their index: equal for the same samples in another order. Each sample's own
/// digest is mixed by a non-linear finaliser before it is added, so that exchanging parts between samples
/// shows.
DigestSum digest_samples_unordered(const ConstView& samples);

/// Copies one sample of raw bytes and digests it on the way: the sum is that of a uint8 view [1, bytes] at
/// `global_sample`. The memory areas must not overlap. Throws Error(invalid_argument) for a negative sample.
DigestSum copy_and_digest_sample(void* destination, const void* source, std::size_t bytes,
                                 std::int64_t global_sample);

/// The same for samples from anywhere, laid one behind the other from `destination` on and numbered from
/// `first_sample`: a batch's gather. Faster than one by one: records ahead are fetched while earlier ones are
/// copied.
DigestSum copy_and_digest_samples(void* destination, std::span<const void* const> sources, std::size_t bytes,
                                  std::int64_t first_sample);

/// Binds dtype and the global shape.
Digest finish(const DigestSum& sum, DType dtype, const Shape& global_shape);

/// Digest of a whole tensor: finish(digest_samples(view, 0), …). A scalar counts as shape [1], bound as [].
Digest digest(const ConstView& tensor);

/// Digest of raw bytes, as a uint8 tensor [size] taken as one sample.
Digest digest_bytes(const void* data, std::size_t size);

/// The instruction set in use: "AVX2", "SCALAR", …
std::string digest_instruction_set();

}  // namespace lockstep::fingerprint
