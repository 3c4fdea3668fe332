#pragma once
// CRC-32C (Castagnoli, RFC 3720 appendix B.4), for framing on disk.

#include <cstddef>
#include <cstdint>

namespace lockstep::checksum {

/// CRC-32C of `size` bytes. Pass a former result as `seed` to continue it: crc32c(b, crc32c(a)) ==
/// crc32c(ab).
std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t seed = 0);

}  // namespace lockstep::checksum
