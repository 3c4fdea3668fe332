#include "lockstep/elementwise/elementwise.h"

#include <string>

#include "lockstep/base/call_check_internal.h"
#include "lockstep/elementwise/elementwise_internal.h"

namespace lockstep {
namespace {

using elementwise::BasicCall;
using elementwise::Operation;

template <class T>
void check_operand(const char* where, const char* argument, const BasicOperand<T>& operand) {
  if (operand.is_array() && operand.values() == nullptr)
    fail(ErrorCode::invalid_argument, {where, argument, "elements of memory", "a null pointer", {}});
}

/// Of the operands a, b and c in the public call.
struct Names {
  const char *a, *b, *c;
};

template <class T>
void check(const char* where, const BasicCall<T>& call, const Names& names) {
  if (call.count < 0)
    fail(ErrorCode::invalid_argument, {where, "count", "0 or more", std::to_string(call.count), {}});
  if (call.count == 0) return;
  check_operand<T>(where, "out", call.out);
  check_operand(where, names.a, call.a);
  check_operand(where, names.b, call.b);
  check_operand(where, names.c, call.c);
}

template <class T>
void run(const char* where, const BasicCall<T>& call, const Names& names, Device device, void* stream) {
  check(where, call, names);
  internal::check_device_of<T>(where, device);
  if constexpr (internal::kHasCudaForm<T>) {
    if (device == Device::cuda) return elementwise::run_cuda(where, call, stream);
  }
  elementwise::run_cpu(call);
}

}  // namespace

void add_scaled(float* out, Operand x, Operand other, float alpha, std::int64_t count, Device device,
                void* stream) {
  run<float>("add_scaled", {Operation::add_scaled, out, x, other, 0.0f, alpha, count}, {"x", "other", ""},
             device, stream);
}

void addcmul(float* out, Operand x, Operand a, Operand b, float value, std::int64_t count, Device device,
             void* stream) {
  run<float>("addcmul", {Operation::addcmul, out, x, a, b, value, count}, {"x", "a", "b"}, device, stream);
}

void addcdiv(float* out, Operand x, Operand a, Operand b, float value, std::int64_t count, Device device,
             void* stream) {
  run<float>("addcdiv", {Operation::addcdiv, out, x, a, b, value, count}, {"x", "a", "b"}, device, stream);
}

void lerp(float* out, Operand start, Operand end, Operand weight, std::int64_t count, Device device,
          void* stream) {
  run<float>("lerp", {Operation::lerp, out, start, end, weight, 0.0f, count}, {"start", "end", "weight"},
             device, stream);
}

// ---- float64

void add_scaled(double* out, Operand64 x, Operand64 other, double alpha, std::int64_t count, Device device,
                void* stream) {
  run<double>("add_scaled", {Operation::add_scaled, out, x, other, 0.0, alpha, count}, {"x", "other", ""},
              device, stream);
}

void addcmul(double* out, Operand64 x, Operand64 a, Operand64 b, double value, std::int64_t count,
             Device device, void* stream) {
  run<double>("addcmul", {Operation::addcmul, out, x, a, b, value, count}, {"x", "a", "b"}, device, stream);
}

void addcdiv(double* out, Operand64 x, Operand64 a, Operand64 b, double value, std::int64_t count,
             Device device, void* stream) {
  run<double>("addcdiv", {Operation::addcdiv, out, x, a, b, value, count}, {"x", "a", "b"}, device, stream);
}

void lerp(double* out, Operand64 start, Operand64 end, Operand64 weight, std::int64_t count, Device device,
          void* stream) {
  run<double>("lerp", {Operation::lerp, out, start, end, weight, 0.0, count}, {"start", "end", "weight"},
              device, stream);
}

}  // namespace lockstep
