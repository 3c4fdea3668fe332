#pragma once
// For the tests of rooms that compute: a caller whose thread flushes subnormals, as a program linked with
// -ffast-math does.

#include <cstdint>

namespace lockstep {

/// Flushes subnormals in this thread until end(), or until it dies.
class FlushingCaller {
 public:
  FlushingCaller() : before_(mode()) { set_mode(before_ | kFlush); }
  ~FlushingCaller() { set_mode(before_); }
  FlushingCaller(const FlushingCaller&) = delete;
  FlushingCaller& operator=(const FlushingCaller&) = delete;

  /// Whether the thread flushes now.
  static bool flushes() { return (mode() & kFlush) == kFlush; }
  /// Restores the mode from before. Returns whether what was called meanwhile had left the caller's alone.
  bool end() {
    const bool kept = flushes();
    set_mode(before_);
    return kept;
  }

 private:
#if defined(__x86_64__)
  static constexpr std::uint64_t kFlush = 0x8040;  // flush to zero, denormals are zero
  static std::uint64_t mode() { return __builtin_ia32_stmxcsr(); }
  static void set_mode(std::uint64_t mode) { __builtin_ia32_ldmxcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
  static constexpr std::uint64_t kFlush = std::uint64_t{1} << 24;  // FZ
  static std::uint64_t mode() {
    std::uint64_t mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void set_mode(std::uint64_t mode) { asm volatile("msr fpcr, %0" ::"r"(mode)); }
#endif
  std::uint64_t before_;
};

}  // namespace lockstep
