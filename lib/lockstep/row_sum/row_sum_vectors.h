#pragma once
// Expected bits, written by scripts/golden/row_sum_vectors. Never edit by hand.

#include <cmath>
#include <cstdint>

namespace lockstep {

/// Element `index` of every input: 24 random bits scaled by 2^-4 … 2^3, so that nearly every operation
/// rounds.
inline float row_sum_element(std::uint32_t index) {
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(static_cast<std::int32_t>(word >> 8) - (1 << 23)),
                    static_cast<int>(word & 7) - 4 - 23);
}

/// x holds element(0) …, y element(100000) …, total element(200000) … and open element(300000) … before the
/// call. The digests of sums and of sums of products are FNV-1a, a word a step, over the bits of total and,
/// where the span leaves a chunk open, of open behind it.
struct RowSumVector {
  int cols, first_row, rows;
  bool last;
  std::uint32_t sums, products;
};

constexpr RowSumVector kRowSumVectors[] = {
    {3, 0, 1, true, 0xab57a0f0, 0x83f9e3f7},       {2, 0, 1023, false, 0x40679064, 0xbac29129},
    {17, 0, 1024, true, 0x2d9cc26d, 0x1a903936},   {5, 0, 1024, false, 0x4bc690cd, 0x5c3a0479},
    {3, 0, 2500, true, 0xc3aa5948, 0x83142386},    {3, 0, 2500, false, 0xe0c50971, 0xadf6166c},
    {4, 1000, 24, false, 0x8836e9c1, 0x4dc2cfe0},  {33, 1000, 25, false, 0xdc58ac0c, 0x81a10cc4},
    {1, 5000, 100, false, 0xf34b74d9, 0x59dadac9}, {2, 3072, 2048, false, 0x723fe6e4, 0x4749e73b},
    {2, 700, 2000, true, 0x12e96751, 0xa5aefcfb},
};

}  // namespace lockstep
