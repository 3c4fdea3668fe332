#pragma once
// CUDA devices, as far as code that is compiled without CUDA may know them. The twins device_cuda.cu and
// device_no_cuda.cpp are chosen by the build.

#include <cstddef>
#include <string>

namespace lockstep {

/// The number of CUDA devices that can be used now: 0 in a build without CUDA, without a driver, or without a
/// device.
int cuda_device_count();

/// Why cuda_device_count() is 0: "built without CUDA: …", the driver's own words; empty when there is a
/// device.
std::string cuda_trouble();

/// "NVIDIA H200": what device `index` calls itself; empty where there is no such device.
std::string cuda_device_name(int index);

/// The version of the driver, "580.95.05", else the newest CUDA that it runs, "CUDA 13.0"; empty without one.
std::string cuda_driver_version();

/// Memory of the current CUDA device. Copies from and to the host block until they are done.
/// Throws Error(unsupported) where there is no device, Error(out_of_memory) where it has not so
/// much left, Error(internal) when it refuses.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::size_t bytes);
  ~DeviceBuffer();  // NOLINT(performance-trivially-destructible): with CUDA it has work to do
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  /// Copies bytes() bytes from or to host memory, after all work that was submitted to the device before.
  void copy_from_host(const void* source);
  void copy_to_host(void* target) const;
  /// Copies bytes() bytes of the device's memory on the default stream, and returns before that is done.
  void copy_from(const DeviceBuffer& source);

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace lockstep
