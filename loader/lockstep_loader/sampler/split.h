#pragma once
// random_split: a dataset's records dealt out to parts of given sizes.

#include <cstdint>
#include <span>
#include <vector>

#include "lockstep_loader/order/torch_generator.h"

namespace lockstep::loader {

/// Sizes of the parts by PyTorch's rule. `lengths` are fractions when their sum, added from left to right, is
/// within 10^-9 of 1 and not above it: floor(records · fraction), the rest given one each from the first part
/// on. Otherwise they are sizes that must sum to `records`. Throws Error(invalid_argument) for anything else,
/// naming the part.
std::vector<std::int64_t> split_sizes(std::int64_t records, std::span<const double> lengths);

/// torch.utils.data.random_split: one randperm of the total, cut into consecutive parts.
std::vector<std::vector<std::int64_t>> torch_random_split(std::int64_t records,
                                                          std::span<const double> lengths,
                                                          TorchGenerator& generator);

/// The same parts by native order: a permutation that depends on the seed alone.
std::vector<std::vector<std::int64_t>> native_random_split(std::int64_t records,
                                                           std::span<const double> lengths,
                                                           std::uint64_t seed);

}  // namespace lockstep::loader
