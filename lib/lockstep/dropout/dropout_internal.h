#pragma once
// What dropout.cpp chooses from, one function a device. C++17: dropout_cuda.cu sees it.

#include <cstdint>

#include "lockstep/dropout/dropout.h"

namespace lockstep::dropout_draws {

/// A call whose numbers fit. x and y, or keeps, are null.
struct Call {
  const float* x;
  float* y;
  std::uint8_t* keeps;
  std::int64_t samples, elements;
  std::uint64_t seed;
  std::uint32_t stream, step, first_sample;
  std::uint64_t threshold;  ///< words from here on keep their element; 2^32: none does
  float scale;
};

void run_cpu(const Call& call);
void run_cuda(const Call& call, void* stream);
/// dropout_fp64.cpp. Arguments have been checked.
void run_cpu(const double* x, double* y, std::int64_t samples, std::int64_t elements, double p,
             const DropoutDraw& draw);

}  // namespace lockstep::dropout_draws
