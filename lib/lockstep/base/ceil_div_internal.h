#pragma once
// C++17, for host and device.

#include <cstdint>

#include "lockstep/base/host_device.h"

namespace lockstep::internal {

/// a / b, rounded up: how many pieces of b cover a. a is 0 or more, b above 0.
LOCKSTEP_HOST_DEVICE constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace lockstep::internal
