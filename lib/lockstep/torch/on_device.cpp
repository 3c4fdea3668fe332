#include "lockstep/torch/on_device.h"

#include <ATen/ATen.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "lockstep/base/error.h"

namespace lockstep {

// By LibTorch's device-neutral interface, so that this library is built without CUDA's headers and runs with
// a LibTorch that has no CUDA part.
OnDevice::OnDevice(at::Device device) : torch_device_(device) {
  if (!device.is_cuda()) return;
  device_ = Device::cuda;
  guard_.reset_device(device);
  stream_ = c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle();
}

void OnDevice::require_here(const char* operation, const at::Tensor& tensor) const {
  if (!tensor.defined() || tensor.device() == torch_device_) return;
  fail(ErrorCode::invalid_argument,
       {operation, "operands", "tensors on one device, here " + torch_device_.str(),
        "one on " + tensor.device().str(), "Move the model and its input to one device with to()"});
}

void* OnDevice::allocate(std::int64_t bytes) {
  scratch_.push_back(at::empty({bytes}, at::TensorOptions(torch_device_).dtype(at::kByte)));
  return scratch_.back().mutable_data_ptr();
}

}  // namespace lockstep
