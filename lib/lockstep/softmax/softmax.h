#pragma once
// Softmax and its logarithm over one axis, forward and backward, sums in the lane order (contracts, section
// 5). C++17. README.md holds the order of operations.

#include <cstdint>

#include "lockstep/base/view.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kSoftmaxSpecVersion = 2;

/// A contiguous tensor around the axis that is normalised: the extents before it, its own, and those behind
/// it. inner is 1 where it is the last.
struct AxisExtents {
  std::int64_t outer = 0, axis = 0, inner = 1;
};

// All arrays are float32 [outer, axis, inner], contiguous, on one device. A result may be written over any
// operand of the same call, but must not overlap one otherwise. A slice is the `axis` elements of one place
// (outer, inner); its results depend on it alone. Without elements nothing is written. `stream` is the
// cudaStream_t to work on when the memory is a CUDA device's, unused on the CPU.
//
// A slice that holds a NaN or +inf, or nothing but -inf, gives NaN throughout; -inf beside finite elements
// gives probability +0. Subnormals are kept, for a caller that flushes them too.
//
// Guarantees: run_to_run, batch, threads, cpu_to_gpu (NaN payloads excepted). Throw Error(invalid_argument)
// for a negative extent, or a null pointer where there are elements; Error(unsupported) for Device::cuda
// where this build or this machine has no CUDA. On a CUDA device a call returns before the work is done.

/// y = e / sum(e) with e = exp(x - max(x)).
void softmax(const float* x, float* y, const AxisExtents& extents, Device device = Device::cpu,
             void* stream = nullptr);

/// y = (x - max(x)) - log(sum(exp(x - max(x)))).
void log_softmax(const float* x, float* y, const AxisExtents& extents, Device device = Device::cpu,
                 void* stream = nullptr);

/// dx = (dy - sum(dy y)) y, from the result y of softmax and the gradient dy with respect to it.
void softmax_backward(const float* dy, const float* y, float* dx, const AxisExtents& extents,
                      Device device = Device::cpu, void* stream = nullptr);

/// dx = dy - exp(y) sum(dy), from the result y of log_softmax and the gradient dy with respect to it.
void log_softmax_backward(const float* dy, const float* y, float* dx, const AxisExtents& extents,
                          Device device = Device::cpu, void* stream = nullptr);

// The same in float64, in the same order: all float memory and numbers are double. For tests such as
// torch's gradcheck: one thread, and slow. Guarantees: run_to_run, batch, threads; not the same bits on
// every system, since the elementary functions are libm's. Errors as above; Device::cuda is unsupported.

void softmax(const double* x, double* y, const AxisExtents& extents, Device device = Device::cpu,
             void* stream = nullptr);
void log_softmax(const double* x, double* y, const AxisExtents& extents, Device device = Device::cpu,
                 void* stream = nullptr);
void softmax_backward(const double* dy, const double* y, double* dx, const AxisExtents& extents,
                      Device device = Device::cpu, void* stream = nullptr);
void log_softmax_backward(const double* dy, const double* y, double* dx, const AxisExtents& extents,
                          Device device = Device::cpu, void* stream = nullptr);

}  // namespace lockstep
