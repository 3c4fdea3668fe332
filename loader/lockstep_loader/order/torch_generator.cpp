#include "lockstep_loader/order/torch_generator.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "lockstep/base/error.h"

namespace lockstep::loader {
namespace {

// Offsets in the state, little-endian as on every platform that PyTorch is built for.
constexpr std::size_t kSeedOffset = 0;
constexpr std::size_t kLeftOffset = 8;
constexpr std::size_t kSeededOffset = 12;
constexpr std::size_t kNextOffset = 16;
constexpr std::size_t kWordsOffset = 24;
constexpr std::size_t kNormalsOffset = 5016;
constexpr std::size_t kShift = 397;

template <class T>
void store(std::string& bytes, std::size_t offset, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) bytes[offset + i] = static_cast<char>(value >> 8 * i & 0xff);
}

template <class T>
T load(const std::string& bytes, std::size_t offset) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(static_cast<T>(static_cast<unsigned char>(bytes[offset + i])) << 8 * i);
  }
  return value;
}

std::uint32_t twist(std::uint32_t high, std::uint32_t low) {
  const std::uint32_t mixed = (high & 0x80000000) | (low & 0x7fffffff);
  return mixed >> 1 ^ (low & 1 ? 0x9908b0df : 0);
}

[[noreturn]] void bad_state(const char* what, std::string expected, std::string got) {
  fail(ErrorCode::corruption, {"torch generator state", what, std::move(expected), std::move(got),
                               "Pass the bytes of torch.Generator.get_state() of a CPU generator"});
}

}  // namespace

TorchGenerator::TorchGenerator(std::uint64_t seed) : seed_(seed) {
  words_[0] = static_cast<std::uint32_t>(seed);
  for (std::uint32_t i = 1; i < kWords; ++i) {
    words_[i] = 1812433253 * (words_[i - 1] ^ words_[i - 1] >> 30) + i;
  }
}

void TorchGenerator::next_block() {
  for (std::size_t i = 0; i < kWords - kShift; ++i)
    words_[i] = words_[i + kShift] ^ twist(words_[i], words_[i + 1]);
  for (std::size_t i = kWords - kShift; i < kWords - 1; ++i) {
    words_[i] = words_[i + kShift - kWords] ^ twist(words_[i], words_[i + 1]);
  }
  words_[kWords - 1] = words_[kShift - 1] ^ twist(words_[kWords - 1], words_[0]);
  used_ = 0;
  fresh_ = false;
}

std::uint64_t TorchGenerator::random64() {
  const std::uint64_t high = random();
  return high << 32 | random();
}

std::int64_t TorchGenerator::random_int64() {
  return static_cast<std::int64_t>(random64() & ~(std::uint64_t{1} << 63));
}

std::int64_t TorchGenerator::peek_int64() const { return TorchGenerator(*this).random_int64(); }

void TorchGenerator::discard(std::uint64_t outputs) {
  while (outputs > 0) {
    if (used_ == kWords) next_block();
    const auto part = static_cast<std::uint32_t>(std::min<std::uint64_t>(outputs, kWords - used_));
    used_ += part;
    outputs -= part;
  }
}

// PyTorch counts what is left of a block before a draw, not after: a fresh seed has left 1 and next 0; p
// outputs into a block it has next p and left 625 - p.
std::string TorchGenerator::state() const {
  std::string bytes(kStateBytes, '\0');
  store<std::uint64_t>(bytes, kSeedOffset, seed_);
  store<std::uint32_t>(bytes, kLeftOffset, fresh_ ? 1 : static_cast<std::uint32_t>(kWords) + 1 - used_);
  store<std::uint32_t>(bytes, kSeededOffset, 1);
  store<std::uint64_t>(bytes, kNextOffset, fresh_ ? 0 : used_);
  for (std::size_t i = 0; i < kWords; ++i) store<std::uint64_t>(bytes, kWordsOffset + 8 * i, words_[i]);
  std::memcpy(bytes.data() + kNormalsOffset, normals_.data(), normals_.size());
  return bytes;
}

TorchGenerator TorchGenerator::from_state(const std::string& bytes) {
  if (bytes.size() != kStateBytes) {
    bad_state("size", "5056 bytes", std::to_string(bytes.size()) + " bytes");
  }
  const auto left = load<std::uint32_t>(bytes, kLeftOffset);
  const auto seeded = load<std::uint32_t>(bytes, kSeededOffset);
  const auto next = load<std::uint64_t>(bytes, kNextOffset);
  if (seeded != 1) bad_state("seeded", "1", std::to_string(seeded));
  const bool fresh = left == 1 && next == 0;
  if (!fresh && (next < 1 || next > kWords || left != kWords + 1 - next)) {
    bad_state("left and next", "left = 625 - next with next from 1 to 624, or 1 and 0",
              std::to_string(left) + " and " + std::to_string(next));
  }
  TorchGenerator generator(load<std::uint64_t>(bytes, kSeedOffset));
  for (std::size_t i = 0; i < kWords; ++i) {
    const auto word = load<std::uint64_t>(bytes, kWordsOffset + 8 * i);
    if (word >> 32 != 0) bad_state("word", "32 bits", std::to_string(word) + " at " + std::to_string(i));
    generator.words_[i] = static_cast<std::uint32_t>(word);
  }
  generator.fresh_ = fresh;
  generator.used_ = fresh ? static_cast<std::uint32_t>(kWords) : static_cast<std::uint32_t>(next);
  std::memcpy(generator.normals_.data(), bytes.data() + kNormalsOffset, generator.normals_.size());
  return generator;
}

}  // namespace lockstep::loader
