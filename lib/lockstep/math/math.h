#pragma once
// The elementary functions over arrays of float (contracts, section 7), in the vector form that
// simd::targets.h names. One value: math_inl.h. README.md holds each function's largest error.

#include <cstdint>

#include "lockstep/base/view.h"

namespace lockstep::math {

/// Grows with every change of bits.
constexpr int kMathSpecVersion = 1;

// y[i] = function(x[i]) for i = 0 … count - 1, on `device`, where the memory lies; on the CPU in the calling
// thread. y may be x, but must not overlap it otherwise. An element's bits depend on that element alone, and
// are those of math_inl.h. NaN gives NaN, subnormals are kept, whatever floating-point mode the caller has.
// `stream` is the cudaStream_t to work on (null: the default stream), unused on the CPU; on a CUDA device the
// calls return before the work is done. Guarantees: run_to_run, batch, threads, cpu_to_gpu (NaN payloads
// excepted). Throw Error(invalid_argument) for a negative count, or a null pointer where count is above 0;
// Error(unsupported) for Device::cuda in a build without CUDA.

void exp(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
void exp2(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
void expm1(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
void log(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
void log2(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
void log1p(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
void tanh(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
void erf(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
void sigmoid(const float* x, float* y, std::int64_t count, Device device = Device::cpu,
             void* stream = nullptr);
void sqrt(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
void rsqrt(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
void sin(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);
void cos(const float* x, float* y, std::int64_t count, Device device = Device::cpu, void* stream = nullptr);

/// z[i] = x[i] ^ y[i]; z may be x or y.
void pow(const float* x, const float* y, float* z, std::int64_t count, Device device = Device::cpu,
         void* stream = nullptr);

// The same in float64, on the CPU, by libm's functions and 1 / (1 + e^-x), 1 / sqrt(x). For tests such as
// torch's gradcheck: one thread, and slow. Guarantees: run_to_run, batch, threads, but not the same bits on
// every system. Errors as above.

void exp(const double* x, double* y, std::int64_t count);
void exp2(const double* x, double* y, std::int64_t count);
void expm1(const double* x, double* y, std::int64_t count);
void log(const double* x, double* y, std::int64_t count);
void log2(const double* x, double* y, std::int64_t count);
void log1p(const double* x, double* y, std::int64_t count);
void tanh(const double* x, double* y, std::int64_t count);
void erf(const double* x, double* y, std::int64_t count);
void sigmoid(const double* x, double* y, std::int64_t count);
void sqrt(const double* x, double* y, std::int64_t count);
void rsqrt(const double* x, double* y, std::int64_t count);
void sin(const double* x, double* y, std::int64_t count);
void cos(const double* x, double* y, std::int64_t count);
void pow(const double* x, const double* y, double* z, std::int64_t count);

}  // namespace lockstep::math
