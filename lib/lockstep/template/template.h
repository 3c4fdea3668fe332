#pragma once
// The contract of this room: what a caller may rely on. Order of operations: README.md; contracts, section 5.

#include "lockstep/base/view.h"

namespace lockstep {

/// Grows with every change of bits.
constexpr int kTemplateOpSpecVersion = 1;

/// Writes the lane sum of each row: y[r] = x[r, 0] + … + x[r, features - 1], in the order of the lane
/// contract.
///
/// x       float32 [rows, features], read
/// y       float32 [rows], written, on x's device; must not overlap x
/// stream  the cudaStream_t to work on when x is on a CUDA device (null: the default stream); unused on the
/// CPU
///
/// An empty row gives +0. Either extent may be 0. Guarantees: run_to_run, batch, threads, cpu_to_gpu (NaN
/// payloads excepted). Throws Error(invalid_argument) for another dtype, shape or a null pointer,
/// Error(unsupported) for a CUDA view where this build or this machine has no CUDA. On a CUDA device the call
/// returns before the work is done.
void template_op(const ConstView& x, const View& y, void* stream = nullptr);

}  // namespace lockstep
