#pragma once
// Expected bits, written by scripts/golden/conv_vectors. Never edit by hand.

#include <cmath>
#include <cstdint>

#include "lockstep/conv/conv.h"

namespace lockstep {

/// Input number `index`: 24 random bits scaled by 2^-4 … 2^3, so that nearly every operation rounds. Never 0.
inline float conv_element(std::uint32_t index) {
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(2 * (static_cast<std::int32_t>(word >> 9) - (1 << 22)) + 1),
                    static_cast<int>(word & 7) - 4 - 23);
}

// x, dy, weight and bias are elements 0 …, 1000003 …, 2000003 … and 3000003 …. A result is given by the
// FNV-1a hash over its elements' words.

struct ConvVector {
  ConvGeometry geometry;
  std::uint64_t y, dx, dweight, dbias;
};

constexpr ConvVector kConvVectors[] = {
    {{2, 2, 5, 6, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1},
     0x2ded2f1e580ff577u,
     0xcec29aca91dc517au,
     0xf284bf72d95ffeaeu,
     0xc6c47a592e314817u},
    {{1, 4, 7, 5, 6, 3, 2, 2, 1, 1, 0, 1, 2, 2},
     0x8de1fc42c0e99ad8u,
     0xc265696401c8e78eu,
     0x9ef1067c829eca76u,
     0xcd6787c1383f3531u},
    {{3, 3, 1, 9, 2, 1, 4, 1, 3, 0, 2, 1, 1, 1},
     0x7a7c3333ff70bca3u,
     0xf83568c8f9596e87u,
     0x582b737816236ff8u,
     0x8602fbad8fce3b32u},
    {{1, 130, 3, 3, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1},
     0xe9d5449cbe1fc698u,
     0xb25997acf8ef6612u,
     0x61941c1df959a012u,
     0xc8b7d7aa260ba00du},
    {{2, 1, 25, 23, 2, 2, 2, 1, 1, 0, 0, 1, 1, 1},
     0xa1982d4b6a51e521u,
     0x58ec0635db285626u,
     0x86292cca29a78887u,
     0xd00e311d3121f852u},
    {{1, 1, 6, 6, 116, 3, 3, 2, 2, 2, 2, 2, 2, 1},
     0x7f47118c0e35f615u,
     0x2b66a4a3fd5230ceu,
     0xd2f585268f25ded9u,
     0xc3aa85b08d1bacf7u},
    {{1, 3, 4, 4, 3, 1, 1, 1, 1, 0, 0, 1, 1, 3},
     0xd31787a72f9c3230u,
     0x825c782fab3b8130u,
     0xdb5e25e0e36929e5u,
     0xf67f39a416427b85u},
};

}  // namespace lockstep
