#include "lockstep/activation/activation.h"

#include <string>

#include "lockstep/activation/activation_internal.h"
#include "lockstep/base/error.h"

namespace lockstep {
namespace {

using activation_internal::BasicCall;
using activation_internal::Formula;

template <class T>
void run(const char* where, const BasicCall<T>& call, bool null, Device device) {
  if (call.count < 0)
    fail(ErrorCode::invalid_argument, {where, "count", "0 or more", std::to_string(call.count), {}});
  if (device != Device::cpu)
    fail(ErrorCode::unsupported,
         {where, "device", "Device::cpu", "a CUDA device, which has no kernels yet", {}});
  if (null && call.count > 0)
    fail(ErrorCode::invalid_argument,
         {where, "data", "memory of " + std::to_string(call.count) + " elements", "a null pointer", {}});
  activation_internal::run_cpu(call);
}

template <class T>
void forward(const char* where, Formula formula, const T* x, T* y, std::int64_t count, Device device,
             const BasicSoftplusOptions<T>& options = {}) {
  run<T>(where, {formula, nullptr, x, y, count, options}, x == nullptr || y == nullptr, device);
}

template <class T>
void backward(const char* where, Formula formula, const T* dy, const T* x, T* dx, std::int64_t count,
              Device device, const BasicSoftplusOptions<T>& options = {}) {
  run<T>(where, {formula, dy, x, dx, count, options}, dy == nullptr || x == nullptr || dx == nullptr, device);
}

}  // namespace

void relu(const float* x, float* y, std::int64_t count, Device device, void*) {
  forward("relu", Formula::relu, x, y, count, device);
}
void relu_backward(const float* dy, const float* x, float* dx, std::int64_t count, Device device, void*) {
  backward("relu_backward", Formula::relu_backward, dy, x, dx, count, device);
}

void sigmoid(const float* x, float* y, std::int64_t count, Device device, void*) {
  forward("sigmoid", Formula::sigmoid, x, y, count, device);
}
void sigmoid_backward(const float* dy, const float* y, float* dx, std::int64_t count, Device device, void*) {
  backward("sigmoid_backward", Formula::sigmoid_backward, dy, y, dx, count, device);
}

void tanh(const float* x, float* y, std::int64_t count, Device device, void*) {
  forward("tanh", Formula::tanh, x, y, count, device);
}
void tanh_backward(const float* dy, const float* y, float* dx, std::int64_t count, Device device, void*) {
  backward("tanh_backward", Formula::tanh_backward, dy, y, dx, count, device);
}

void silu(const float* x, float* y, std::int64_t count, Device device, void*) {
  forward("silu", Formula::silu, x, y, count, device);
}
void silu_backward(const float* dy, const float* x, float* dx, std::int64_t count, Device device, void*) {
  backward("silu_backward", Formula::silu_backward, dy, x, dx, count, device);
}

void gelu(const float* x, float* y, std::int64_t count, GeluForm form, Device device, void*) {
  forward("gelu", form == GeluForm::erf ? Formula::gelu_erf : Formula::gelu_tanh, x, y, count, device);
}
void gelu_backward(const float* dy, const float* x, float* dx, std::int64_t count, GeluForm form,
                   Device device, void*) {
  backward("gelu_backward", form == GeluForm::erf ? Formula::gelu_erf_backward : Formula::gelu_tanh_backward,
           dy, x, dx, count, device);
}

void softplus(const float* x, float* y, std::int64_t count, const SoftplusOptions& options, Device device,
              void*) {
  forward("softplus", Formula::softplus, x, y, count, device, options);
}
void softplus_backward(const float* dy, const float* x, float* dx, std::int64_t count,
                       const SoftplusOptions& options, Device device, void*) {
  backward("softplus_backward", Formula::softplus_backward, dy, x, dx, count, device, options);
}

// ---- float64

void relu(const double* x, double* y, std::int64_t count, Device device, void*) {
  forward("relu", Formula::relu, x, y, count, device);
}

void relu_backward(const double* dy, const double* x, double* dx, std::int64_t count, Device device, void*) {
  backward("relu_backward", Formula::relu_backward, dy, x, dx, count, device);
}

void sigmoid(const double* x, double* y, std::int64_t count, Device device, void*) {
  forward("sigmoid", Formula::sigmoid, x, y, count, device);
}

void sigmoid_backward(const double* dy, const double* y, double* dx, std::int64_t count, Device device,
                      void*) {
  backward("sigmoid_backward", Formula::sigmoid_backward, dy, y, dx, count, device);
}

void tanh(const double* x, double* y, std::int64_t count, Device device, void*) {
  forward("tanh", Formula::tanh, x, y, count, device);
}

void tanh_backward(const double* dy, const double* y, double* dx, std::int64_t count, Device device, void*) {
  backward("tanh_backward", Formula::tanh_backward, dy, y, dx, count, device);
}

void silu(const double* x, double* y, std::int64_t count, Device device, void*) {
  forward("silu", Formula::silu, x, y, count, device);
}

void silu_backward(const double* dy, const double* x, double* dx, std::int64_t count, Device device, void*) {
  backward("silu_backward", Formula::silu_backward, dy, x, dx, count, device);
}

void gelu(const double* x, double* y, std::int64_t count, GeluForm form, Device device, void*) {
  forward("gelu", form == GeluForm::erf ? Formula::gelu_erf : Formula::gelu_tanh, x, y, count, device);
}

void gelu_backward(const double* dy, const double* x, double* dx, std::int64_t count, GeluForm form,
                   Device device, void*) {
  backward("gelu_backward", form == GeluForm::erf ? Formula::gelu_erf_backward : Formula::gelu_tanh_backward,
           dy, x, dx, count, device);
}

void softplus(const double* x, double* y, std::int64_t count, const SoftplusOptions64& options, Device device,
              void*) {
  forward("softplus", Formula::softplus, x, y, count, device, options);
}

void softplus_backward(const double* dy, const double* x, double* dx, std::int64_t count,
                       const SoftplusOptions64& options, Device device, void*) {
  backward("softplus_backward", Formula::softplus_backward, dy, x, dx, count, device, options);
}

}  // namespace lockstep
