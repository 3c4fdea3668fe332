#pragma once
// NumPy's .npz: a zip archive of .npy arrays, each a field. Stored arrays are mapped, deflated ones inflated
// into memory. Thread-safety: immutable.
//
//   NpzDataset table("train.npz", {"x", "y"});

#include <filesystem>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/column_dataset.h"

namespace lockstep::loader {

/// Types and fingerprint as NpyDataset's. Only the arrays that are used are read; their CRC-32 is checked
/// when opened.
class NpzDataset final : public ColumnDataset {
 public:
  /// `arrays`: names without ".npy", in the order of the fields; empty takes every array in the archive's
  /// order. Throws what NpyDataset does; Error(corruption) for a damaged archive; Error(not_found) for an
  /// array that is not there, naming those that are; Error(unsupported) for encryption and for methods other
  /// than stored and deflated.
  explicit NpzDataset(const std::filesystem::path& path, const std::vector<std::string>& arrays = {});
};

}  // namespace lockstep::loader
