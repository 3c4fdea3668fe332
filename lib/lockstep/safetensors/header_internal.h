#pragma once
// The header's text, apart from files.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep/safetensors/safetensors.h"

namespace lockstep::internal {

/// The most bytes of a header, as in the format's own implementation.
constexpr std::uint64_t kMostHeaderBytes = 100'000'000;

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  ///< by name
  std::map<std::string, std::string> metadata;
};

/// `file` is for messages; `data_begin` the offset of the data in the file and `data_bytes` how many there
/// are. Throws Error(corruption, unsupported).
SafetensorsHeader parse_safetensors_header(const std::string& file, std::string_view text,
                                           std::uint64_t data_begin, std::uint64_t data_bytes);

/// The text for tensors that lie one after the other from data_begin = 0, padded with spaces to a multiple of
/// 8 bytes.
std::string safetensors_header_text(const std::vector<SafetensorsEntry>& tensors,
                                    const std::map<std::string, std::string>& metadata);

}  // namespace lockstep::internal
