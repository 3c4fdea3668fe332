#pragma once
// What elementwise.cpp chooses from, one function a device. C++17: elementwise_cuda.cu sees it.

#include <cstdint>

#include "lockstep/elementwise/elementwise.h"

namespace lockstep::elementwise {

enum class Operation { add_scaled, addcmul, addcdiv, lerp };

/// One call: of the operands a, b and c an operation reads those that its expression names, in that order.
template <class T>
struct BasicCall {
  Operation operation;
  T* out;
  BasicOperand<T> a, b, c;
  T factor;  ///< alpha or value
  std::int64_t count;
};
using Call = BasicCall<float>;
using Call64 = BasicCall<double>;

void run_cpu(const Call& call);
void run_cuda(const char* where, const Call& call, void* stream);
void run_cpu(const Call64& call);  // elementwise_fp64.cpp

}  // namespace lockstep::elementwise
