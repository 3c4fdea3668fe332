#include <array>
#include <cstring>

#include "lockstep/checksum/crc32c_internal.h"

#if defined(__x86_64__)
#include <nmmintrin.h>

namespace lockstep::checksum::internal {
namespace {

// The instruction takes three cycles but starts one each cycle: three neighbouring parts are run side by
// side, and the first two registers are then moved over the bytes that follow them. Moving over zeros is
// linear in the register, so it is a sum of one table entry for each of its bytes.
constexpr std::size_t kLongPart = 8192;
constexpr std::size_t kShortPart = 256;

constexpr std::uint32_t kPolynomial = 0x82f63b78;

using Shift = std::array<std::array<std::uint32_t, 256>, 4>;

constexpr std::uint32_t over_one_zero_bit(std::uint32_t crc) {
  return crc & 1 ? crc >> 1 ^ kPolynomial : crc >> 1;
}

/// A linear map of 32 bits, as the images of the single bits.
using Map = std::array<std::uint32_t, 32>;

constexpr std::uint32_t apply(const Map& map, std::uint32_t value) {
  std::uint32_t image = 0;
  for (std::size_t bit = 0; bit < 32; ++bit) image ^= value >> bit & 1 ? map[bit] : 0;
  return image;
}

/// Over `bytes` zero bytes, a power of two: one bit's step, doubled.
constexpr Map over_zeros(std::size_t bytes) {
  Map map{};
  for (std::size_t bit = 0; bit < 32; ++bit) map[bit] = over_one_zero_bit(std::uint32_t{1} << bit);
  for (std::size_t bits = 1; bits < 8 * bytes; bits *= 2) {
    Map twice{};
    for (std::size_t bit = 0; bit < 32; ++bit) twice[bit] = apply(map, map[bit]);
    map = twice;
  }
  return map;
}

constexpr Shift make_shift(std::size_t bytes) {
  const Map map = over_zeros(bytes);
  Shift shift{};
  for (std::size_t place = 0; place < 4; ++place) {
    for (std::uint32_t byte = 0; byte < 256; ++byte) shift[place][byte] = apply(map, byte << 8 * place);
  }
  return shift;
}

constexpr Shift kOverLong = make_shift(kLongPart);
constexpr Shift kOverShort = make_shift(kShortPart);

std::uint32_t move_over(const Shift& shift, std::uint64_t crc) {
  return shift[0][crc & 255] ^ shift[1][crc >> 8 & 255] ^ shift[2][crc >> 16 & 255] ^
         shift[3][crc >> 24 & 255];
}

std::uint64_t load(const std::uint8_t* data) {
  std::uint64_t word = 0;
  std::memcpy(&word, data, 8);
  return word;
}

__attribute__((target("sse4.2"))) std::uint64_t three_parts(std::uint64_t crc, const std::uint8_t* data,
                                                            std::size_t part, const Shift& shift) {
  std::uint64_t first = crc, second = 0, third = 0;
  for (std::size_t i = 0; i < part; i += 8) {
    first = _mm_crc32_u64(first, load(data + i));
    second = _mm_crc32_u64(second, load(data + part + i));
    third = _mm_crc32_u64(third, load(data + 2 * part + i));
  }
  return move_over(shift, move_over(shift, first) ^ second) ^ third;
}

}  // namespace

bool has_crc32c_instruction() { return __builtin_cpu_supports("sse4.2"); }

__attribute__((target("sse4.2"))) std::uint32_t crc32c_sse42(std::uint32_t crc, const std::uint8_t* data,
                                                             std::size_t size) {
  std::uint64_t wide = crc;
  for (; size >= 3 * kLongPart; data += 3 * kLongPart, size -= 3 * kLongPart) {
    wide = three_parts(wide, data, kLongPart, kOverLong);
  }
  for (; size >= 3 * kShortPart; data += 3 * kShortPart, size -= 3 * kShortPart) {
    wide = three_parts(wide, data, kShortPart, kOverShort);
  }
  for (; size >= 8; data += 8, size -= 8) wide = _mm_crc32_u64(wide, load(data));
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
