#pragma once
// Where kernels on the memory of tensors run: for the mode's operations, and for rooms that are called by
// hand.

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>
#include <cstdint>
#include <vector>

#include "lockstep/base/view.h"

namespace lockstep {

/// The device of an operation's tensors and LibTorch's current stream on it, as the rooms take them. While
/// the object lives, that device is the thread's current one.
class OnDevice {
 public:
  /// The tensors whose memory a room gets; undefined ones do not count. Throws Error(invalid_argument) where
  /// they lie on two devices.
  template <class... Tensors>
  OnDevice([[maybe_unused]] const char* operation, const at::Tensor& first, const Tensors&... others)
      : OnDevice(first.device()) {
    (require_here(operation, others), ...);
  }

  /// Throws as the constructor.
  void require_here(const char* operation, const at::Tensor& tensor) const;

  bool is_cuda() const { return torch_device_.is_cuda(); }
  Device device() const { return device_; }
  /// The cudaStream_t; null on the CPU.
  void* stream() const { return stream_; }

  /// Memory that kernels write over, from LibTorch's caching allocator, held as long as this object: kernels
  /// that come later on the stream may have the same. Null on the CPU, where the rooms need none, and for no
  /// elements.
  template <class T>
  T* scratch(std::int64_t elements) {
    if (!is_cuda() || elements == 0) return nullptr;
    return static_cast<T*>(allocate(elements * static_cast<std::int64_t>(sizeof(T))));
  }

  /// The same, of zeros.
  template <class T>
  T* zeros(std::int64_t elements) {
    T* const memory = scratch<T>(elements);
    if (memory != nullptr) scratch_.back().zero_();
    return memory;
  }

 private:
  explicit OnDevice(at::Device device);
  void* allocate(std::int64_t bytes);

  at::Device torch_device_;
  Device device_ = Device::cpu;
  void* stream_ = nullptr;
  c10::OptionalDeviceGuard guard_;
  std::vector<at::Tensor> scratch_;
};

}  // namespace lockstep
