#pragma once
// Counter-based random numbers (contracts, section 8): Philox4x32-10 as Random123 defines it (Salmon et al.,
// SC 2011). A draw is a pure function of (key, counter); words are never added together.

#include <array>
#include <cstdint>

namespace lockstep::random {

using Block = std::array<std::uint32_t, 4>;

/// One Philox4x32-10 block. The key's low 32 bits are Philox's key word 0.
Block philox4x32(std::uint64_t key, const Block& counter);

/// What a record's draws depend on, and nothing else.
struct RecordKey {
  std::uint64_t seed = 0;
  std::uint32_t epoch = 0;
  std::int64_t record = 0;  ///< record id as the sampler delivered it, not negative
  std::uint32_t occurrence =
      0;  ///< how often this record came before in this epoch (drawing with replacement)
};

/// A stream of draws for one purpose. Cheap to make (one Philox block), a value type, not shared between
/// threads. Two generators of one seed with different (record key, stream) never evaluate Philox at the same
/// (key, counter); the derivation is specified in this room's README. At most 2^34 words a generator:
/// Error(unsupported) after that.
class Generator {
 public:
  /// `stream` tells purposes apart (first transform, second transform, …) under the same record key.
  /// Throws Error(invalid_argument) for a negative record id.
  Generator(const RecordKey& key, std::uint32_t stream);
  /// A generator from a bare key, for what is no record (an initialiser, a test).
  explicit Generator(std::uint64_t key) : key_(key) {}

  std::uint32_t next_u32();
  std::uint64_t next_u64();  ///< two words, the first is the high half
  /// Uniform in [0, bound), without bias (multiply-shift with rejection). Throws invalid_argument for bound
  /// 0.
  std::uint64_t below(std::uint64_t bound);
  float uniform();          ///< multiples of 2^-24 in [0, 1)
  double uniform_double();  ///< multiples of 2^-53 in [0, 1)
  bool bernoulli(
      double p);  ///< word < floor(p * 2^32); p = 1 is always true. Throws invalid_argument outside [0, 1]

 private:
  std::uint64_t key_ = 0;
  Block
      counter_{};  // [0] is the block index, [1] the occurrence, [2] and [3] tell generators of one key apart
  std::uint64_t index_ = 0;  // words drawn so far
  Block block_{};
};

}  // namespace lockstep::random
