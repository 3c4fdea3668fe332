#include "lockstep/math/math.h"

#include <string>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/base/float_mode.h"
#include "lockstep/math/math_internal.h"

namespace lockstep::math {
namespace {

template <class T>
void check(const char* where, bool null, std::int64_t count, Device device) {
  if (count < 0) fail(ErrorCode::invalid_argument, {where, "count", "0 or more", std::to_string(count), {}});
  if (null && count > 0)
    fail(ErrorCode::invalid_argument,
         {where, "x or y", "memory of " + std::to_string(count) + " elements", "a null pointer", {}});
  lockstep::internal::check_device_of<T>(where, device);
}

template <class T>
void run(const char* where, Function function, const T* x, T* y, std::int64_t count,
         Device device = Device::cpu, void* stream = nullptr) {
  check<T>(where, x == nullptr || y == nullptr, count, device);
  if constexpr (lockstep::internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return run_cuda(function, x, y, count, stream);
  }
  const FloatMode mode;
  run_cpu(function, x, y, count);
}

template <class T>
void run_pow(const T* x, const T* y, T* z, std::int64_t count, Device device = Device::cpu,
             void* stream = nullptr) {
  check<T>("math::pow", x == nullptr || y == nullptr || z == nullptr, count, device);
  if constexpr (lockstep::internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return pow_cuda(x, y, z, count, stream);
  }
  const FloatMode mode;
  pow_cpu(x, y, z, count);
}

}  // namespace

#define LOCKSTEP_MATH_DEFINE(name)                                                       \
  void name(const float* x, float* y, std::int64_t count, Device device, void* stream) { \
    run("math::" #name, Function::name, x, y, count, device, stream);                    \
  }                                                                                      \
  void name(const double* x, double* y, std::int64_t count) {                            \
    run("math::" #name, Function::name, x, y, count);                                    \
  }

LOCKSTEP_MATH_FUNCTIONS(LOCKSTEP_MATH_DEFINE)

#undef LOCKSTEP_MATH_DEFINE

void pow(const float* x, const float* y, float* z, std::int64_t count, Device device, void* stream) {
  run_pow(x, y, z, count, device, stream);
}
void pow(const double* x, const double* y, double* z, std::int64_t count) { run_pow(x, y, z, count); }

}  // namespace lockstep::math
