#include "lockstep/activation/activation.h"

#include <string>

#include "lockstep/activation/activation_internal.h"
#include "lockstep/base/call_check_internal.h"

namespace lockstep {
namespace {

using activation_internal::BasicCall;
using activation_internal::Formula;

template <class T>
void run(const char* where, const BasicCall<T>& call, bool null, Device device, void* stream) {
  if (call.count < 0)
    fail(ErrorCode::invalid_argument, {where, "count", "0 or more", std::to_string(call.count), {}});
  if (null && call.count > 0)
    fail(ErrorCode::invalid_argument,
         {where, "data", "memory of " + std::to_string(call.count) + " elements", "a null pointer", {}});
  internal::check_device_of<T>(where, device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return activation_internal::run_cuda(call, stream);
  }
  activation_internal::run_cpu(call);
}

template <class T>
void forward(const char* where, Formula formula, const T* x, T* y, std::int64_t count, Device device,
             void* stream, const BasicSoftplusOptions<T>& options = {}) {
  run<T>(where, {formula, nullptr, x, y, count, options}, x == nullptr || y == nullptr, device, stream);
}

template <class T>
void backward(const char* where, Formula formula, const T* dy, const T* x, T* dx, std::int64_t count,
              Device device, void* stream, const BasicSoftplusOptions<T>& options = {}) {
  run<T>(where, {formula, dy, x, dx, count, options}, dy == nullptr || x == nullptr || dx == nullptr, device,
         stream);
}

}  // namespace

void relu(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  forward("relu", Formula::relu, x, y, count, device, stream);
}
void relu_backward(const float* dy, const float* x, float* dx, std::int64_t count, Device device,
                   void* stream) {
  backward("relu_backward", Formula::relu_backward, dy, x, dx, count, device, stream);
}

void sigmoid(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  forward("sigmoid", Formula::sigmoid, x, y, count, device, stream);
}
void sigmoid_backward(const float* dy, const float* y, float* dx, std::int64_t count, Device device,
                      void* stream) {
  backward("sigmoid_backward", Formula::sigmoid_backward, dy, y, dx, count, device, stream);
}

void tanh(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  forward("tanh", Formula::tanh, x, y, count, device, stream);
}
void tanh_backward(const float* dy, const float* y, float* dx, std::int64_t count, Device device,
                   void* stream) {
  backward("tanh_backward", Formula::tanh_backward, dy, y, dx, count, device, stream);
}

void silu(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  forward("silu", Formula::silu, x, y, count, device, stream);
}
void silu_backward(const float* dy, const float* x, float* dx, std::int64_t count, Device device,
                   void* stream) {
  backward("silu_backward", Formula::silu_backward, dy, x, dx, count, device, stream);
}

void gelu(const float* x, float* y, std::int64_t count, GeluForm form, Device device, void* stream) {
  forward("gelu", form == GeluForm::erf ? Formula::gelu_erf : Formula::gelu_tanh, x, y, count, device,
          stream);
}
void gelu_backward(const float* dy, const float* x, float* dx, std::int64_t count, GeluForm form,
                   Device device, void* stream) {
  backward("gelu_backward", form == GeluForm::erf ? Formula::gelu_erf_backward : Formula::gelu_tanh_backward,
           dy, x, dx, count, device, stream);
}

void softplus(const float* x, float* y, std::int64_t count, const SoftplusOptions& options, Device device,
              void* stream) {
  forward("softplus", Formula::softplus, x, y, count, device, stream, options);
}
void softplus_backward(const float* dy, const float* x, float* dx, std::int64_t count,
                       const SoftplusOptions& options, Device device, void* stream) {
  backward("softplus_backward", Formula::softplus_backward, dy, x, dx, count, device, stream, options);
}

// ---- float64

void relu(const double* x, double* y, std::int64_t count, Device device, void* stream) {
  forward("relu", Formula::relu, x, y, count, device, stream);
}

void relu_backward(const double* dy, const double* x, double* dx, std::int64_t count, Device device,
                   void* stream) {
  backward("relu_backward", Formula::relu_backward, dy, x, dx, count, device, stream);
}

void sigmoid(const double* x, double* y, std::int64_t count, Device device, void* stream) {
  forward("sigmoid", Formula::sigmoid, x, y, count, device, stream);
}

void sigmoid_backward(const double* dy, const double* y, double* dx, std::int64_t count, Device device,
                      void* stream) {
  backward("sigmoid_backward", Formula::sigmoid_backward, dy, y, dx, count, device, stream);
}

void tanh(const double* x, double* y, std::int64_t count, Device device, void* stream) {
  forward("tanh", Formula::tanh, x, y, count, device, stream);
}

void tanh_backward(const double* dy, const double* y, double* dx, std::int64_t count, Device device,
                   void* stream) {
  backward("tanh_backward", Formula::tanh_backward, dy, y, dx, count, device, stream);
}

void silu(const double* x, double* y, std::int64_t count, Device device, void* stream) {
  forward("silu", Formula::silu, x, y, count, device, stream);
}

void silu_backward(const double* dy, const double* x, double* dx, std::int64_t count, Device device,
                   void* stream) {
  backward("silu_backward", Formula::silu_backward, dy, x, dx, count, device, stream);
}

void gelu(const double* x, double* y, std::int64_t count, GeluForm form, Device device, void* stream) {
  forward("gelu", form == GeluForm::erf ? Formula::gelu_erf : Formula::gelu_tanh, x, y, count, device,
          stream);
}

void gelu_backward(const double* dy, const double* x, double* dx, std::int64_t count, GeluForm form,
                   Device device, void* stream) {
  backward("gelu_backward", form == GeluForm::erf ? Formula::gelu_erf_backward : Formula::gelu_tanh_backward,
           dy, x, dx, count, device, stream);
}

void softplus(const double* x, double* y, std::int64_t count, const SoftplusOptions64& options, Device device,
              void* stream) {
  forward("softplus", Formula::softplus, x, y, count, device, stream, options);
}

void softplus_backward(const double* dy, const double* x, double* dx, std::int64_t count,
                       const SoftplusOptions64& options, Device device, void* stream) {
  backward("softplus_backward", Formula::softplus_backward, dy, x, dx, count, device, stream, options);
}

}  // namespace lockstep
