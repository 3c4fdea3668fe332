#pragma once
// Expected bits, written by scripts/golden/attention_vectors. Never edit by hand.

#include <cmath>
#include <cstdint>

namespace lockstep {

/// Element `index` of every input: 24 random bits scaled by 2^-2 … 2^5.
inline float attention_element(std::uint32_t index) {
  const std::uint32_t word = index * 2654435761u + 12345u;
  return std::ldexp(static_cast<float>(static_cast<std::int32_t>(word >> 8) * 2 - (1 << 24) + 1),
                    static_cast<int>(word & 7) - 26);
}

/// One sample and head, scale 2^-6. q, k, v and d_o are the elements one after the other; `causal` is
/// Causal's number. Checksums: the sum of word j * (2 j + 1).
struct AttentionVector {
  std::int64_t queries, keys, head_size, value_size;
  int causal;
  std::uint64_t o, lse, d_q, d_k, d_v;
};

constexpr AttentionVector kAttentionVectors[] = {
    {1, 1, 1, 1, 0, 0x00000000bf8721b9, 0x00000000baf1bcf0, 0x0000000000000000, 0x0000000000000000,
     0x0000000040354d3b},
    {3, 5, 4, 3, 0, 0x0000002514d78938, 0x0000000240a8dcfe, 0x0000004c98a1bbfa, 0x000000b6653bba8d,
     0x0000008754e5ace3},
    {5, 5, 4, 3, 1, 0x0000006c81814dca, 0x000000082c52248a, 0x000000ab685aba3c, 0x000000d4c384209a,
     0x0000007b5c585e4f},
    {2, 64, 3, 2, 0, 0x0000000b77242b9d, 0x00000001028c5511, 0x000000110817e070, 0x00003f514f0667a3,
     0x00002ed4310ea5a5},
    {4, 70, 5, 2, 2, 0x000000232af9090b, 0x000000040b972977, 0x0000008fa55d82d6, 0x0000f2cc3470bee8,
     0x000026cd1bfe7400},
    {66, 66, 2, 2, 1, 0x00001e1c5f4681a4, 0x0000044a70f587eb, 0x0000209a688f1705, 0x00002110e55dcddf,
     0x000024ad430ec2e6},
    {2, 200, 3, 1, 0, 0x000000017a315453, 0x00000001033357f3, 0x000000165ad1ef73, 0x000283763562d678,
     0x000073ea9931f260},
    {1, 1100, 2, 1, 0, 0x000000003d8fa951, 0x0000000040e03493, 0x000000017e0d199b, 0x0022d0d81ea93de8,
     0x00045b8bcb498b0d},
    {1030, 3, 1, 1, 0, 0x000c095c3c1d46ea, 0x000404d8493d12e4, 0x0007d41d8ade4112, 0x00000005433ae8ba,
     0x00000006c8be93e6},
};

}  // namespace lockstep
