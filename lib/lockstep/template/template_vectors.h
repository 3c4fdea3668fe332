#pragma once
// Expected bits, written by scripts/golden/template_vectors. Never edit by hand.

#include <cmath>
#include <cstdint>

namespace lockstep {

/// Element `index` of every input: 24 random bits scaled by 2^-8 … 2^7, so that nearly every add rounds.
inline float template_op_element(std::uint32_t index) {
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(static_cast<std::int32_t>(word >> 8) - (1 << 23)),
                    static_cast<int>(word & 15) - 8 - 23);
}

struct TemplateOpVector {
  std::uint32_t features;  ///< the row is element(0) … element(features - 1)
  std::uint32_t bits;      ///< of its lane sum
};

constexpr TemplateOpVector kTemplateOpVectors[] = {
    {0, 0x00000000},    {1, 0xbfffffa0},    {2, 0xbf8720fc},     {127, 0xc29864bd},
    {128, 0xc2986ea7},  {129, 0xc29b90bf},  {1000, 0xc3b2aa9e},  {8192, 0xc34c507d},
    {8193, 0xc34a93a1}, {9216, 0xc339d04e}, {20000, 0x4283e175},
};

}  // namespace lockstep
