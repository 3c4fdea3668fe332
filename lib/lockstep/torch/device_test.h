#pragma once
// For the tests that run on a CUDA device, and in the same form on the CPU where there is none.

#include <dlfcn.h>
#include <string>

#include <gtest/gtest.h>

#include <torch/torch.h>

#include "lockstep/base/device.h"
#include "lockstep/torch/environment.h"

namespace lockstep {

/// Why no tensor can be made on a CUDA device; empty when one can. Asked before anything else asks LibTorch.
inline const std::string& no_cuda_tensors() {
  static const std::string trouble = [] {
    try {
      cuda_device();
      return std::string();
    } catch (const std::exception& error) {
      return std::string(error.what());
    }
  }();
  return trouble;
}

/// "cpu" or "cuda"; skipped without a device.
class OnEachDevice : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (device().is_cuda() && !no_cuda_tensors().empty()) GTEST_SKIP() << no_cuda_tensors();
  }
  static at::Device device() { return at::Device(GetParam()); }
};

class GpuTensors : public testing::Test {
 protected:
  void SetUp() override {
    if (!no_cuda_tensors().empty()) GTEST_SKIP() << no_cuda_tensors();
  }
};

/// What a stream is given between begin() and end(), as a graph. Whatever waits for the stream ends the
/// capture with an error. By the driver's own entry points, which need no header of CUDA's.
class GraphCapture {
 public:
  explicit GraphCapture(void* stream) : stream_(stream) {}

  void begin() { check("cuStreamBeginCapture_v2", stream_, kThreadLocal); }
  void end() { check("cuStreamEndCapture", stream_, &graph_); }
  void launch() {
    if (executable_ == nullptr) check("cuGraphInstantiateWithFlags", &executable_, graph_, 0ULL);
    check("cuGraphLaunch", executable_, stream_);
  }

 private:
  static constexpr int kThreadLocal = 1;

  template <class... Arguments>
  static void check(const char* name, Arguments... arguments) {
    static void* const driver = dlopen("libcuda.so.1", RTLD_NOW);
    ASSERT_NE(driver, nullptr);
    auto* const call = reinterpret_cast<int (*)(Arguments...)>(dlsym(driver, name));
    ASSERT_NE(call, nullptr) << name;
    ASSERT_EQ(call(arguments...), 0) << name;
  }

  void* stream_;
  void* graph_ = nullptr;
  void* executable_ = nullptr;
};

}  // namespace lockstep
