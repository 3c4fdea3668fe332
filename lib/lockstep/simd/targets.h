#pragma once
// Which of the vector forms that a room was compiled in runs. All have the same bits; this is about speed,
// and about testing each of them.

#include <string>
#include <string_view>
#include <vector>

namespace lockstep::simd {

/// The forms that this machine and this build can run, best first; "SCALAR" is always there, and last. Names
/// are Highway's ("AVX3" is AVX-512). Instruction sets without a fused multiply-add are not among them: their
/// machines take the scalar form.
std::vector<std::string> instruction_sets();

/// The form that runs: the environment variable LOCKSTEP_ISA's, or else the best. Throws
/// Error(invalid_argument) where the variable names none that this machine has.
std::string_view active_instruction_set();

/// Makes every room run this form from now on: for tests and measurements. Not for use while another thread
/// computes. Throws Error(invalid_argument) for a name that is not in instruction_sets().
void force_instruction_set(std::string_view name);

}  // namespace lockstep::simd
