#include "lockstep/checksum/crc32c.h"

#include "lockstep/checksum/crc32c_internal.h"

namespace lockstep::checksum {

std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t seed) {
  static const auto update =
      internal::has_crc32c_instruction() ? internal::crc32c_sse42 : internal::crc32c_portable;
  return ~update(~seed, static_cast<const std::uint8_t*>(data), size);
}

}  // namespace lockstep::checksum
