#pragma once
// What torch.randperm, torch.randint and torch.multinomial draw from a CPU generator in PyTorch 2.11, bit for
// bit. Each says how many 32-bit outputs it takes, so that a caller can skip a draw without making it.

#include <cstdint>
#include <span>
#include <vector>

#include "lockstep_loader/order/torch_generator.h"

namespace lockstep::loader {

/// A permutation in as few bytes as its size allows: 4 a number below 2^32, else 8.
class TorchPermutation {
 public:
  /// torch.randperm(size, generator=generator). O(size) time and memory.
  /// Throws Error(invalid_argument) for a negative size.
  TorchPermutation(std::int64_t size, TorchGenerator& generator);

  /// Outputs that a permutation takes: size - 1 (0 for 0 and 1); 2 size from kLargePermutation on.
  static std::uint64_t outputs(std::int64_t size);

  std::int64_t size() const { return size_; }
  std::int64_t operator[](std::int64_t i) const {
    const auto at = static_cast<std::size_t>(i);
    return wide_.empty() ? static_cast<std::int64_t>(narrow_[at]) : wide_[at];
  }

 private:
  std::int64_t size_;
  std::vector<std::uint32_t> narrow_;
  std::vector<std::int64_t> wide_;
};

/// From this size on randperm draws 64 bits an element.
constexpr std::int64_t kLargePermutation = 214748364;

/// torch.randint(high=range, size=out.size(), dtype=int64): range 1 or more.
void torch_randint(std::int64_t range, std::span<std::int64_t> out, TorchGenerator& generator);
/// Outputs that one index takes: 2 from range 2^28 on, else 1.
std::uint64_t torch_randint_outputs(std::int64_t range);

/// torch.multinomial(weights, samples, replacement) for float64 weights. One draw, or any without
/// replacement, depends on the last bit of the system's log1p and, among equal keys, on PyTorch's selection:
/// see README.md. Throws as check_multinomial.
std::vector<std::int64_t> torch_multinomial(std::span<const double> weights, std::int64_t samples,
                                            bool replacement, TorchGenerator& generator);
/// Throws Error(invalid_argument) where PyTorch refuses: weights that are negative, not finite or all zero,
/// more than 2^24 of them, no samples, or more samples without replacement than there are weights.
void check_multinomial(std::span<const double> weights, std::int64_t samples, bool replacement);
/// Outputs that torch_multinomial takes: 2 a sample with replacement and at least two samples, else 2 a
/// weight.
std::uint64_t torch_multinomial_outputs(std::int64_t weights, std::int64_t samples, bool replacement);

}  // namespace lockstep::loader
