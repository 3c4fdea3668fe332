#pragma once
// A file mapped for reading. Thread-safety: immutable after construction.
//
// The size is taken when the file is opened. A file that another program shortens while it is mapped is
// outside of what can be promised: the system answers a touch behind its new end with SIGBUS. Replace data
// files by rename, not in place.

#include <cstddef>
#include <filesystem>
#include <span>

namespace lockstep::loader {

class MappedFile {
 public:
  /// Throws Error(not_found) for a missing file and Error(io) for a folder, for what is no regular file, or
  /// for what the system refuses to open or to map.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  /// Empty for an empty file.
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace lockstep::loader
