#include "lockstep/softmax/softmax.h"

#include <algorithm>
#include <string>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/base/error.h"
#include "lockstep/base/shape.h"
#include "lockstep/softmax/softmax_internal.h"

namespace lockstep {
namespace {

using softmax_internal::Kind;

/// Whether there is anything to do.
bool check(const char* where, const AxisExtents& extents, bool null) {
  const std::int64_t least = std::min({extents.outer, extents.axis, extents.inner});
  if (least < 0)
    fail(ErrorCode::invalid_argument, {where, "extents", "0 or more", std::to_string(least), {}});
  const Shape shape{extents.outer, extents.axis, extents.inner};
  if (null && shape.elements() > 0)
    fail(ErrorCode::invalid_argument,
         {where, "data", shape.text() + " elements of memory", "a null pointer", {}});
  return shape.elements() > 0;
}

template <class T>
void forward(const char* where, Kind kind, const T* x, T* y, const AxisExtents& extents, Device device,
             void* stream) {
  internal::check_device_of<T>(where, device);
  if (!check(where, extents, x == nullptr || y == nullptr)) return;
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return softmax_internal::forward_cuda(kind, x, y, extents, stream);
  }
  softmax_internal::forward_cpu(kind, x, y, extents);
}

template <class T>
void backward(const char* where, Kind kind, const T* dy, const T* y, T* dx, const AxisExtents& extents,
              Device device, void* stream) {
  internal::check_device_of<T>(where, device);
  if (!check(where, extents, dy == nullptr || y == nullptr || dx == nullptr)) return;
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return softmax_internal::backward_cuda(kind, dy, y, dx, extents, stream);
  }
  softmax_internal::backward_cpu(kind, dy, y, dx, extents);
}

}  // namespace

void softmax(const float* x, float* y, const AxisExtents& extents, Device device, void* stream) {
  forward("softmax", Kind::softmax, x, y, extents, device, stream);
}

void log_softmax(const float* x, float* y, const AxisExtents& extents, Device device, void* stream) {
  forward("log_softmax", Kind::log_softmax, x, y, extents, device, stream);
}

void softmax_backward(const float* dy, const float* y, float* dx, const AxisExtents& extents, Device device,
                      void* stream) {
  backward("softmax_backward", Kind::softmax, dy, y, dx, extents, device, stream);
}

void log_softmax_backward(const float* dy, const float* y, float* dx, const AxisExtents& extents,
                          Device device, void* stream) {
  backward("log_softmax_backward", Kind::log_softmax, dy, y, dx, extents, device, stream);
}

void softmax(const double* x, double* y, const AxisExtents& extents, Device device, void* stream) {
  forward("softmax", Kind::softmax, x, y, extents, device, stream);
}

void log_softmax(const double* x, double* y, const AxisExtents& extents, Device device, void* stream) {
  forward("log_softmax", Kind::log_softmax, x, y, extents, device, stream);
}

void softmax_backward(const double* dy, const double* y, double* dx, const AxisExtents& extents,
                      Device device, void* stream) {
  backward("softmax_backward", Kind::softmax, dy, y, dx, extents, device, stream);
}

void log_softmax_backward(const double* dy, const double* y, double* dx, const AxisExtents& extents,
                          Device device, void* stream) {
  backward("log_softmax_backward", Kind::log_softmax, dy, y, dx, extents, device, stream);
}

}  // namespace lockstep
