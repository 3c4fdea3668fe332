#pragma once
// .npy from memory, for NpyDataset, NpzDataset and the fuzzer.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep_loader/format/array_internal.h"
#include "lockstep_loader/format/content_internal.h"

namespace lockstep::loader {

/// What the dictionary of a .npy header says, not yet judged.
struct NpyHeader {
  std::string descr;  ///< "<f4"; empty for a structured type, which is a list
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

/// Reads the dictionary: a subset of Python's literals, the three keys in any order. Throws Error(corruption)
/// naming `file` for anything else.
NpyHeader parse_npy_header(const std::string& file, std::string_view text);

/// A whole .npy from `reader`, its records called `field`.
StoredArray parse_npy(ContentReader reader, std::string field);

}  // namespace lockstep::loader
