#include <cuda_runtime_api.h>

#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/base/device.h"

namespace lockstep {

int cuda_device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string cuda_trouble() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) return cudaGetErrorString(status);
  return count > 0 ? "" : "no CUDA device on this machine";
}

DeviceBuffer::DeviceBuffer(std::size_t bytes) : bytes_(bytes) {
  check_cuda(cudaMalloc(&data_, bytes), "cudaMalloc");
}

// A failure here was met, and reported, by the work before it; a destructor must not throw.
DeviceBuffer::~DeviceBuffer() { static_cast<void>(cudaFree(data_)); }

void DeviceBuffer::copy_from_host(const void* source) {
  check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  check_cuda(cudaMemcpy(data_, source, bytes_, cudaMemcpyHostToDevice), "cudaMemcpy to the device");
}

void DeviceBuffer::copy_to_host(void* target) const {
  check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  check_cuda(cudaMemcpy(target, data_, bytes_, cudaMemcpyDeviceToHost), "cudaMemcpy from the device");
}

void DeviceBuffer::copy_from(const DeviceBuffer& source) {
  check_cuda(cudaMemcpyAsync(data_, source.data_, bytes_, cudaMemcpyDeviceToDevice),
             "cudaMemcpy on the device");
}

}  // namespace lockstep
