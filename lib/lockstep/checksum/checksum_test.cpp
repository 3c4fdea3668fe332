#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/checksum/crc32c.h"
#include "lockstep/checksum/crc32c_internal.h"
#include "lockstep/checksum/sha256.h"

namespace lockstep::checksum {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes pattern(std::size_t size) {
  std::uint32_t state = 1;
  Bytes bytes(size);
  for (std::uint8_t& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::uint8_t>(state >> 24);
  }
  return bytes;
}

/// One bit after the other, from the polynomial alone.
std::uint32_t crc32c_by_bits(const Bytes& bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
  }
  return ~crc;
}

using Update = std::uint32_t (*)(std::uint32_t, const std::uint8_t*, std::size_t);

class Crc32c : public testing::TestWithParam<Update> {
 protected:
  static std::uint32_t of(const Bytes& bytes) { return ~GetParam()(~0u, bytes.data(), bytes.size()); }
};

std::vector<Update> forms() {
  std::vector<Update> all{internal::crc32c_portable};
  if (internal::has_crc32c_instruction()) all.push_back(internal::crc32c_sse42);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Forms, Crc32c, testing::ValuesIn(forms()));

TEST_P(Crc32c, GivesTheVectorsOfRfc3720) {
  Bytes ascending(32);
  for (std::size_t i = 0; i < 32; ++i) ascending[i] = static_cast<std::uint8_t>(i);
  Bytes descending(ascending.rbegin(), ascending.rend());
  EXPECT_EQ(of(Bytes(32, 0)), 0x8a9136aau);
  EXPECT_EQ(of(Bytes(32, 0xff)), 0x62a8ab43u);
  EXPECT_EQ(of(ascending), 0x46dd794eu);
  EXPECT_EQ(of(descending), 0x113fdb5cu);
  EXPECT_EQ(of(Bytes{'1', '2', '3', '4', '5', '6', '7', '8', '9'}), 0xe3069283u);
  EXPECT_EQ(of({}), 0u);
}

TEST_P(Crc32c, AgreesWithTheDefinitionAtEveryLength) {
  for (std::size_t size = 0; size < 700; ++size)
    EXPECT_EQ(of(pattern(size)), crc32c_by_bits(pattern(size))) << size;
  for (const std::size_t size : {3071, 3072, 3073, 24575, 24576, 24577, 24600, 50000, 100003}) {
    EXPECT_EQ(of(pattern(size)), crc32c_by_bits(pattern(size))) << size;
  }
}

TEST_P(Crc32c, DoesNotDependOnAlignment) {
  const Bytes bytes = pattern(30000);
  const std::uint32_t expected = of(bytes);
  for (std::size_t offset = 1; offset < 16; ++offset) {
    Bytes moved(offset + bytes.size());
    std::copy(bytes.begin(), bytes.end(), moved.begin() + static_cast<std::ptrdiff_t>(offset));
    EXPECT_EQ(~GetParam()(~0u, moved.data() + offset, bytes.size()), expected) << offset;
  }
}

TEST(Crc32cPublic, ContinuesAtEveryCut) {
  const Bytes bytes = pattern(1000);
  const std::uint32_t whole = crc32c(bytes.data(), bytes.size());
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(crc32c(bytes.data() + cut, bytes.size() - cut, crc32c(bytes.data(), cut)), whole) << cut;
  }
  EXPECT_NE(crc32c(bytes.data() + 500, 500) + crc32c(bytes.data(), 500), whole) << "a CRC is no sum";
  EXPECT_EQ(crc32c(nullptr, 0, 77), 77u);
}

TEST(Crc32cPublic, ShowsEveryFlippedBit) {
  Bytes bytes = pattern(200);
  const std::uint32_t before = crc32c(bytes.data(), bytes.size());
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_NE(crc32c(bytes.data(), bytes.size()), before);
    bytes[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
  }
}

std::string sha256_of(const std::string& text) {
  Sha256 hash;
  hash.update(text.data(), text.size());
  return hash.hex();
}

TEST(Sha256Test, GivesNistsVectors) {
  EXPECT_EQ(sha256_of(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_of("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_of(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// The padding's edges, against Python's hashlib on the same bytes.
TEST(Sha256Test, PadsAtEveryEdge) {
  const std::array<std::pair<std::size_t, const char*>, 6> vectors{
      {{55, "3ca61aefed89811cfdd5fc5a131c73250d6d556ad6e379e98fc0a748dc6c712e"},
       {56, "23b83c1957dcbf2cc769ea265de2496d530679398ab1eaee60ed3a9924952961"},
       {57, "b2914ff5669aa8cceb7d3b50b72ac4a85fab8ece8ade05c063437b6f61666594"},
       {63, "1b1e8a91273dfa48857490c590e219ed7a3b4a5a2529f8f140c690314d866d5a"},
       {64, "bcaa0c51106feb59b9a6709083e54b7744602caa23c59224ebb4651341e64fc3"},
       {65, "15e8208179c167a401c50467c80c0bd0233654a32121a7e5b9cde0b11838c851"}}};
  for (const auto& [size, expected] : vectors) {
    const Bytes bytes = pattern(size);
    Sha256 hash;
    hash.update(bytes.data(), bytes.size());
    EXPECT_EQ(hash.hex(), expected) << size;
  }
}

TEST(Sha256Test, DoesNotDependOnTheCut) {
  const Bytes bytes = pattern(300);
  Sha256 whole;
  whole.update(bytes.data(), bytes.size());
  const std::string expected = whole.hex();
  for (const std::size_t cut : {1, 3, 55, 63, 64, 65, 128, 299}) {
    Sha256 hash;
    for (std::size_t first = 0; first < bytes.size(); first += cut) {
      hash.update(bytes.data() + first, std::min(cut, bytes.size() - first));
      hash.update(nullptr, 0);
    }
    EXPECT_EQ(hash.hex(), expected) << cut;
  }
}

}  // namespace
}  // namespace lockstep::checksum
