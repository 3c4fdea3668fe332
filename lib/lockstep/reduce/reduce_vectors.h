#pragma once
// Expected bits, written by scripts/golden/reduce_vectors. Never edit by hand.

#include <cmath>
#include <cstdint>

namespace lockstep {

/// Input number `index`: 24 random bits scaled by 2^-4 … 2^3, so that nearly every operation rounds. Never 0.
inline float reduce_element(std::uint32_t index) {
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(2 * (static_cast<std::int32_t>(word >> 9) - (1 << 22)) + 1),
                    static_cast<int>(word & 7) - 4 - 23);
}

struct ReduceVector {
  std::int64_t axis;                                   ///< the axis is elements 0 … axis - 1
  std::uint32_t sum, mean, variance, variance_of_all;  ///< with correction 1 and 0
};

constexpr ReduceVector kReduceVectors[] = {
    {2, 0xbd8720fa, 0xbd0720fa, 0x3c8ab369, 0x3c0ab369},
    {3, 0xbea8e9f9, 0xbde137f7, 0x3cd6fbf8, 0x3c8f52a5},
    {64, 0x40b4a619, 0x3db4a619, 0x3fed1b1e, 0x3fe966b2},
    {127, 0xc0193054, 0xbc9a651e, 0x40659729, 0x4063c85d},
    {128, 0xc0194428, 0xbc994428, 0x4063c867, 0x406200d6},
    {129, 0xc01f8858, 0xbc9e4bc0, 0x406201a4, 0x40604122},
    {1000, 0xc0ef5f1a, 0xbbf51dcd, 0x4063545d, 0x40631a2b},
    {8192, 0x411cf650, 0x3a9cf650, 0x40637e12, 0x406376f6},
    {8193, 0x411eb322, 0x3a9eae2d, 0x406376fc, 0x40636fe1},
    {10000, 0xc19ba762, 0xbaff05f4, 0x4062ea7d, 0x4062e4ae},
    {140001, 0xc0bef074, 0xb832c2f3, 0x40638701, 0x40638696},
};

}  // namespace lockstep
