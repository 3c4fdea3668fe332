#pragma once
// The state of the floating-point unit that the contracts ask for (section 7): round to nearest, subnormals
// kept.

#if defined(__x86_64__)
#include <immintrin.h>
#else
#include <cfenv>
#endif

namespace lockstep {

/// Holds the calling thread in the default mode for the life of the object, and then restores what was set
/// before: a program that is linked with -ffast-math starts with subnormals flushed to zero. Exception flags
/// of the duration are dropped.
class FloatMode {
 public:
#if defined(__x86_64__)
  FloatMode() : before_(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~FloatMode() { _mm_setcsr(before_); }
#else
  FloatMode() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FloatMode() { std::fesetenv(&before_); }
#endif
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr unsigned kDefault =
      0x1f80;  // every exception masked, nearest, neither flush nor denormals-are-zero
  unsigned before_;
#else
  std::fenv_t before_;
#endif
};

}  // namespace lockstep
