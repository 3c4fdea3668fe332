#pragma once
// JSON Lines on stdout, buffered; ids or their digest.

#include <csignal>
#include <cstdint>
#include <exception>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "lockstep/checksum/sha256.h"

namespace lockstep::list_samples {

/// Thrown to leave the program: the reader of stdout has gone away, or the user pressed Ctrl-C.
struct Stopped {
  int exit_code = 0;
};

/// Set by the handler of SIGINT.
extern volatile std::sig_atomic_t interrupted;

class Output {
 public:
  Output() = default;
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  template <class... Args>
  void print(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(buffer_), format, std::forward<Args>(args)...);
    flush_when_full();
  }
  /// Appends "1,2,3" to a list that holds items already when `more`.
  void print_ids(std::span<const std::int64_t> ids, bool more);

  /// Throws Stopped when nobody reads any more or Ctrl-C was pressed, Error(io) when stdout cannot be
  /// written.
  void flush();

 private:
  void flush_when_full();

  fmt::memory_buffer buffer_;
};

/// The sha256 of ids as little-endian int64.
class IdsDigest {
 public:
  void add(std::span<const std::int64_t> ids);
  std::int64_t count() const { return count_; }
  std::string hex() { return sha256_.hex(); }

 private:
  checksum::Sha256 sha256_;
  std::int64_t count_ = 0;
};

}  // namespace lockstep::list_samples
