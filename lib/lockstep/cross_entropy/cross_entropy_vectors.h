#pragma once
// Expected bits, written by scripts/golden/cross_entropy_vectors. Never edit by hand.

#include <cmath>
#include <cstdint>

namespace lockstep {

/// Element `index` of every input: 24 random bits scaled by 2^-2 … 2^5.
inline float cross_entropy_element(std::uint32_t index) {
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(static_cast<std::int32_t>(word >> 8) * 2 - (1 << 24) + 1),
                    static_cast<int>(word & 7) - 26);
}

/// Logits are element(0) … element(n - 1); the weight of class j is abs(element(n + j)), or 1; the gradient
/// with respect to the loss is 1/8, label smoothing 0 or 0.1f. The checksum is that of word j times 2 j + 1.
struct CrossEntropyVector {
  std::uint32_t n, target;
  bool weighted, smoothed;
  std::uint32_t loss;
  std::uint64_t gradient;
};

constexpr CrossEntropyVector kCrossEntropyVectors[] = {
    {2, 1, false, false, 0x3ec86078, 0x00000002749745ff},
    {2, 1, false, true, 0x3edb3861, 0x000000027430df97},
    {2, 1, true, false, 0x3f8de8a8, 0x0000000277ab792e},
    {2, 1, true, true, 0x3f8e6e53, 0x000000027757f3e0},
    {10, 3, false, false, 0x4127e103, 0x000000184c8c425d},
    {10, 3, false, true, 0x412c213e, 0x00000042aa6e7db7},
    {10, 3, true, false, 0x431c5059, 0x000000190ee9dcef},
    {10, 3, true, true, 0x4310c0b7, 0x00000042af3223c7},
    {100, 99, false, false, 0x41910be2, 0x0000080af6fa9547},
    {100, 99, false, true, 0x418f66f4, 0x00001ba5dbb4bba6},
    {100, 99, true, false, 0x408dc99f, 0x000007e34351958e},
    {100, 99, true, true, 0x412bdd2b, 0x00001b3598f0ab33},
    {129, 0, false, false, 0x41fbe799, 0x00000a0a83455449},
    {129, 0, false, true, 0x41fb9107, 0x00002d8a5d2ae1a6},
    {129, 0, true, false, 0x41641ca9, 0x000009e54eb996b1},
    {129, 0, true, true, 0x41cbe89c, 0x00002d965e2dc642},
    {300, 128, false, false, 0x41ffd3dc, 0x000036890649b4ca},
    {300, 128, false, true, 0x41ff7399, 0x0000f88fb95590df},
    {300, 128, true, false, 0x4117da5d, 0x00003555457c7434},
    {300, 128, true, true, 0x41a8310d, 0x0000fa2f43000352},
};

}  // namespace lockstep
