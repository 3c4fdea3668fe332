#pragma once
// For tests of rooms with a CUDA twin: a vector's elements in the memory of a CUDA device.

#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

#include "lockstep/base/device.h"

namespace lockstep {

template <class T>
class OnDevice {
 public:
  explicit OnDevice(std::vector<T> values) : count_(values.size()), buffer_((count_ + 1) * sizeof(T)) {
    values.push_back(T());  // one to spare, so that no buffer is empty
    buffer_.copy_from_host(values.data());
  }

  T* data() { return static_cast<T*>(buffer_.data()); }
  std::vector<T> values() const {
    std::vector<T> result(count_ + 1);
    buffer_.copy_to_host(result.data());
    result.pop_back();
    return result;
  }

 private:
  std::size_t count_;
  DeviceBuffer buffer_;
};

/// A suite that is skipped on a machine without a CUDA device.
class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_count() == 0) GTEST_SKIP() << cuda_trouble();
  }
};

}  // namespace lockstep
