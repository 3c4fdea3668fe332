#pragma once
// Where a zero of the planes' borders may stand for a term that does not exist: beside finite values alone.

#include <bit>
#include <cstdint>

namespace lockstep::conv_internal {

/// Neither infinities nor NaN among them.
inline bool all_finite(const float* values, std::int64_t count) {
  constexpr std::uint32_t kExponent = 0x7f800000u;
  std::uint32_t found = 0;
  for (std::int64_t i = 0; i < count; ++i)
    found |= (std::bit_cast<std::uint32_t>(values[i]) & kExponent) == kExponent ? 1u : 0u;
  return found == 0;
}

}  // namespace lockstep::conv_internal
