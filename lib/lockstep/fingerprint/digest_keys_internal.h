#pragma once
// Tables of the digest's word keys, for the CPU.

#include <array>
#include <cstdint>

#include "lockstep/fingerprint/digest_inl.h"

namespace lockstep::fingerprint::internal {

// Behind the keys lie zeros, so that a vector that begins at any key may be loaded whole.
constexpr std::uint64_t kPadding = 64;
using WordKeys = std::array<std::uint32_t, kBlockWords + kPadding>;

constexpr WordKeys make_word_keys(int lane) {
  WordKeys keys{};
  for (std::uint64_t j = 0; j < kBlockWords; ++j) keys[j] = word_key(lane, j);
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

}  // namespace lockstep::fingerprint::internal
