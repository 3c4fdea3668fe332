#include <algorithm>

#include "lockstep/base/error.h"
#include "lockstep/fingerprint/digest.h"
#include "lockstep_loader/sampler/checks_internal.h"

namespace lockstep::loader {

void check_count(const char* what, std::int64_t count) {
  if (count >= 0 && count <= std::int64_t{1} << 62) return;
  fail(ErrorCode::invalid_argument, {"sampler", what, "0 to 2^62", std::to_string(count), {}});
}

void check_indices(std::span<const std::int64_t> indices) {
  for (std::size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] >= 0) continue;
    fail(ErrorCode::invalid_argument,
         {"sampler", "index " + std::to_string(i), "0 or more", std::to_string(indices[i]),
          "Record ids count from 0; there is no counting from the end"});
  }
}

bool has_repeats(std::vector<std::int64_t> indices) {
  std::sort(indices.begin(), indices.end());
  return std::adjacent_find(indices.begin(), indices.end()) != indices.end();
}

std::string ids_checksum(std::span<const std::int64_t> ids) {
  return fingerprint::digest_bytes(ids.data(), ids.size_bytes()).hex();
}

std::string weights_checksum(std::span<const double> weights) {
  return fingerprint::digest_bytes(weights.data(), weights.size_bytes()).hex();
}

}  // namespace lockstep::loader
