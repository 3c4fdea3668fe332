#pragma once
// What rooms check of a call before they compute: each refusal names the operation and the argument.

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "lockstep/base/error.h"
#include "lockstep/base/view.h"

namespace lockstep::internal {

[[noreturn]] inline void refuse(const char* operation, std::string what, std::string expected,
                                std::string got, ErrorCode code = ErrorCode::invalid_argument) {
  fail(code, {operation, std::move(what), std::move(expected), std::move(got), {}});
}

inline void check_extent(const char* operation, const char* name, std::int64_t extent,
                         std::int64_t least = 0) {
  if (extent < least) refuse(operation, name, std::to_string(least) + " or more", std::to_string(extent));
}

inline void check_memory(const char* operation, const char* name, const void* data, std::int64_t elements) {
  if (data == nullptr && elements > 0)
    refuse(operation, name, std::to_string(elements) + " elements of memory", "a null pointer");
}

/// For operations that have a form for every device.
inline void check_any_device(const char* operation, Device device) {
  if (device != Device::cpu && device != Device::cuda)
    refuse(operation, "device", "Device::cpu or Device::cuda", "another number");
}

/// For operations that have no form for CUDA.
inline void check_device(const char* operation, Device device) {
  check_any_device(operation, device);
  if (device == Device::cuda)
    fail(ErrorCode::unsupported,
         {operation, "device", "Device::cpu", "Device::cuda", "Copy the memory to the CPU."});
}

/// Whether a room's operation has a CUDA form for elements of type T, as all that have one do: float64 is for
/// tests, on the CPU.
template <class T>
constexpr bool kHasCudaForm = std::is_same_v<T, float>;

/// For operations whose float32 has a form for every device.
template <class T>
void check_device_of(const char* operation, Device device) {
  if constexpr (kHasCudaForm<T>)
    check_any_device(operation, device);
  else
    check_device(operation, device);
}

}  // namespace lockstep::internal
