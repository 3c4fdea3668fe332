#include "lockstep/base/float_mode.h"

#include <limits>

#include <gtest/gtest.h>

namespace lockstep {
namespace {

#if defined(__x86_64__)
TEST(FloatModeTest, KeepsSubnormalsAndRestores) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);  // flush to zero, denormals are zero: what -ffast-math leaves behind
  volatile float tiny = std::numeric_limits<float>::min(), half = 0.5f;
  volatile float flushed = tiny * half, kept = 0;
  {
    const FloatMode mode;
    kept = tiny * half;
  }
  volatile float flushed_again = tiny * half;
  _mm_setcsr(before);
  EXPECT_EQ(flushed, 0) << "the twin without FloatMode";
  EXPECT_GT(kept, 0);
  EXPECT_EQ(flushed_again, 0) << "the caller's mode is restored";
}
#endif

}  // namespace
}  // namespace lockstep
