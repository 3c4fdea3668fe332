#pragma once
// Expected bits, written by scripts/golden/norm_vectors. Never edit by hand.

#include <cmath>
#include <cstdint>

namespace lockstep {

/// Input number `index`: 24 random bits scaled by 2^-4 … 2^3, so that nearly every operation rounds. Never 0.
inline float norm_element(std::uint32_t index) {
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(2 * (static_cast<std::int32_t>(word >> 9) - (1 << 22)) + 1),
                    static_cast<int>(word & 7) - 4 - 23);
}

// x, dy, gamma and beta are elements 0 …, 1000003 …, 2000003 … and 3000003 …; eps is 1e-5.
// A result is given by its first element's bits and by the FNV-1a hash over all elements' words.

struct NormVector {
  std::int64_t rows, features;
  bool is_centered;  ///< LayerNorm, else RMSNorm
  std::uint32_t first_y, first_dx, first_dgamma, first_dbeta;
  std::uint64_t y, dx, dgamma, dbeta;
};

constexpr NormVector kNormVectors[] = {
    {3, 5, true, 0x3e938916, 0xc1149943, 0xbedab367, 0xc0429bc0, 0xd8e3f6ca0171b499u, 0x66dba43736a50db0u,
     0x8768a0bd7dd8edafu, 0x37319e61ca52756eu},
    {1, 200, true, 0x3f0f96e6, 0xbfbf4a50, 0xbd90c393, 0x3f2e8756, 0xaafceb930e1e65bcu, 0x28a6eefd74395057u,
     0x83f72563ecbef2beu, 0xa88248868ed34791u},
    {2, 1000, true, 0x3f168461, 0xbfb955ef, 0xbda199d8, 0x3fb73ab2, 0x1675ffa47436201eu, 0x2db2272889c4e302u,
     0x171be48ab83f4f39u, 0x4494bf3865e88499u},
    {1, 9000, true, 0x3f161fd6, 0xbfc17abd, 0xbd34bf69, 0x3f2e8756, 0x6ba2e191716f18e2u, 0x353c95e169a9e575u,
     0x1ea8ce03d4386ee0u, 0xe55eced2235440a5u},
    {1030, 2, true, 0xbcd590fd, 0x3b2ca07c, 0x42e57acf, 0x416723cc, 0x1f4230a6d9d159f9u, 0x3e58ea9c046c620eu,
     0x5e6bde0188dd2242u, 0xee1bb360bad31273u},
    {3, 5, false, 0xbe71920e, 0x404eb211, 0x3e447418, 0xc0429bc0, 0x3895b1627c5874ddu, 0xc0269df6da0da66cu,
     0x16eee6d07762e93au, 0x37319e61ca52756eu},
    {2, 300, false, 0xbd33db2e, 0x3e5e3cff, 0xbd22b8e5, 0x3f26901f, 0x950d5ed4e0dea707u, 0x2e7d93357913ef03u,
     0x29cb0a34eded8060u, 0x728551e8875ca0d5u},
    {1, 8200, false, 0xbd31fdaa, 0x3e5fc799, 0xbd392d58, 0x3f2e8756, 0x6bd3479592aa9864u, 0x58fc0bdea95d311cu,
     0xca6cb3ce9134897fu, 0x9c9fabf417a23ee3u},
};

struct GroupNormVector {
  std::int64_t samples, channels, pixels, groups;
  std::uint32_t first_y, first_dx, first_dgamma, first_dbeta;
  std::uint64_t y, dx, dgamma, dbeta;
};

constexpr GroupNormVector kGroupNormVectors[] = {
    {2, 4, 9, 2, 0x3f1867a5, 0x3e840217, 0x40393809, 0x3f4acdd3, 0x3868cdecc0eff84au, 0xd24f17d11f03b652u,
     0x6c579fea61ad5bf6u, 0x16410fdd75a2835fu},
    {1, 6, 50, 3, 0x3f1ff2df, 0x3e5ed771, 0x403eeff5, 0x40e137a0, 0x95e2bcb188636b3bu, 0xa6922daa87e072d3u,
     0xded2746cab02f2ecu, 0xa684879f8dd09b1du},
    {3, 2, 700, 1, 0x3f188774, 0x3e7a08de, 0x42d6a5f5, 0xc18d3619, 0x75b5a072717c4273u, 0xd5ea362b6945d4c8u,
     0x15151666496687e1u, 0x0773134c873c24feu},
    {2, 8, 1, 4, 0xbcd590fd, 0x3b2ca07c, 0xbde7142d, 0x3fa04324, 0xe8f31e0fd0a88e10u, 0x2248cf6d3f3c9e62u,
     0x3cdbac64bfa71337u, 0x165075f7784e9323u},
};

}  // namespace lockstep
