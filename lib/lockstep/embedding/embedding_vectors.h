#pragma once
// Expected bits, written by scripts/golden/embedding_vectors. Never edit by hand.

#include <cmath>
#include <cstdint>
#include <vector>

namespace lockstep {

/// Input number `index`: 24 random bits scaled by 2^-4 … 2^3, so that nearly every operation rounds. Never 0.
inline float embedding_element(std::uint32_t index) {
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(2 * (static_cast<std::int32_t>(word >> 9) - (1 << 22)) + 1),
                    static_cast<int>(word & 7) - 4 - 23);
}

/// The table row that row `row` asks for.
inline std::int64_t embedding_token(std::uint32_t row, std::int64_t vocabulary) {
  return static_cast<std::int64_t>(row * 2654435761u >> 7) % vocabulary;
}

struct EmbeddingVector {
  std::int64_t rows, vocabulary, dim, padding;  ///< dy is elements 0 …
  std::vector<std::uint32_t> total;
};

inline const EmbeddingVector kEmbeddingVectors[] = {
    {1, 2, 3, -1, {0xbdffff9e, 0x3d71bd48, 0xbe8721ba, 0x00000000, 0x00000000, 0x00000000}},
    {40, 3, 2, -1, {0xc01dc507, 0x40e0d9ad, 0xc0c0e792, 0x40908bce, 0xc0a79759, 0x3f7af2f2}},
    {40, 3, 2, 1, {0xc01dc507, 0x40e0d9ad, 0x00000000, 0x00000000, 0xc0a79759, 0x3f7af2f2}},
    {1500,
     5,
     3,
     -1,
     {0x4165f892, 0xc1f3d1ae, 0x418bdaaf, 0x40765384, 0x40e7bd00, 0x41cba43c, 0x41a90754, 0xc18e5513,
      0xc0f58678, 0xc1066564, 0xc1edb0e2, 0x40988528, 0x401d0740, 0xc198fade, 0xc155bd0c}},
    {3000, 2, 1, -1, {0xc14a70d6, 0x41575a73}},
};

}  // namespace lockstep
