#include "lockstep/elementwise/elementwise.h"

#include <string>

#include "lockstep/base/error.h"
#include "lockstep/elementwise/elementwise_internal.h"

namespace lockstep {
namespace {

using elementwise::Call;
using elementwise::Operation;

void check_operand(const char* where, const char* argument, const Operand& operand) {
  if (operand.is_array() && operand.values() == nullptr)
    fail(ErrorCode::invalid_argument, {where, argument, "elements of memory", "a null pointer", {}});
}

/// The names are those of the operands a, b and c in the public call.
void check(const char* where, const Call& call, const char* a, const char* b, const char* c) {
  if (call.count < 0)
    fail(ErrorCode::invalid_argument, {where, "count", "0 or more", std::to_string(call.count), {}});
  if (call.count == 0) return;
  check_operand(where, "out", call.out);
  check_operand(where, a, call.a);
  check_operand(where, b, call.b);
  check_operand(where, c, call.c);
}

void run(const char* where, const Call& call, Device device) {
  switch (device) {
    case Device::cpu:
      return elementwise::run_cpu(call);
    case Device::cuda:
      fail(ErrorCode::unsupported,
           {where, "device", "Device::cpu", "Device::cuda", "Copy the arrays to the CPU."});
  }
  fail(ErrorCode::invalid_argument, {where, "device", "Device::cpu or Device::cuda", "another number", {}});
}

}  // namespace

void add_scaled(float* out, Operand x, Operand other, float alpha, std::int64_t count, Device device, void*) {
  const Call call{Operation::add_scaled, out, x, other, 0.0f, alpha, count};
  check("add_scaled", call, "x", "other", "");
  run("add_scaled", call, device);
}

void addcmul(float* out, Operand x, Operand a, Operand b, float value, std::int64_t count, Device device,
             void*) {
  const Call call{Operation::addcmul, out, x, a, b, value, count};
  check("addcmul", call, "x", "a", "b");
  run("addcmul", call, device);
}

void addcdiv(float* out, Operand x, Operand a, Operand b, float value, std::int64_t count, Device device,
             void*) {
  const Call call{Operation::addcdiv, out, x, a, b, value, count};
  check("addcdiv", call, "x", "a", "b");
  run("addcdiv", call, device);
}

void lerp(float* out, Operand start, Operand end, Operand weight, std::int64_t count, Device device, void*) {
  const Call call{Operation::lerp, out, start, end, weight, 0.0f, count};
  check("lerp", call, "start", "end", "weight");
  run("lerp", call, device);
}

}  // namespace lockstep
