#include <array>
#include <bit>
#include <cstring>

#include "lockstep/checksum/crc32c_internal.h"

namespace lockstep::checksum::internal {
namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78;  // 0x1edc6f41 with its bits reversed

using Table = std::array<std::uint32_t, 256>;

// tables[k][b] is the register after byte b and k zero bytes.
constexpr std::array<Table, 8> make_tables() {
  std::array<Table, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ kPolynomial : crc >> 1;
    tables[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[k - 1][byte];
      tables[k][byte] = before >> 8 ^ tables[0][before & 255];
    }
  }
  return tables;
}

constexpr std::array<Table, 8> kTables = make_tables();

std::uint32_t step(std::uint32_t crc, std::uint8_t byte) { return crc >> 8 ^ kTables[0][(crc ^ byte) & 255]; }

}  // namespace

std::uint32_t crc32c_portable(std::uint32_t crc, const std::uint8_t* data, std::size_t size) {
  static_assert(std::endian::native == std::endian::little);
  for (; size >= 8; data += 8, size -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, 8);
    word ^= crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= kTables[7 - i][word >> 8 * i & 255];
  }
  for (; size > 0; ++data, --size) crc = step(crc, *data);
  return crc;
}

}  // namespace lockstep::checksum::internal
