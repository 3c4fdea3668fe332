#pragma once
// Expected bits, written by scripts/golden/pool_vectors. Never edit by hand.

#include <cmath>
#include <cstdint>

#include "lockstep/pool/pool.h"

namespace lockstep {

/// Input number `index`: 24 random bits scaled by 2^-4 … 2^3, so that nearly every operation rounds. Never 0.
inline float pool_element(std::uint32_t index) {
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(2 * (static_cast<std::int32_t>(word >> 9) - (1 << 22)) + 1),
                    static_cast<int>(word & 7) - 4 - 23);
}

// x and dy are elements 0 … and 1000003 …. A result is given by the FNV-1a hash over its elements' words;
// what an average has none of is 0.

struct PoolVector {
  std::int64_t planes;
  PoolAxis h, w;
  std::uint64_t max, indices, max_dx;
  std::uint64_t average, average_dx;  ///< with padding
  std::uint64_t inner, inner_dx;      ///< without
};

constexpr PoolVector kPoolVectors[] = {
    {2,
     {6, 2, 2, 0, 1, false},
     {8, 2, 2, 0, 1, false},
     0xf2a4eb3b70f6cb1du,
     0x4515c881f3b48954u,
     0xc1b047548679dd79u,
     0x178701a095db835du,
     0x49425bf6fcd692d5u,
     0x178701a095db835du,
     0x49425bf6fcd692d5u},
    {1,
     {7, 3, 2, 1, 1, false},
     {40, 3, 2, 1, 1, false},
     0x5488956db6436025u,
     0x9d8f27b03c7e348au,
     0xcbc55bd515012c9au,
     0xa77a6a5ca7e48967u,
     0x999ce07041fc0980u,
     0xad6340208d57df19u,
     0x47122fcd67146bd3u},
    {2,
     {9, 3, 1, 1, 1, false},
     {23, 3, 1, 1, 1, false},
     0xfe605c78fedb2dd5u,
     0x9f6e2f73953f2ae0u,
     0xfdb3b9c4eaa958c5u,
     0x603624cfeab78556u,
     0xc235d84ae3ba9a8bu,
     0x62f53fcd1fd877deu,
     0x1daadd4e77cabe98u},
    {1,
     {8, 3, 2, 0, 1, true},
     {9, 2, 2, 1, 1, true},
     0x4de08527750a15fdu,
     0xda5dcfd8a4c0fc17u,
     0x2b0fc6e287572ca9u,
     0xce6fe742c53edcb2u,
     0x5982d449efd44e86u,
     0xecbc8789f13edcb2u,
     0xb49f9c4fced44e86u},
    {1,
     {9, 2, 1, 1, 3, false},
     {19, 3, 2, 2, 2, false},
     0x9409a384d6e3b4bbu,
     0x718380788b4c3fd8u,
     0xb72a817f556af5a9u,
     0,
     0,
     0,
     0},
    {1,
     {1, 1, 1, 0, 1, false},
     {30, 4, 3, 1, 1, true},
     0x8e7304a2f79fba67u,
     0x4fd07b88cd6a0df4u,
     0xdb817616d742d51au,
     0x70e4447d173592c3u,
     0xf1e9f7d68fc17e64u,
     0x297c8e5e22ecb7e4u,
     0x930b9bf347c54886u},
    {1,
     {40, 36, 4, 0, 1, false},
     {33, 33, 1, 0, 1, false},
     0xfd9d6069e6780f09u,
     0x08b3ca07b5595afdu,
     0xca6e640fc868fe93u,
     0xa01bcb45fe159257u,
     0xabf80adb86e46f55u,
     0xa01bcb45fe159257u,
     0xabf80adb86e46f55u},
    {1,
     {34, 33, 1, 0, 1, false},
     {34, 33, 1, 0, 1, false},
     0x327e6e93ff1c96f5u,
     0x465c3bbad7b7ca75u,
     0xda6a6f9bbae96755u,
     0xbfe00d8474f61819u,
     0x133732f798d2ce54u,
     0xbfe00d8474f61819u,
     0x133732f798d2ce54u},
};

struct AdaptivePoolVector {
  std::int64_t planes, in_h, in_w, out_h, out_w;
  std::uint64_t y, dx;
};

constexpr AdaptivePoolVector kAdaptivePoolVectors[] = {
    {2, 7, 9, 3, 4, 0x2468dc30ac66ae8au, 0xb526a750e9c7f8bcu},
    {1, 5, 4, 8, 4, 0x331a3e446cc6ae4fu, 0x62c8715cc9110d28u},
    {1, 35, 37, 1, 1, 0xd70fa4cba56ad317u, 0x1906f7f4fa59ed33u},
    {1, 1, 33, 1, 8, 0xb1b80e482d9d30ffu, 0x6040877b190ab8fdu},
};

}  // namespace lockstep
