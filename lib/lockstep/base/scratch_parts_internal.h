#pragma once
// For rooms whose CUDA twins work in scratch that the caller passes. C++17.

#include <cstdint>

namespace lockstep::internal {

/// Gives out parts of the scratch, each on a boundary of 256 bytes; from null it only counts.
class ScratchParts {
 public:
  explicit ScratchParts(void* scratch) : scratch_(static_cast<char*>(scratch)) {}

  template <class T>
  void take(T*& part, std::int64_t count) {
    part = scratch_ == nullptr ? nullptr : reinterpret_cast<T*>(scratch_ + bytes_);
    bytes_ += (count * static_cast<std::int64_t>(sizeof(T)) + 255) / 256 * 256;
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  char* scratch_;
  std::int64_t bytes_ = 0;
};

}  // namespace lockstep::internal
