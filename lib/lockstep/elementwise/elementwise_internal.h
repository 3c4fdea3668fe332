#pragma once
// What elementwise.cpp chooses from, one function a device. C++17.

#include <cstdint>

#include "lockstep/elementwise/elementwise.h"

namespace lockstep::elementwise {

enum class Operation { add_scaled, addcmul, addcdiv, lerp };

/// One call: of the operands a, b and c an operation reads those that its expression names, in that order.
struct Call {
  Operation operation;
  float* out;
  Operand a, b, c;
  float factor;  ///< alpha or value
  std::int64_t count;
};

void run_cpu(const Call& call);

}  // namespace lockstep::elementwise
