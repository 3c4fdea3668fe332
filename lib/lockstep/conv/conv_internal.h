#pragma once
// What conv.cpp chooses from. Arguments have been checked.

#include "lockstep/conv/conv.h"

namespace lockstep::conv_internal {

void conv_cpu(const Conv& call);
void input_gradient_cpu(const ConvInputGradient& call);
void weight_gradient_cpu(const ConvWeightGradient& call);

void conv_cuda(const Conv& call, void* stream);
void input_gradient_cuda(const ConvInputGradient& call, void* stream);
void weight_gradient_cuda(const ConvWeightGradient& call, void* stream);

// conv_fp64.cpp
void conv_cpu(const Conv64& call);
void input_gradient_cpu(const ConvInputGradient64& call);
void weight_gradient_cpu(const ConvWeightGradient64& call);

}  // namespace lockstep::conv_internal
