#pragma once
// What the factories of both orders ask of their arguments.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lockstep::loader {

/// Throws Error(invalid_argument) outside [0, 2^62].
void check_count(const char* what, std::int64_t count);

/// Throws Error(invalid_argument) naming the place of a negative index.
void check_indices(std::span<const std::int64_t> indices);

bool has_repeats(std::vector<std::int64_t> indices);

/// Digests that let describe() tell lists apart.
std::string ids_checksum(std::span<const std::int64_t> ids);
std::string weights_checksum(std::span<const double> weights);

}  // namespace lockstep::loader
