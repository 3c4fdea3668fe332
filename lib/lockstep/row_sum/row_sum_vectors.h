#pragma once
// Expected bits, written by scripts/golden/row_sum_vectors. Never edit by hand.

#include <cmath>
#include <cstdint>

namespace lockstep {

/// Element `index` of every input: 24 random bits scaled by 2^-32 … 2^31, so that most sums round in fp64
/// too.
inline float row_sum_element(std::uint32_t index) {
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(static_cast<std::int32_t>(word >> 8) - (1 << 23)),
                    static_cast<int>(word & 63) - 32 - 23);
}

/// x holds element(0) …, y element(100000) …, total element(200000) … and open element(300000) … before the
/// call. The digests of sums and of sums of products are FNV-1a, a word a step, over the bits of total and,
/// where the span leaves a chunk open, of open behind it; the low word of a value first.
struct RowSumVector {
  int cols, first_row, rows;
  bool last;
  std::uint32_t sums, products;
};

constexpr RowSumVector kRowSumVectors[] = {
    {3, 0, 1, true, 0xdc17f0c2, 0x962b881f},       {2, 0, 1023, false, 0x573eb004, 0x99b13f0a},
    {17, 0, 1024, true, 0xf22c2536, 0x6c3e77f5},   {5, 0, 1024, false, 0x9f9471a4, 0xd3512ec8},
    {3, 0, 2500, true, 0xb142038c, 0xc1237ff5},    {3, 0, 2500, false, 0x84ab62ef, 0xa40e895c},
    {4, 1000, 24, false, 0x8c760e5f, 0x7a0893e5},  {33, 1000, 25, false, 0x368b4275, 0x4aa60bbf},
    {1, 5000, 100, false, 0x427e26da, 0x4656b576}, {2, 3072, 2048, false, 0x63647161, 0xfdfb531e},
    {2, 700, 2000, true, 0x1b8b888c, 0x042898e9},
};

}  // namespace lockstep
