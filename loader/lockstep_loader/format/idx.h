#pragma once
// IDX, the format of the MNIST family: magic (0, 0, type, rank), rank big-endian 32-bit extents, big-endian
// elements. Plain files are mapped; gzip ones are inflated into memory. Thread-safety: immutable.
//
//   IdxDataset train("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz");   // fields image, label

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/column_dataset.h"

namespace lockstep::loader {

struct IdxFile {
  std::filesystem::path path;
  std::string field;  ///< the name that its records get
};

/// Types uint8, int8, int16, int32, float32, float64, delivered in the machine's byte order; the first extent
/// counts the records. The fingerprint covers fields, counts and elements (digest_content's rule), not names,
/// headers or compression.
class IdxDataset final : public ColumnDataset {
 public:
  /// Files of equally many records, one field a file. Throws Error(not_found), Error(io); Error(corruption)
  /// for a wrong magic number or a size unlike its header's; Error(invalid_argument) for files of unequal
  /// counts, naming both.
  explicit IdxDataset(const std::vector<IdxFile>& files);
  /// Fields "image" and "label".
  IdxDataset(const std::filesystem::path& images, const std::filesystem::path& labels)
      : IdxDataset(std::vector<IdxFile>{{images, "image"}, {labels, "label"}}) {}
};

}  // namespace lockstep::loader
