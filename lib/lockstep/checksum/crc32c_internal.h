#pragma once
// The two forms of CRC-32C. Both take and give the register without the complement at either end.

#include <cstddef>
#include <cstdint>

namespace lockstep::checksum::internal {

/// Slicing by eight tables: any machine.
std::uint32_t crc32c_portable(std::uint32_t crc, const std::uint8_t* data, std::size_t size);

/// The crc32 instruction. Call it only where has_crc32c_instruction().
std::uint32_t crc32c_sse42(std::uint32_t crc, const std::uint8_t* data, std::size_t size);
bool has_crc32c_instruction();

}  // namespace lockstep::checksum::internal
