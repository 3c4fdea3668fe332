#pragma once
// PyTorch's CPU generator (torch.Generator): MT19937 and the draws that a data loader makes, bit for bit
// those of 2.11. The rules are in README.md ("Torch order"). CPU only: what CUDA's generator draws depends on
// the device.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace lockstep::loader {

/// A value type of 5 KB; not shared between threads.
class TorchGenerator {
 public:
  static constexpr std::size_t kStateBytes = 5056;

  /// As torch.Generator().manual_seed(seed): a negative seed is its 64 bits. Only the low 32 decide what is
  /// drawn.
  explicit TorchGenerator(std::uint64_t seed);

  std::uint64_t seed() const { return seed_; }

  /// One output.
  std::uint32_t random() {
    if (used_ == kWords) next_block();
    std::uint32_t word = words_[used_++];
    word ^= word >> 11;
    word ^= word << 7 & 0x9d2c5680;
    word ^= word << 15 & 0xefc60000;
    return word ^ word >> 18;
  }
  std::uint64_t random64();             ///< two outputs, the first is the high half
  std::int64_t random_int64();          ///< torch.empty((), dtype=int64).random_(): random64() mod 2^63
  void discard(std::uint64_t outputs);  ///< as so many random(), only faster

  /// The int64 that random_int64() would give; nothing is drawn.
  std::int64_t peek_int64() const;

  /// torch.Generator.get_state(): 5,056 bytes. The generator of normal draws, which no sampler uses, is
  /// carried along.
  std::string state() const;
  /// torch.Generator.set_state(). Throws Error(corruption) for bytes of another size or with fields that no
  /// generator has.
  static TorchGenerator from_state(const std::string& bytes);

  bool operator==(const TorchGenerator&) const = default;

 private:
  static constexpr std::size_t kWords = 624;

  void next_block();

  std::uint64_t seed_ = 0;
  std::uint32_t used_ = kWords;  // outputs taken from the block; a fresh seed has none to give
  bool fresh_ = true;
  std::array<std::uint32_t, kWords> words_{};
  std::array<unsigned char, kStateBytes - 5016> normals_{};  // cached normal draws, as they lie in the state
};

using TorchGeneratorPtr = std::shared_ptr<TorchGenerator>;

}  // namespace lockstep::loader
