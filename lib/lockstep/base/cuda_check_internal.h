#pragma once
// For .cu files of any room: every CUDA call and every launch goes through check_cuda.

#include <cuda_runtime_api.h>

#include "lockstep/base/error.h"

namespace lockstep {

/// Throws Error when `status` is not success: unsupported where there is no usable device, out_of_memory,
/// internal otherwise.
inline void check_cuda(cudaError_t status, const char* where) {
  if (status == cudaSuccess) return;
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // which a later launch would report as its own
    fail(ErrorCode::out_of_memory,
         {where, "memory of the device", {}, cudaGetErrorString(status), "Take fewer rows at a time."});
  }
  const bool no_device = status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver ||
                         status == cudaErrorNoKernelImageForDevice || status == cudaErrorStubLibrary;
  fail(
      no_device ? ErrorCode::unsupported : ErrorCode::internal,
      {where, cudaGetErrorName(status), {}, cudaGetErrorString(status), no_device ? "Use Device::cpu." : ""});
}

/// To be called right after a kernel launch.
inline void check_launch(const char* kernel) { check_cuda(cudaGetLastError(), kernel); }

/// Of the current device.
inline int device_attribute(cudaDeviceAttr attribute, const char* where) {
  int device = 0, value = 0;
  check_cuda(cudaGetDevice(&device), where);
  check_cuda(cudaDeviceGetAttribute(&value, attribute, device), where);
  return value;
}

}  // namespace lockstep
