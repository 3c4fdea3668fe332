#pragma once
// Activation functions, element by element, forward and backward. C++17. README.md holds the formulas: each
// element of a tensor goes through the same operations, wherever it lies (LibTorch's vector loops and their
// scalar tails differ).

#include <cstdint>

#include "lockstep/base/view.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kActivationSpecVersion = 1;

enum class GeluForm { erf, tanh };

/// softplus is log(1 + e^(beta x)) / beta, and x itself where beta x is above the threshold.
template <class T>
struct BasicSoftplusOptions {
  T beta = 1, threshold = 20;
};
using SoftplusOptions = BasicSoftplusOptions<float>;
using SoftplusOptions64 = BasicSoftplusOptions<double>;

// All arrays are float32 [count], contiguous, in `device`'s memory. A result may be an operand of the same
// call, but must not overlap one otherwise. `stream` is the cudaStream_t to work on when the memory is a CUDA
// device's, unused on the CPU; a call returns before a CUDA device's work is done. NaN gives NaN; subnormals
// are kept, for a caller that flushes them too.
//
// Guarantees: run_to_run, batch, threads, cpu_to_gpu (NaN payloads excepted). Throw Error(invalid_argument)
// for a negative count, or a null pointer where count is above 0; Error(unsupported) for Device::cuda in a
// build without CUDA, or without a device.

/// x from 0 up (-0 stays), +0 below.
void relu(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
/// dy where x (or y: they are above 0 together) is above 0, else +0; dy where it is NaN.
void relu_backward(const float* dy, const float* x, float* dx, std::int64_t count,
                   Device device = Device::cpu, void* stream = nullptr);

/// 1 / (1 + e^-x).
void sigmoid(const float* x, float* y, std::int64_t count, Device device = Device::cpu,
             void* stream = nullptr);
/// From the result y.
void sigmoid_backward(const float* dy, const float* y, float* dx, std::int64_t count,
                      Device device = Device::cpu, void* stream = nullptr);

void tanh(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
/// From the result y.
void tanh_backward(const float* dy, const float* y, float* dx, std::int64_t count,
                   Device device = Device::cpu, void* stream = nullptr);

/// x sigmoid(x).
void silu(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
void silu_backward(const float* dy, const float* x, float* dx, std::int64_t count,
                   Device device = Device::cpu, void* stream = nullptr);

/// x (1 + erf(x / sqrt(2))) / 2, or its approximation x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
/// (Hendrycks and Gimpel, Gaussian Error Linear Units).
void gelu(const float* x, float* y, std::int64_t count, GeluForm form, Device device = Device::cpu,
          void* stream = nullptr);
void gelu_backward(const float* dy, const float* x, float* dx, std::int64_t count, GeluForm form,
                   Device device = Device::cpu, void* stream = nullptr);

void softplus(const float* x, float* y, std::int64_t count, const SoftplusOptions& options = {},
              Device device = Device::cpu, void* stream = nullptr);
void softplus_backward(const float* dy, const float* x, float* dx, std::int64_t count,
                       const SoftplusOptions& options = {}, Device device = Device::cpu,
                       void* stream = nullptr);

// The same in float64, by the same formulas: all float memory and numbers are double. For tests such as
// torch's gradcheck: one thread, and slow. Guarantees: run_to_run, batch, threads; not the same bits on
// every system, since the elementary functions are libm's. Errors as above, and
// Error(unsupported) for Device::cuda.

void relu(const double* x, double* y, std::int64_t count, Device device = Device::cpu,
          void* stream = nullptr);
void relu_backward(const double* dy, const double* x, double* dx, std::int64_t count,
                   Device device = Device::cpu, void* stream = nullptr);
void sigmoid(const double* x, double* y, std::int64_t count, Device device = Device::cpu,
             void* stream = nullptr);
void sigmoid_backward(const double* dy, const double* y, double* dx, std::int64_t count,
                      Device device = Device::cpu, void* stream = nullptr);
void tanh(const double* x, double* y, std::int64_t count, Device device = Device::cpu,
          void* stream = nullptr);
void tanh_backward(const double* dy, const double* y, double* dx, std::int64_t count,
                   Device device = Device::cpu, void* stream = nullptr);
void silu(const double* x, double* y, std::int64_t count, Device device = Device::cpu,
          void* stream = nullptr);
void silu_backward(const double* dy, const double* x, double* dx, std::int64_t count,
                   Device device = Device::cpu, void* stream = nullptr);
void gelu(const double* x, double* y, std::int64_t count, GeluForm form, Device device = Device::cpu,
          void* stream = nullptr);
void gelu_backward(const double* dy, const double* x, double* dx, std::int64_t count, GeluForm form,
                   Device device = Device::cpu, void* stream = nullptr);
void softplus(const double* x, double* y, std::int64_t count, const SoftplusOptions64& options = {},
              Device device = Device::cpu, void* stream = nullptr);
void softplus_backward(const double* dy, const double* x, double* dx, std::int64_t count,
                       const SoftplusOptions64& options = {}, Device device = Device::cpu,
                       void* stream = nullptr);

}  // namespace lockstep
