#pragma once
// The activations of one float, for host and device: relu(x), gelu_erf_backward(dy, x), …
// The vector forms have the same bits. C++17; compile with contraction off.

#include "lockstep/math/math_inl.h"

namespace lockstep::math::internal::activation {

#define LOCKSTEP_MATH_FUNCTION LOCKSTEP_HOST_DEVICE inline
#include "lockstep/activation/formulas_inl.h"
#undef LOCKSTEP_MATH_FUNCTION

}  // namespace lockstep::math::internal::activation
