#pragma once
// SHA-256 (FIPS 180-4), for what people compare with other tools (`sha256sum`, Python's hashlib).

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace lockstep::checksum {

class Sha256 {
 public:
  Sha256();
  void update(const void* data, std::size_t size);
  /// Finishes; the object must not be used again.
  std::array<std::uint8_t, 32> digest();
  std::string hex();  ///< digest() as 64 lower-case digits

 private:
  void block(const std::uint8_t* data);

  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> buffer_;
  std::uint64_t size_ = 0;
};

}  // namespace lockstep::checksum
