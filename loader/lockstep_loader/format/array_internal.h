#pragma once
// Arrays that lie in files, put together as the fields of one dataset.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/column_dataset.h"

namespace lockstep::loader {

struct StoredArray {
  std::string name;   ///< file, or archive and entry
  std::string field;  ///< what its records are called
  DType dtype = DType::uint8;
  Shape shape;  ///< [n, …record shape]
  bool swap_bytes = false;
  std::span<const std::byte> elements;
  std::shared_ptr<const void> owner;
};

/// Throws Error(invalid_argument) for arrays of different first extents ("labels that do not match images"),
/// naming both and their counts, and for a scalar.
ColumnSet join_arrays(const std::string& kind, std::vector<StoredArray> arrays);

}  // namespace lockstep::loader
