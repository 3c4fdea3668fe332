#pragma once
// For the tests of rooms that compute: what of a value is promised.

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

namespace lockstep {

/// Every NaN is one: its payload is outside the promise.
inline std::uint32_t bits(float value) {
  return std::isnan(value) ? 0x7fc00000u : std::bit_cast<std::uint32_t>(value);
}

inline std::vector<std::uint32_t> bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> words;
  for (const float value : values) words.push_back(bits(value));
  return words;
}

}  // namespace lockstep
