#pragma once
// Expected bits, written by scripts/golden/softmax_vectors. Never edit by hand.

#include <cmath>
#include <cstdint>

namespace lockstep {

/// Element `index` of every input: 24 random bits scaled by 2^-2 … 2^5.
inline float softmax_element(std::uint32_t index) {
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(static_cast<std::int32_t>(word >> 8) * 2 - (1 << 24) + 1),
                    static_cast<int>(word & 7) - 26);
}

/// x is element(0) … element(n - 1), dy is element(n) … element(2 n - 1). Checksums: the sum of word j * (2 j
/// + 1).
struct SoftmaxVector {
  std::uint32_t n;
  std::uint64_t softmax, log_softmax, softmax_backward, log_softmax_backward;
};

constexpr SoftmaxVector kSoftmaxVectors[] = {
    {1, 0x000000003f800000, 0x0000000000000000, 0x0000000000000000, 0x0000000000000000},
    {2, 0x00000000fc2d173f, 0x00000002fbe97117, 0x000000017d67efce, 0x000000017f4334d7},
    {10, 0x000000152d6988ba, 0x0000004b11d2dad4, 0x0000003101566b69, 0x0000002d47e5a381},
    {100, 0x000007d7df6efa35, 0x00001d84dec9fe57, 0x0000151a36b973e3, 0x0000140ae1f9826e},
    {128, 0x00000a427117cd56, 0x00003077c8cf72d4, 0x00000b489f885440, 0x00001f9e8cf21875},
    {129, 0x00000a6b6e05e958, 0x0000313a85d42f87, 0x00001c4888dfa19c, 0x0000202603797a7a},
    {300, 0x00003800b04a0e39, 0x00010a53062382e2, 0x0000736306d70c46, 0x0000af1afe3987be},
    {1000, 0x0002630c53f27d0d, 0x000b8fad0de01a80, 0x00029f65034aaf23, 0x0007976de4eba0d1},
};

}  // namespace lockstep
