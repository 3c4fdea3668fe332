#pragma once
// What conv.cpp chooses from. Arguments have been checked.

#include "lockstep/conv/conv.h"

namespace lockstep::conv_internal {

void conv_cpu(const Conv& call);
void input_gradient_cpu(const ConvInputGradient& call);
void weight_gradient_cpu(const ConvWeightGradient& call);

}  // namespace lockstep::conv_internal
