#include <cstring>

#include "lockstep/checksum/crc32c_internal.h"

#if defined(__x86_64__)
#include <nmmintrin.h>

namespace lockstep::checksum::internal {

bool has_crc32c_instruction() { return __builtin_cpu_supports("sse4.2"); }

__attribute__((target("sse4.2"))) std::uint32_t crc32c_sse42(std::uint32_t crc, const std::uint8_t* data,
                                                             std::size_t size) {
  std::uint64_t wide = crc;
  for (; size >= 8; data += 8, size -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  crc = static_cast<std::uint32_t>(wide);
  for (; size > 0; ++data, --size) crc = _mm_crc32_u8(crc, *data);
  return crc;
}

}  // namespace lockstep::checksum::internal

#else

namespace lockstep::checksum::internal {

bool has_crc32c_instruction() { return false; }

std::uint32_t crc32c_sse42(std::uint32_t crc, const std::uint8_t* data, std::size_t size) {
  return crc32c_portable(crc, data, size);
}

}  // namespace lockstep::checksum::internal

#endif
