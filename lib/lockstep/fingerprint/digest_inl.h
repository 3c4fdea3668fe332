#pragma once
// The arithmetic of the digest (README, "Digest"), as integers alone, so that every implementation makes the
// same. C++17, for host and device. Persisted in every recording: do not change.

#include <cstdint>

#include "lockstep/base/host_device.h"

namespace lockstep::fingerprint::internal {

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio, odd
// The first 448 bits of pi's fraction: constants with nothing up the sleeve. Those of words and blocks stand
// in functions: device code cannot read the host's arrays.
LOCKSTEP_HOST_DEVICE constexpr std::uint64_t word_seed(int lane) {
  return lane == 0 ? 0x243f6a8885a308d3 : 0x13198a2e03707344;
}
LOCKSTEP_HOST_DEVICE constexpr std::uint64_t block_seed(int lane) {
  return lane == 0 ? 0xa4093822299f31d0 : 0x082efa98ec4e6c89;
}
constexpr std::uint64_t kShapeSeed = 0x452821e638d01377;
constexpr std::uint64_t kSampleSeed = 0xbe5466cf34e90c6c;
constexpr std::uint64_t kSecondRound = 0xc0ac29b7c97c50dd;
constexpr std::uint64_t kBlockWords = 1024;

/// A bijection of 64 bits (the finaliser of SplitMix64; Steele, Lea, Flood, OOPSLA 2014).
LOCKSTEP_HOST_DEVICE constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// The multiplier of a block's word j in a lane: not 0.
LOCKSTEP_HOST_DEVICE constexpr std::uint32_t word_key(int lane, std::uint64_t j) {
  return static_cast<std::uint32_t>(mix(word_seed(lane) + kGolden * (j + 1)) >> 32);
}

/// The multiplier of block b in a lane: odd, so that no bit of the block's sum is lost.
LOCKSTEP_HOST_DEVICE constexpr std::uint64_t block_key(int lane, std::uint64_t block) {
  return mix(block_seed(lane) + kGolden * (block + 1)) | 1;
}

/// A bijection of two lanes for each `binding`, in which every output bit depends on both.
struct Lanes {
  std::uint64_t lane0 = 0, lane1 = 0;
};
LOCKSTEP_HOST_DEVICE constexpr Lanes finalise(Lanes lanes, std::uint64_t binding) {
  lanes.lane0 = mix(lanes.lane0 + binding);
  lanes.lane1 = mix(lanes.lane1 + lanes.lane0);
  lanes.lane0 = mix(lanes.lane0 + lanes.lane1 + kSecondRound);
  lanes.lane1 = mix(lanes.lane1 + lanes.lane0);
  return lanes;
}

/// What counts as a NaN in a word: by element type.
enum class Canon : std::uint8_t { none, float16, bfloat16, float32, float64 };

LOCKSTEP_HOST_DEVICE constexpr std::uint32_t canonical_halves(std::uint32_t word, std::uint32_t infinity,
                                                              std::uint32_t nan) {
  if ((word & 0x7fff) > infinity) word = (word & 0xffff0000) | nan;
  if ((word >> 16 & 0x7fff) > infinity) word = (word & 0xffff) | nan << 16;
  return word;
}

/// Of all types but float64, whose elements take two words.
template <Canon canon>
LOCKSTEP_HOST_DEVICE constexpr std::uint32_t canonical(std::uint32_t word) {
  static_assert(canon != Canon::float64);
  if constexpr (canon == Canon::float16) return canonical_halves(word, 0x7c00, 0x7e00);
  if constexpr (canon == Canon::bfloat16) return canonical_halves(word, 0x7f80, 0x7fc0);
  if constexpr (canon == Canon::float32) return (word & 0x7fffffff) > 0x7f800000 ? 0x7fc00000 : word;
  return word;
}

LOCKSTEP_HOST_DEVICE constexpr std::uint64_t canonical_double(std::uint64_t bits) {
  return (bits & 0x7fffffffffffffff) > 0x7ff0000000000000 ? 0x7ff8000000000000 : bits;
}

}  // namespace lockstep::fingerprint::internal
