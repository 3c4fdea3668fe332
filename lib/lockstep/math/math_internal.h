#pragma once
// What math.cpp calls. C++17: math_cuda.cu sees it.

#include <cstdint>

namespace lockstep::math {

/// The functions of one number, for what each of them has.
#define LOCKSTEP_MATH_FUNCTIONS(each)                                                                  \
  each(exp) each(exp2) each(expm1) each(log) each(log2) each(log1p) each(tanh) each(erf) each(sigmoid) \
      each(sqrt) each(rsqrt) each(sin) each(cos)

#define LOCKSTEP_MATH_NAME(name) name,
enum class Function { LOCKSTEP_MATH_FUNCTIONS(LOCKSTEP_MATH_NAME) };
#undef LOCKSTEP_MATH_NAME

void run_cpu(Function function, const float* x, float* y, std::int64_t count);
void pow_cpu(const float* x, const float* y, float* z, std::int64_t count);

// math_cuda.cu, or math_no_cuda.cpp
void run_cuda(Function function, const float* x, float* y, std::int64_t count, void* stream);
void pow_cuda(const float* x, const float* y, float* z, std::int64_t count, void* stream);

// math_fp64.cpp
void run_cpu(Function function, const double* x, double* y, std::int64_t count);
void pow_cpu(const double* x, const double* y, double* z, std::int64_t count);

}  // namespace lockstep::math
