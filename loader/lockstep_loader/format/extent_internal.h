#pragma once
// Extents that come from a file's header.

#include <cstdint>
#include <span>
#include <string>

#include "lockstep/base/dtype.h"
#include "lockstep/base/shape.h"

namespace lockstep::loader {

/// The shape, or Error(corruption) naming `file` when its bytes are more than any file can hold. A header
/// must not end in an overflow that makes its size look right.
Shape file_shape(const std::string& file, std::span<const std::int64_t> extents, DType dtype);

}  // namespace lockstep::loader
