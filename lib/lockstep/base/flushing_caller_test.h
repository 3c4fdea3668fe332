#pragma once
// For the tests of rooms that compute: a caller whose thread flushes subnormals, as a program linked with
// -ffast-math does. x86 alone.

namespace lockstep {

/// Flushes subnormals in this thread until end(), or until it dies.
class FlushingCaller {
 public:
  FlushingCaller() : before_(__builtin_ia32_stmxcsr()) {
    __builtin_ia32_ldmxcsr(before_ | kFlushAndDenormalsAreZero);
  }
  ~FlushingCaller() { __builtin_ia32_ldmxcsr(before_); }
  FlushingCaller(const FlushingCaller&) = delete;
  FlushingCaller& operator=(const FlushingCaller&) = delete;

  /// Whether the thread flushes now.
  static bool flushes() {
    return (__builtin_ia32_stmxcsr() & kFlushAndDenormalsAreZero) == kFlushAndDenormalsAreZero;
  }
  /// Restores the mode from before. Returns whether what was called meanwhile had left the caller's alone.
  bool end() {
    const bool kept = flushes();
    __builtin_ia32_ldmxcsr(before_);
    return kept;
  }

 private:
  static constexpr unsigned kFlushAndDenormalsAreZero = 0x8040;
  unsigned before_;
};

}  // namespace lockstep
