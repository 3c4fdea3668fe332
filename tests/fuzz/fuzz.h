#pragma once
// What the fuzz programs share. A program is one file fuzz_<name>.cpp with LLVMFuzzerTestOneInput; built by
// clang with LOCKSTEP_FUZZ it is a fuzzer, and by any compiler it replays its corpus as a test.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <span>

#include "lockstep/base/error.h"

namespace lockstep::fuzz {

inline std::span<const std::byte> bytes_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const std::byte*>(data), size};
}

/// Runs `call`. An Error is a good answer to a bad input, unless it says that the library is wrong; any other
/// exception is a finding.
inline void expect_no_bug(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) std::abort();
  }
}

}  // namespace lockstep::fuzz
