#include "lockstep/math/math.h"

#include <string>

#include "lockstep/base/error.h"
#include "lockstep/base/float_mode.h"
#include "lockstep/math/math_internal.h"

namespace lockstep::math {
namespace {

void check(const char* where, bool null, std::int64_t count) {
  if (count < 0) fail(ErrorCode::invalid_argument, {where, "count", "0 or more", std::to_string(count), {}});
  if (null && count > 0)
    fail(ErrorCode::invalid_argument,
         {where, "x or y", "memory of " + std::to_string(count) + " elements", "a null pointer", {}});
}

template <class T>
void run(const char* where, Function function, const T* x, T* y, std::int64_t count) {
  check(where, x == nullptr || y == nullptr, count);
  const FloatMode mode;
  run_cpu(function, x, y, count);
}

template <class T>
void run_pow(const T* x, const T* y, T* z, std::int64_t count) {
  check("math::pow", x == nullptr || y == nullptr || z == nullptr, count);
  const FloatMode mode;
  pow_cpu(x, y, z, count);
}

[[noreturn]] void refuse_device(const char* where) {
  fail(ErrorCode::invalid_argument, {where, "device", "Device::cpu or Device::cuda", "another number", {}});
}

void run_on(const char* where, Function function, const float* x, float* y, std::int64_t count, Device device,
            void* stream) {
  switch (device) {
    case Device::cpu:
      return run(where, function, x, y, count);
    case Device::cuda:
      check(where, x == nullptr || y == nullptr, count);
      return run_cuda(function, x, y, count, stream);
  }
  refuse_device(where);
}

}  // namespace

void exp(const float* x, float* y, std::int64_t count) { run("math::exp", Function::exp, x, y, count); }
void exp2(const float* x, float* y, std::int64_t count) { run("math::exp2", Function::exp2, x, y, count); }
void expm1(const float* x, float* y, std::int64_t count) { run("math::expm1", Function::expm1, x, y, count); }
void log(const float* x, float* y, std::int64_t count) { run("math::log", Function::log, x, y, count); }
void log2(const float* x, float* y, std::int64_t count) { run("math::log2", Function::log2, x, y, count); }
void log1p(const float* x, float* y, std::int64_t count) { run("math::log1p", Function::log1p, x, y, count); }
void tanh(const float* x, float* y, std::int64_t count) { run("math::tanh", Function::tanh, x, y, count); }
void erf(const float* x, float* y, std::int64_t count) { run("math::erf", Function::erf, x, y, count); }
void sigmoid(const float* x, float* y, std::int64_t count) {
  run("math::sigmoid", Function::sigmoid, x, y, count);
}
void rsqrt(const float* x, float* y, std::int64_t count) { run("math::rsqrt", Function::rsqrt, x, y, count); }
void sin(const float* x, float* y, std::int64_t count) { run("math::sin", Function::sin, x, y, count); }
void cos(const float* x, float* y, std::int64_t count) { run("math::cos", Function::cos, x, y, count); }

void pow(const float* x, const float* y, float* z, std::int64_t count) { run_pow(x, y, z, count); }

// ---- On a device

void exp(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  run_on("math::exp", Function::exp, x, y, count, device, stream);
}
void exp2(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  run_on("math::exp2", Function::exp2, x, y, count, device, stream);
}
void expm1(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  run_on("math::expm1", Function::expm1, x, y, count, device, stream);
}
void log(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  run_on("math::log", Function::log, x, y, count, device, stream);
}
void log2(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  run_on("math::log2", Function::log2, x, y, count, device, stream);
}
void log1p(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  run_on("math::log1p", Function::log1p, x, y, count, device, stream);
}
void tanh(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  run_on("math::tanh", Function::tanh, x, y, count, device, stream);
}
void erf(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  run_on("math::erf", Function::erf, x, y, count, device, stream);
}
void sigmoid(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  run_on("math::sigmoid", Function::sigmoid, x, y, count, device, stream);
}
void rsqrt(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  run_on("math::rsqrt", Function::rsqrt, x, y, count, device, stream);
}
void sin(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  run_on("math::sin", Function::sin, x, y, count, device, stream);
}
void cos(const float* x, float* y, std::int64_t count, Device device, void* stream) {
  run_on("math::cos", Function::cos, x, y, count, device, stream);
}

void pow(const float* x, const float* y, float* z, std::int64_t count, Device device, void* stream) {
  switch (device) {
    case Device::cpu:
      return run_pow(x, y, z, count);
    case Device::cuda:
      check("math::pow", x == nullptr || y == nullptr || z == nullptr, count);
      return pow_cuda(x, y, z, count, stream);
  }
  refuse_device("math::pow");
}

// ---- float64

void exp(const double* x, double* y, std::int64_t count) { run("math::exp", Function::exp, x, y, count); }
void exp2(const double* x, double* y, std::int64_t count) { run("math::exp2", Function::exp2, x, y, count); }
void expm1(const double* x, double* y, std::int64_t count) {
  run("math::expm1", Function::expm1, x, y, count);
}
void log(const double* x, double* y, std::int64_t count) { run("math::log", Function::log, x, y, count); }
void log2(const double* x, double* y, std::int64_t count) { run("math::log2", Function::log2, x, y, count); }
void log1p(const double* x, double* y, std::int64_t count) {
  run("math::log1p", Function::log1p, x, y, count);
}
void tanh(const double* x, double* y, std::int64_t count) { run("math::tanh", Function::tanh, x, y, count); }
void erf(const double* x, double* y, std::int64_t count) { run("math::erf", Function::erf, x, y, count); }
void sigmoid(const double* x, double* y, std::int64_t count) {
  run("math::sigmoid", Function::sigmoid, x, y, count);
}
void rsqrt(const double* x, double* y, std::int64_t count) {
  run("math::rsqrt", Function::rsqrt, x, y, count);
}
void sin(const double* x, double* y, std::int64_t count) { run("math::sin", Function::sin, x, y, count); }
void cos(const double* x, double* y, std::int64_t count) { run("math::cos", Function::cos, x, y, count); }

void pow(const double* x, const double* y, double* z, std::int64_t count) { run_pow(x, y, z, count); }

}  // namespace lockstep::math
