#include <cctype>
#include <cuda_runtime_api.h>
#include <fstream>

#include "lockstep/base/cuda_check_internal.h"
#include "lockstep/base/device.h"

namespace lockstep {
namespace {

/// "580.95.05" of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  …".
std::string kernel_module_version() {
  std::ifstream file("/proc/driver/nvidia/version");
  for (std::string word; file >> word;)
    if (std::isdigit(static_cast<unsigned char>(word.front())) && word.find('.') != std::string::npos)
      return word;
  return {};
}

}  // namespace

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

std::string cuda_device_name(int index) {
  cudaDeviceProp properties{};
  return cudaGetDeviceProperties(&properties, index) == cudaSuccess ? properties.name : "";
}

std::string cuda_driver_version() {
  if (std::string version = kernel_module_version(); !version.empty()) return version;
  int newest = 0;  // 13000 for CUDA 13.0
  if (cudaDriverGetVersion(&newest) != cudaSuccess || newest == 0) return {};
  return "CUDA " + std::to_string(newest / 1000) + "." + std::to_string(newest % 1000 / 10);
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
