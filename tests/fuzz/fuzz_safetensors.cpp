// The header of a safetensors file: the input's first byte says how much data follows it.

#include <string_view>

#include "fuzz.h"
#include "lockstep/safetensors/header_internal.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lockstep;
  if (size == 0) return 0;
  fuzz::expect_no_bug([&] {
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    const auto header = internal::parse_safetensors_header("fuzz", text, 8 + text.size(), data[0]);
    std::uint64_t bytes = 0;
    for (const SafetensorsEntry& entry : header.tensors) bytes += entry.bytes;
    if (bytes != data[0]) std::abort();  // tensors cover the data once
  });
  return 0;
}
