#pragma once
// What every file that Highway compiles into several vector forms says before it includes Highway.

// The one-lane form is compiled too where every machine has better, as on ARM: it is there everywhere.
#ifndef HWY_COMPILE_ALL_ATTAINABLE
#define HWY_COMPILE_ALL_ATTAINABLE
#endif

// Every ARM machine of 64 bits has NEON, so that nothing is left to choose at run time. Said so, because the
// attribute that marks functions of a chosen form is missing on what the compiler itself adds to a class.
#if defined(__aarch64__)
#ifndef TOOLCHAIN_MISS_SYS_AUXV_H
#define TOOLCHAIN_MISS_SYS_AUXV_H
#endif
#endif

// Vectors that have no size at compile time cannot be members of a class; their machines take NEON or one
// lane.
#define LOCKSTEP_SIZELESS_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
