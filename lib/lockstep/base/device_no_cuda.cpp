#include "lockstep/base/device.h"
#include "lockstep/base/error.h"

namespace lockstep {
namespace {

[[noreturn]] void refuse() { fail(ErrorCode::unsupported, {"cuda", cuda_trouble(), {}, {}, {}}); }

}  // namespace

int cuda_device_count() { return 0; }

std::string cuda_device_name(int) { return {}; }

std::string cuda_driver_version() { return {}; }

std::string cuda_trouble() {
  return "this lockstep was built without CUDA; build it with nvcc on the machine (-DLOCKSTEP_CUDA=ON)";
}

DeviceBuffer::DeviceBuffer(std::size_t) { refuse(); }
DeviceBuffer::~DeviceBuffer() = default;
void DeviceBuffer::copy_from_host(const void*) { refuse(); }
void DeviceBuffer::copy_to_host(void*) const { refuse(); }
void DeviceBuffer::copy_from(const DeviceBuffer&) { refuse(); }

}  // namespace lockstep
