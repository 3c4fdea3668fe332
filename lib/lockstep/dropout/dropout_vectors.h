#pragma once
// Expected bits, written by scripts/golden/dropout_vectors. Never edit by hand.

#include <cstdint>
#include <vector>

namespace lockstep {

struct DropoutVector {
  std::uint64_t seed;
  std::int64_t stream, step, first_sample, samples, elements;
  double p;
  std::uint32_t scale;              ///< bits
  std::vector<std::uint32_t> kept;  ///< a bit each, the first element's lowest
};

inline const DropoutVector kDropoutVectors[] = {
    {0x0000000000000000u, 0, 0, 0, 1, 64, 0.5, 0x40000000, {0x0762afce, 0xe0e6bde7}},
    {0x123456789abcdef0u,
     7,
     1000,
     4000000000,
     3,
     37,
     0.1,
     0x3f8e38e4,
     {0xfffffaf7, 0x7fabffff, 0xbeffffe3, 0x000077ff}},
    {0x000000000000002au,
     4294967295,
     4294967295,
     4294967294,
     2,
     70,
     0.9,
     0x41200000,
     {0x00000000, 0x1100000c, 0x40204001, 0x20002021, 0x00000020}},
    {0x0000000000000001u, 3, 2, 5, 4, 3, 0.25, 0x3faaaaab, {0x0000068f}},
};

}  // namespace lockstep
