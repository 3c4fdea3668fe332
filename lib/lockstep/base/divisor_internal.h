#pragma once
// Division by a number that stays the same, for kernels: a division of 32 bits takes twenty instructions, one
// of 64 a hundred. C++17, for host and device.

#include <cstdint>

#include "lockstep/base/host_device.h"

namespace lockstep::internal {

/// quotient(n) is n / divisor for n from 0 on and a divisor from 1 on.
template <class Index>
class Divisor {
 public:
  explicit Divisor(Index divisor) : divisor_(divisor) {}
  LOCKSTEP_HOST_DEVICE Index value() const { return divisor_; }
  LOCKSTEP_HOST_DEVICE Index quotient(Index n) const { return n / divisor_; }

 private:
  Index divisor_;
};

/// With s the least number for which d ≤ 2^s, the multiplier m = ⌊2^32 · (2^s - d) / d⌋ + 1 makes
/// 2^(32 + s) / d < 2^32 + m ≤ 2^(32 + s) / d + 1, so that n · (2^32 + m) / 2^(32 + s) lies less than
/// n / 2^(32 + s) < 1 / d above n / d, and has its whole part. n · m / 2^32 + n does not reach 2^32.
template <>
class Divisor<std::int32_t> {
 public:
  explicit Divisor(std::int32_t divisor) : divisor_(divisor) {
    while ((std::int64_t{1} << shift_) < divisor) ++shift_;
    const std::uint64_t d = static_cast<std::uint32_t>(divisor);
    multiplier_ = static_cast<std::uint32_t>((((std::uint64_t{1} << shift_) - d) << 32) / d + 1);
  }
  LOCKSTEP_HOST_DEVICE std::int32_t value() const { return divisor_; }
  LOCKSTEP_HOST_DEVICE std::int32_t quotient(std::int32_t n) const {
    const auto dividend = static_cast<std::uint32_t>(n);
    const auto high = static_cast<std::uint32_t>(std::uint64_t{dividend} * multiplier_ >> 32);
    return static_cast<std::int32_t>((high + dividend) >> shift_);
  }

 private:
  std::int32_t divisor_;
  std::uint32_t multiplier_ = 0;
  int shift_ = 0;
};

}  // namespace lockstep::internal
