#pragma once
// The losses of one element, for host and device: mse(x, target), mse_backward(x, target, g), … The vector
// forms have the same bits. C++17; compile with contraction off.

#include "lockstep/math/math_inl.h"

namespace lockstep::math::internal::loss {

#define LOCKSTEP_MATH_FUNCTION LOCKSTEP_HOST_DEVICE inline
#include "lockstep/loss/formulas_inl.h"
#undef LOCKSTEP_MATH_FUNCTION

}  // namespace lockstep::math::internal::loss
