#pragma once
// Sum, mean, variance, maximum and minimum over an axis inside a row, by the lane contract (contracts,
// section 5). README.md holds the specification.

#include <cstdint>

#include "lockstep/base/view.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kReduceSpecVersion = 2;

/// A contiguous tensor [outer, axis, inner] of which `axis` is reduced to [outer, inner]. Neighbouring axes
/// that are reduced together count as one.
struct ReduceShape {
  std::int64_t outer = 1, axis = 0, inner = 1;
};

// All memory is contiguous and lies on `device`; values are float32, indices int64; nothing overlaps. Element
// (o, i) of a result depends on x[o, 0 … axis - 1, i] alone, in an order that depends on `axis` alone.
// `stream` is the cudaStream_t to work on (null: the default stream), unused on the CPU. Guarantees:
// run_to_run, batch, threads, cpu_to_gpu (NaN payloads excepted). Throw Error(invalid_argument) for a
// negative extent or null memory that holds elements, Error(unsupported) for Device::cuda where this build or
// this machine has no CUDA. On a CUDA device a call returns before the work is done.

/// The lane sum. An empty axis gives +0.
void reduce_sum(const float* x, float* y, const ReduceShape& shape, Device device = Device::cpu,
                void* stream = nullptr);

/// The lane sum, divided by the axis' extent. An empty axis gives NaN.
void reduce_mean(const float* x, float* y, const ReduceShape& shape, Device device = Device::cpu,
                 void* stream = nullptr);

/// The lane sum of (x - mean)², one fma a term, divided by float32(max(0, axis - correction)): infinite or
/// NaN where that is 0, as torch's. `mean` is written too where it is not null.
void reduce_variance(const float* x, float* y, float* mean, const ReduceShape& shape, double correction = 1,
                     Device device = Device::cpu, void* stream = nullptr);

/// The largest (smallest) element, and its index in the axis: the lowest one among equals (-0 and +0 are
/// equal), the first NaN where there is one. Either result may be null. An empty axis with elements to write
/// is invalid_argument.
void reduce_max(const float* x, float* y, std::int64_t* index, const ReduceShape& shape,
                Device device = Device::cpu, void* stream = nullptr);
void reduce_min(const float* x, float* y, std::int64_t* index, const ReduceShape& shape,
                Device device = Device::cpu, void* stream = nullptr);

// The gradients, [outer, axis, inner], each element written once; dy is [outer, inner].

/// dx = dy.
void reduce_sum_backward(const float* dy, float* dx, const ReduceShape& shape, Device device = Device::cpu,
                         void* stream = nullptr);
/// dx = dy / axis.
void reduce_mean_backward(const float* dy, float* dx, const ReduceShape& shape, Device device = Device::cpu,
                          void* stream = nullptr);
/// dx = (x - mean) · (dy · float32(2 / max(0, axis - correction))); `mean` is the forward's.
void reduce_variance_backward(const float* dy, const float* x, const float* mean, float* dx,
                              const ReduceShape& shape, double correction = 1, Device device = Device::cpu,
                              void* stream = nullptr);
/// dx = dy at the forward's index (of reduce_max or reduce_min), else +0. An index outside the axis is
/// invalid_argument on the CPU; on a CUDA device, where the host does not read it, dx is NaN along the axis.
void reduce_select_backward(const float* dy, const std::int64_t* index, float* dx, const ReduceShape& shape,
                            Device device = Device::cpu, void* stream = nullptr);

// The above in float64, in the same order: all float memory and numbers are double. For tests such as
// torch's gradcheck: one thread, and slow. Guarantees: run_to_run, batch, threads. Errors as above;
// Device::cuda is unsupported.

void reduce_sum(const double* x, double* y, const ReduceShape& shape, Device device = Device::cpu,
                void* stream = nullptr);
void reduce_mean(const double* x, double* y, const ReduceShape& shape, Device device = Device::cpu,
                 void* stream = nullptr);
void reduce_variance(const double* x, double* y, double* mean, const ReduceShape& shape,
                     double correction = 1, Device device = Device::cpu, void* stream = nullptr);
void reduce_max(const double* x, double* y, std::int64_t* index, const ReduceShape& shape,
                Device device = Device::cpu, void* stream = nullptr);
void reduce_min(const double* x, double* y, std::int64_t* index, const ReduceShape& shape,
                Device device = Device::cpu, void* stream = nullptr);
void reduce_sum_backward(const double* dy, double* dx, const ReduceShape& shape, Device device = Device::cpu,
                         void* stream = nullptr);
void reduce_mean_backward(const double* dy, double* dx, const ReduceShape& shape, Device device = Device::cpu,
                          void* stream = nullptr);
void reduce_variance_backward(const double* dy, const double* x, const double* mean, double* dx,
                              const ReduceShape& shape, double correction = 1, Device device = Device::cpu,
                              void* stream = nullptr);
void reduce_select_backward(const double* dy, const std::int64_t* index, double* dx, const ReduceShape& shape,
                            Device device = Device::cpu, void* stream = nullptr);

}  // namespace lockstep
