#pragma once
// What softmax.cpp calls. Extents have been checked, and there are elements. C++17.

#include "lockstep/softmax/softmax.h"

namespace lockstep::softmax_internal {

enum class Kind { softmax, log_softmax };

void forward_cpu(Kind kind, const float* x, float* y, const AxisExtents& extents);
void backward_cpu(Kind kind, const float* dy, const float* y, float* dx, const AxisExtents& extents);
void forward_cuda(Kind kind, const float* x, float* y, const AxisExtents& extents, void* stream);
void backward_cuda(Kind kind, const float* dy, const float* y, float* dx, const AxisExtents& extents,
                   void* stream);

// softmax_fp64.cpp
void forward_cpu(Kind kind, const double* x, double* y, const AxisExtents& extents);
void backward_cpu(Kind kind, const double* dy, const double* y, double* dx, const AxisExtents& extents);

}  // namespace lockstep::softmax_internal
