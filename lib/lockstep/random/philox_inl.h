#pragma once
// Philox4x32-10 (Salmon et al., SC 2011) for host and device: the words of philox.h's philox4x32. C++17.

#include <cstdint>

#include "lockstep/base/host_device.h"

namespace lockstep::random {

/// A counter, or the block that it draws.
struct PhiloxWords {
  std::uint32_t w0, w1, w2, w3;
};

/// The key's low 32 bits are Philox's key word 0.
LOCKSTEP_HOST_DEVICE inline PhiloxWords philox_words(std::uint64_t key, PhiloxWords c) {
  auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{c.w0} * 0xd2511f53u, p1 = std::uint64_t{c.w2} * 0xcd9e8d57u;
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c.w1 ^ k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c.w3 ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return c;
}

}  // namespace lockstep::random
