#pragma once
// What conv.cpp chooses from. Arguments have been checked.

#include "lockstep/conv/conv.h"

namespace lockstep::conv_internal {

void conv_cpu(const Conv& call);
void input_gradient_cpu(const ConvInputGradient& call);
void weight_gradient_cpu(const ConvWeightGradient& call);

// conv_fp64.cpp
void conv_cpu(const Conv64& call);
void input_gradient_cpu(const ConvInputGradient64& call);
void weight_gradient_cpu(const ConvWeightGradient64& call);

}  // namespace lockstep::conv_internal
