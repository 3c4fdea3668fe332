#include "lockstep/reduce/reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/reduce/reduce_internal.h"

namespace lockstep {
namespace {

using internal::check_device_of;
using internal::check_extent;
using internal::check_memory;
using internal::kHasCudaForm;
using internal::refuse;

void check_shape(const char* operation, const ReduceShape& shape) {
  check_extent(operation, "outer", shape.outer);
  check_extent(operation, "axis", shape.axis);
  check_extent(operation, "inner", shape.inner);
}

std::int64_t whole(const ReduceShape& shape) { return shape.outer * shape.axis * shape.inner; }
std::int64_t reduced(const ReduceShape& shape) { return shape.outer * shape.inner; }

/// An operation from [outer, axis, inner] to [outer, inner], or back.
template <class T>
void check(const char* operation, const ReduceShape& shape, const T* wide, const char* wide_name,
           const T* narrow, const char* narrow_name, Device device) {
  check_shape(operation, shape);
  check_memory(operation, wide_name, wide, whole(shape));
  check_memory(operation, narrow_name, narrow, reduced(shape));
  check_device_of<T>(operation, device);
}

double degrees(const char* operation, const ReduceShape& shape, double correction) {
  if (!std::isfinite(correction))
    refuse(operation, "correction", "a finite number", std::to_string(correction));
  return std::max(0.0, static_cast<double>(shape.axis) - correction);
}

void check_indices(const char* operation, const std::int64_t* index, const ReduceShape& shape) {
  for (std::int64_t i = 0; i < reduced(shape) && whole(shape) > 0; ++i) {
    if (index[i] < 0 || index[i] >= shape.axis)
      refuse(operation, "index[" + std::to_string(i) + "]", "0 to " + std::to_string(shape.axis - 1),
             std::to_string(index[i]));
  }
}

template <class T>
void select(const char* operation, const T* x, T* y, std::int64_t* index, const ReduceShape& shape,
            Device device, void* stream, bool smallest) {
  check_shape(operation, shape);
  check_memory(operation, "x", x, whole(shape));
  check_device_of<T>(operation, device);
  if (shape.axis == 0 && reduced(shape) > 0)
    refuse(operation, "axis", "1 or more elements to choose from", "0");
  if (shape.inner > 1 && shape.axis > std::numeric_limits<std::int32_t>::max())
    fail(ErrorCode::unsupported, {operation,
                                  "axis",
                                  "at most 2^31 - 1 elements where it is not the innermost axis",
                                  std::to_string(shape.axis),
                                  {}});
  if constexpr (kHasCudaForm<T>) {
    if (device == Device::cuda) return reduce::select_cuda(x, y, index, shape, smallest, stream);
  }
  reduce::select_cpu(x, y, index, shape, smallest);
}

/// dx = dy / divisor.
template <class T>
void spread(const char* operation, const T* dy, T* dx, const ReduceShape& shape, T divisor, Device device,
            void* stream) {
  check(operation, shape, dx, "dx", dy, "dy", device);
  if constexpr (kHasCudaForm<T>) {
    if (device == Device::cuda) return reduce::sum_backward_cuda(dy, dx, shape, divisor, stream);
  }
  reduce::sum_backward_cpu(dy, dx, shape, divisor);
}

// Each call checked, then computed.
namespace checked {

template <class T>
void reduce_sum(const T* x, T* y, const ReduceShape& shape, Device device, void* stream) {
  check("reduce_sum", shape, x, "x", y, "y", device);
  if constexpr (kHasCudaForm<T>) {
    if (device == Device::cuda) return reduce::sum_cuda(x, y, shape, T(1), stream);
  }
  reduce::sum_cpu(x, y, shape);
}

template <class T>
void reduce_mean(const T* x, T* y, const ReduceShape& shape, Device device, void* stream) {
  check("reduce_mean", shape, x, "x", y, "y", device);
  if constexpr (kHasCudaForm<T>) {
    if (device == Device::cuda) return reduce::sum_cuda(x, y, shape, static_cast<T>(shape.axis), stream);
  }
  reduce::mean_cpu(x, y, shape);
}

template <class T>
void reduce_variance(const T* x, T* y, T* mean, const ReduceShape& shape, double correction, Device device,
                     void* stream) {
  check("reduce_variance", shape, x, "x", y, "y", device);
  const auto divisor = static_cast<T>(degrees("reduce_variance", shape, correction));
  if constexpr (kHasCudaForm<T>) {
    if (device == Device::cuda) return reduce::variance_cuda(x, y, mean, shape, divisor, stream);
  }
  reduce::variance_cpu(x, y, mean, shape, divisor);
}

template <class T>
void reduce_sum_backward(const T* dy, T* dx, const ReduceShape& shape, Device device, void* stream) {
  spread("reduce_sum_backward", dy, dx, shape, T(1), device, stream);
}

template <class T>
void reduce_mean_backward(const T* dy, T* dx, const ReduceShape& shape, Device device, void* stream) {
  spread("reduce_mean_backward", dy, dx, shape, static_cast<T>(shape.axis), device, stream);
}

template <class T>
void reduce_variance_backward(const T* dy, const T* x, const T* mean, T* dx, const ReduceShape& shape,
                              double correction, Device device, void* stream) {
  const char* const operation = "reduce_variance_backward";
  check(operation, shape, dx, "dx", dy, "dy", device);
  check_memory(operation, "x", x, whole(shape));
  check_memory(operation, "mean", mean, reduced(shape));
  const auto factor = static_cast<T>(2 / degrees(operation, shape, correction));
  if constexpr (kHasCudaForm<T>) {
    if (device == Device::cuda) return reduce::variance_backward_cuda(dy, x, mean, dx, shape, factor, stream);
  }
  reduce::variance_backward_cpu(dy, x, mean, dx, shape, factor);
}

template <class T>
void reduce_select_backward(const T* dy, const std::int64_t* index, T* dx, const ReduceShape& shape,
                            Device device, void* stream) {
  const char* const operation = "reduce_select_backward";
  check(operation, shape, dx, "dx", dy, "dy", device);
  check_memory(operation, "index", index, reduced(shape));
  if constexpr (kHasCudaForm<T>) {
    if (device == Device::cuda) return reduce::select_backward_cuda(dy, index, dx, shape, stream);
  }
  check_indices(operation, index, shape);  // a device's the host cannot read
  reduce::select_backward_cpu(dy, index, dx, shape);
}

}  // namespace checked

}  // namespace

void reduce_sum(const float* x, float* y, const ReduceShape& shape, Device device, void* stream) {
  checked::reduce_sum(x, y, shape, device, stream);
}

void reduce_mean(const float* x, float* y, const ReduceShape& shape, Device device, void* stream) {
  checked::reduce_mean(x, y, shape, device, stream);
}

void reduce_variance(const float* x, float* y, float* mean, const ReduceShape& shape, double correction,
                     Device device, void* stream) {
  checked::reduce_variance(x, y, mean, shape, correction, device, stream);
}

void reduce_max(const float* x, float* y, std::int64_t* index, const ReduceShape& shape, Device device,
                void* stream) {
  select("reduce_max", x, y, index, shape, device, stream, false);
}

void reduce_min(const float* x, float* y, std::int64_t* index, const ReduceShape& shape, Device device,
                void* stream) {
  select("reduce_min", x, y, index, shape, device, stream, true);
}

void reduce_sum_backward(const float* dy, float* dx, const ReduceShape& shape, Device device, void* stream) {
  checked::reduce_sum_backward(dy, dx, shape, device, stream);
}

void reduce_mean_backward(const float* dy, float* dx, const ReduceShape& shape, Device device, void* stream) {
  checked::reduce_mean_backward(dy, dx, shape, device, stream);
}

void reduce_variance_backward(const float* dy, const float* x, const float* mean, float* dx,
                              const ReduceShape& shape, double correction, Device device, void* stream) {
  checked::reduce_variance_backward(dy, x, mean, dx, shape, correction, device, stream);
}

void reduce_select_backward(const float* dy, const std::int64_t* index, float* dx, const ReduceShape& shape,
                            Device device, void* stream) {
  checked::reduce_select_backward(dy, index, dx, shape, device, stream);
}

// ---- float64

void reduce_sum(const double* x, double* y, const ReduceShape& shape, Device device, void* stream) {
  checked::reduce_sum(x, y, shape, device, stream);
}

void reduce_mean(const double* x, double* y, const ReduceShape& shape, Device device, void* stream) {
  checked::reduce_mean(x, y, shape, device, stream);
}

void reduce_variance(const double* x, double* y, double* mean, const ReduceShape& shape, double correction,
                     Device device, void* stream) {
  checked::reduce_variance(x, y, mean, shape, correction, device, stream);
}

void reduce_max(const double* x, double* y, std::int64_t* index, const ReduceShape& shape, Device device,
                void* stream) {
  select("reduce_max", x, y, index, shape, device, stream, false);
}

void reduce_min(const double* x, double* y, std::int64_t* index, const ReduceShape& shape, Device device,
                void* stream) {
  select("reduce_min", x, y, index, shape, device, stream, true);
}

void reduce_sum_backward(const double* dy, double* dx, const ReduceShape& shape, Device device,
                         void* stream) {
  checked::reduce_sum_backward(dy, dx, shape, device, stream);
}

void reduce_mean_backward(const double* dy, double* dx, const ReduceShape& shape, Device device,
                          void* stream) {
  checked::reduce_mean_backward(dy, dx, shape, device, stream);
}

void reduce_variance_backward(const double* dy, const double* x, const double* mean, double* dx,
                              const ReduceShape& shape, double correction, Device device, void* stream) {
  checked::reduce_variance_backward(dy, x, mean, dx, shape, correction, device, stream);
}

void reduce_select_backward(const double* dy, const std::int64_t* index, double* dx, const ReduceShape& shape,
                            Device device, void* stream) {
  checked::reduce_select_backward(dy, index, dx, shape, device, stream);
}

}  // namespace lockstep
