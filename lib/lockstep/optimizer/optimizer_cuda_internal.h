#pragma once
// What optimizer.cpp chooses for CUDA. C++17, so without spans.

#include <cstddef>
#include <cstdint>

#include "lockstep/base/host_device.h"
#include "lockstep/optimizer/optimizer_inl.h"
#include "lockstep/optimizer/parameters.h"

namespace lockstep::optimizer {

constexpr std::int64_t kNormBlock = 1024;  ///< elements whose squares are one partial

LOCKSTEP_HOST_DEVICE constexpr std::int64_t norm_blocks(std::int64_t count) {
  return (count + kNormBlock - 1) / kNormBlock;
}

/// One gradient of a norm.
struct GradientArray {
  float* data = nullptr;
  std::int64_t count = 0;
  float* partials = nullptr;  ///< [norm_blocks(count)]
  float* sum = nullptr;       ///< of its squares
};

void sgd_cuda(const SgdParameter* parameters, std::size_t count, const SgdFactors<float>& factors,
              void* stream);
void adam_cuda(const AdamParameter* parameters, std::size_t count, const AdamFactors<float>& factors,
               bool amsgrad, void* stream);
/// The sums lie one behind the other from `sums` on.
void gradient_norm_cuda(const GradientArray* gradients, std::size_t count, const float* sums, float* norm,
                        void* stream);
/// gradients · clip_factor(*norm, max_norm).
void clip_cuda(const GradientArray* gradients, std::size_t count, const float* norm, float max_norm,
               void* stream);

}  // namespace lockstep::optimizer
