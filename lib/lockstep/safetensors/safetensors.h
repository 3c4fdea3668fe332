#pragma once
// Weights in the safetensors format, as Hugging Face's programs read and write it. README.md holds what is
// checked.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lockstep/base/view.h"

namespace lockstep {

/// A tensor of a file: contiguous, row-major, little-endian.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::float32;
  Shape shape;
  std::uint64_t offset = 0;  ///< of its first byte in the file
  std::uint64_t bytes = 0;
};

/// A file that is open for reading. Only the header is held in memory. Thread-safety: const members may be
/// called by several threads at a time.
class SafetensorsFile {
 public:
  /// Reads and checks the header against the file's size. Throws Error(not_found, io); Error(corruption)
  /// naming the tensor and what is wrong with it; Error(unsupported) for an element type that `DType` does
  /// not have, or more than 8 axes.
  explicit SafetensorsFile(const std::filesystem::path& path);
  ~SafetensorsFile();
  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  /// By name, ascending.
  const std::vector<SafetensorsEntry>& tensors() const { return tensors_; }
  /// Null where the file has no tensor of this name.
  const SafetensorsEntry* find(const std::string& name) const;
  /// The header's "__metadata__": "format" is "pt" in PyTorch's files.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// Copies the tensor to `out`, of the entry's dtype and shape, on the CPU. Throws Error(invalid_argument)
  /// for another dtype, shape or device, Error(io), and Error(corruption) where the file has become shorter.
  void read(const SafetensorsEntry& entry, const View& out) const;

 private:
  std::string name_;
  int descriptor_ = -1;
  std::vector<SafetensorsEntry> tensors_;
  std::map<std::string, std::string> metadata_;
};

struct SafetensorsTensor {
  std::string name;
  ConstView view;  ///< on the CPU
};

/// Writes a file that a reader sees whole or not at all. The order in the file is that of Hugging Face's
/// writer: larger elements first, then by name; so equal tensors and metadata give equal bytes. Throws
/// Error(invalid_argument) for a name that comes twice, is empty or "__metadata__", for text that is not
/// UTF-8 and for memory of a device; Error(io, not_found).
void write_safetensors(const std::filesystem::path& path, const std::vector<SafetensorsTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace lockstep
