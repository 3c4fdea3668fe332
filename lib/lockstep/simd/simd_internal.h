#pragma once
// How a room compiles a file once for each instruction set, and chooses among the forms. A file x_cpu.cpp:
//
//   #include "lockstep/simd/simd_internal.h"
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "lockstep/x/x_cpu.cpp"
//   #include <hwy/foreach_target.h>
//   #include <hwy/highway.h>
//   #include "lockstep/simd/vector_internal.h"
//   HWY_BEFORE_NAMESPACE();
//   namespace lockstep::HWY_NAMESPACE { void form(…) { … } }
//   HWY_AFTER_NAMESPACE();
//   #if HWY_ONCE
//   namespace lockstep { HWY_EXPORT(form); void x_cpu(…) { LOCKSTEP_SIMD_CALL(form)(…); } }
//   #endif
//
// Highway's own HWY_DYNAMIC_DISPATCH is not used: its choice is one for the whole program, the user's code
// included, and is not ours to force.

#include "lockstep/base/vector_targets_internal.h"

// Targets without fma would round twice where the contracts round once, so they are not compiled; nor is the
// emulation of 128-bit vectors, for which the one-lane target stands everywhere.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | LOCKSTEP_SIZELESS_TARGETS)
#ifndef HWY_BROKEN_EMU128
#define HWY_BROKEN_EMU128 1
#endif

#include <hwy/targets.h>

namespace lockstep::simd {

/// The choice, made at the first call.
const hwy::ChosenTarget& chosen_target();

}  // namespace lockstep::simd

/// The chosen form of a function that HWY_EXPORT has named in this file.
#if HWY_IDE || ((HWY_TARGETS & (HWY_TARGETS - 1)) == 0)
#define LOCKSTEP_SIMD_CALL(function) HWY_STATIC_DISPATCH(function)
#else
#define LOCKSTEP_SIMD_CALL(function) \
  (*(HWY_DISPATCH_TABLE(function)[::lockstep::simd::chosen_target().GetIndex()]))
#endif
