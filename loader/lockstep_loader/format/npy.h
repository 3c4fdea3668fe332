#pragma once
// NumPy's .npy arrays: the first axis counts the records. Plain files are mapped; gzip ones are
// inflated into memory. Thread-safety: immutable.
//
//   NpyDataset table({{"x.npy", "x"}, {"y.npy", "y"}});

#include <filesystem>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/column_dataset.h"

namespace lockstep::loader {

struct NpyFile {
  std::filesystem::path path;
  std::string field;  ///< the name that its records get
};

/// Versions 1, 2 and 3 in C order and either byte order; bool, int8 to int64, uint8 to uint64, float16,
/// float32, float64. Bytes of bool arrays are delivered as they are. The fingerprint covers fields, counts
/// and elements (digest_content's rule), not names, headers or compression.
class NpyDataset final : public ColumnDataset {
 public:
  /// Files of equally many records, one field a file. Throws Error(not_found), Error(io); Error(corruption)
  /// for a wrong magic, a header that is no such dictionary, or a size unlike the header's;
  /// Error(unsupported) for Fortran order, structured, text, object, time and complex types;
  /// Error(invalid_argument) for a scalar array or unequal counts.
  explicit NpyDataset(const std::vector<NpyFile>& files);
};

}  // namespace lockstep::loader
