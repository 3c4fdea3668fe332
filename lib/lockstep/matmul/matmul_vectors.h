#pragma once
// Expected bits, written by scripts/golden/matmul_vectors. Never edit by hand.

#include <cmath>
#include <cstdint>

namespace lockstep {

/// Element `index` of every input: 24 random bits scaled by 2^-4 … 2^3, so that nearly every operation
/// rounds.
inline float matmul_element(std::uint32_t index) {
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(static_cast<std::int32_t>(word >> 8) - (1 << 23)),
                    static_cast<int>(word & 7) - 4 - 23);
}

/// a holds element(0) …, b element(100000) …, c element(200000) … before the product, the bias
/// element(300000) …, all row-major. `digest` is FNV-1a over the bits of c, a word a step.
struct MatmulVector {
  int m, n, k;
  float alpha, beta;
  bool has_bias;
  std::uint32_t digest;
};

constexpr MatmulVector kMatmulVectors[] = {
    {1, 1, 0, 1.0f, 0.0f, false, 0x050c5d1f},    {2, 3, 0, 2.0f, 0.5f, true, 0xe090017d},
    {1, 1, 1, 1.0f, 0.0f, false, 0xa7d72ff5},    {3, 2, 17, 1.0f, 0.0f, false, 0x21a5d3e0},
    {2, 2, 1023, 1.0f, 0.0f, false, 0xe2d22af7}, {2, 2, 1024, 1.0f, 1.0f, false, 0x921b20b3},
    {2, 2, 1025, 1.0f, 0.0f, true, 0x8222361c},  {1, 3, 2048, 0.1f, 0.0f, false, 0x6044b7bb},
    {2, 2, 2500, -1.7f, 0.3f, true, 0x23565373}, {1, 2, 3073, 1.0f, 1.0f, true, 0xf49016c9},
};

/// a, b, total and open as a, b, c and the bias above. `digest` is that of total and, where the span leaves a
/// chunk open, of open behind it.
struct MatmulFoldVector {
  int m, n, first_row, rows;
  bool last;
  std::uint32_t digest;
};

constexpr MatmulFoldVector kMatmulFoldVectors[] = {
    {2, 2, 0, 1, true, 0x9f5f4cc3},       {2, 3, 0, 1024, true, 0xe3cebc3e},
    {2, 2, 0, 1500, true, 0x7786dcfe},    {2, 2, 0, 1500, false, 0x436ef82f},
    {1, 2, 1000, 24, false, 0xb941ccb5},  {2, 2, 1000, 25, false, 0x44a26e12},
    {2, 2, 5000, 100, false, 0x9806ebed}, {2, 1, 3072, 2048, false, 0x3d692947},
    {1, 2, 700, 2000, true, 0x47edc993},
};

}  // namespace lockstep
