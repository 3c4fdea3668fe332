#pragma once
// For the tests of rooms with CUDA twins: arrays in a device's memory, with a guard on both sides.

#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device.h"

namespace lockstep {

/// A suite that is skipped where there is no device.
template <class Suite = testing::Test>
class GpuSuite : public Suite {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
  }
};

/// A copy of `values` in the device's memory, behind `offset` elements, so that a test chooses how far from
/// 16 bytes it lies.
template <class T>
class DeviceValues {
 public:
  explicit DeviceValues(const std::vector<T>& values, std::size_t offset = 0)
      : offset_(offset), buffer_((offset + values.size() + 1) * sizeof(T)) {
    std::vector<T> all(offset, kGuard);
    all.insert(all.end(), values.begin(), values.end());
    all.push_back(kGuard);
    buffer_.copy_from_host(all.data());
  }

  T* data() const { return static_cast<T*>(buffer_.data()) + offset_; }

  /// What the memory holds now, after all work that was submitted before.
  std::vector<T> values() const {
    std::vector<T> all(buffer_.bytes() / sizeof(T));
    buffer_.copy_to_host(all.data());
    EXPECT_EQ(all.back(), kGuard) << "nothing behind the end is written";
    all.pop_back();
    for (std::size_t i = 0; i < offset_; ++i)
      EXPECT_EQ(all[i], kGuard) << "nothing before the array is written";
    all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(offset_));
    return all;
  }

 private:
  static constexpr T kGuard = static_cast<T>(77);
  std::size_t offset_;
  DeviceBuffer buffer_;
};

/// Offsets of operand and result: both on 16 bytes, both as far from it, and apart.
struct DeviceOffsets {
  std::size_t operand, result;
};
constexpr DeviceOffsets kDeviceOffsets[] = {{0, 0}, {1, 1}, {3, 3}, {1, 2}, {0, 3}};

}  // namespace lockstep
