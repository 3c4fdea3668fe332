#pragma once
// The keys of the digest (README, "Keys"), as integers alone, so that every implementation makes the same.
// Persisted in every recording: do not change.

#include <array>
#include <cstdint>

namespace lockstep::fingerprint::internal {

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15;  // 2^64 / golden ratio, odd
// The first 256 bits of pi's fraction: constants with nothing up the sleeve.
constexpr std::uint64_t kWordSeed[2] = {0x243f6a8885a308d3, 0x13198a2e03707344};
constexpr std::uint64_t kBlockSeed[2] = {0xa4093822299f31d0, 0x082efa98ec4e6c89};
constexpr std::uint64_t kShapeSeed = 0x452821e638d01377;  // the next 192 bits
constexpr std::uint64_t kSampleSeed = 0xbe5466cf34e90c6c;
constexpr std::uint64_t kSecondRound = 0xc0ac29b7c97c50dd;
constexpr std::uint64_t kBlockWords = 1024;

/// A bijection of 64 bits (the finaliser of SplitMix64; Steele, Lea, Flood, OOPSLA 2014).
constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// The multiplier of block b in a lane: odd, so that no bit of the block's sum is lost.
constexpr std::uint64_t block_key(int lane, std::uint64_t block) {
  return mix(kBlockSeed[lane] + kGolden * (block + 1)) | 1;
}

// Behind the keys lie zeros, so that a vector that begins at any key may be loaded whole.
constexpr std::uint64_t kPadding = 64;
using WordKeys = std::array<std::uint32_t, kBlockWords + kPadding>;

constexpr WordKeys make_word_keys(int lane) {
  WordKeys keys{};
  for (std::uint64_t j = 0; j < kBlockWords; ++j) {
    keys[j] = static_cast<std::uint32_t>(mix(kWordSeed[lane] + kGolden * (j + 1)) >> 32);
  }
  return keys;
}

alignas(64) inline constexpr WordKeys kWordKeys[2] = {make_word_keys(0), make_word_keys(1)};

/// The same keys one place earlier: where a product reads even places only, these bring the odd words' keys.
constexpr WordKeys one_earlier(const WordKeys& keys) {
  WordKeys earlier{};
  for (std::uint64_t j = 0; j + 1 < keys.size(); ++j) earlier[j] = keys[j + 1];
  return earlier;
}

alignas(64) inline constexpr WordKeys kNextKeys[2] = {one_earlier(kWordKeys[0]), one_earlier(kWordKeys[1])};

constexpr bool all_differ_from_zero() {
  for (const WordKeys& keys : kWordKeys) {
    for (std::uint64_t j = 0; j < kBlockWords; ++j) {
      if (keys[j] == 0) return false;
    }
  }
  return true;
}
static_assert(all_differ_from_zero(), "a word under a zero key would not count");

/// A bijection of two lanes for each `binding`, in which every output bit depends on both.
struct Lanes {
  std::uint64_t lane0 = 0, lane1 = 0;
};
constexpr Lanes finalise(Lanes lanes, std::uint64_t binding) {
  lanes.lane0 = mix(lanes.lane0 + binding);
  lanes.lane1 = mix(lanes.lane1 + lanes.lane0);
  lanes.lane0 = mix(lanes.lane0 + lanes.lane1 + kSecondRound);
  lanes.lane1 = mix(lanes.lane1 + lanes.lane0);
  return lanes;
}

}  // namespace lockstep::fingerprint::internal
