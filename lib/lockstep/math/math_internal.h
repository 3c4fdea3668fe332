#pragma once
// What math.cpp calls. C++17: math_cuda.cu sees it.

#include <cstdint>

namespace lockstep::math {

enum class Function { exp, exp2, expm1, log, log2, log1p, tanh, erf, sigmoid, rsqrt, sin, cos };

void run_cpu(Function function, const float* x, float* y, std::int64_t count);
void pow_cpu(const float* x, const float* y, float* z, std::int64_t count);

// math_cuda.cu, or math_no_cuda.cpp
void run_cuda(Function function, const float* x, float* y, std::int64_t count, void* stream);
void pow_cuda(const float* x, const float* y, float* z, std::int64_t count, void* stream);

// math_fp64.cpp
void run_cpu(Function function, const double* x, double* y, std::int64_t count);
void pow_cpu(const double* x, const double* y, double* z, std::int64_t count);

}  // namespace lockstep::math
