#pragma once
// What optimizer.cpp chooses from, one function a device.

#include <span>

#include "lockstep/optimizer/optimizer.h"
#include "lockstep/optimizer/optimizer_inl.h"

namespace lockstep::optimizer {

/// Hyperparameters in double, then one rounding each.
SgdFactors<float> sgd_factors(const SgdOptions& options);
AdamFactors<float> adam_factors(const AdamOptions& options, std::int64_t step);

void sgd_cpu(std::span<const SgdParameter> parameters, const SgdFactors<float>& factors);
void adam_cpu(std::span<const AdamParameter> parameters, const AdamFactors<float>& factors, bool amsgrad);
float gradient_norm_cpu(std::span<const std::span<const float>> gradients);
void scale_cpu(std::span<const std::span<float>> gradients, float factor);

}  // namespace lockstep::optimizer
