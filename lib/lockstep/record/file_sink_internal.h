#pragma once
// The append-only file under a recorder, and the same with faults for tests. Functions return an errno value,
// 0 for success.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace lockstep::record {

class FileSink {
 public:
  virtual ~FileSink() = default;
  /// Writes all of `bytes` at `offset`, or as much as it can: `*written` says how much.
  virtual int write(std::uint64_t offset, std::string_view bytes, std::size_t* written) = 0;
  virtual int sync() = 0;
  virtual int truncate(std::uint64_t size) = 0;
};

/// Creates `directory/name` holding `first_bytes`, durably: under a temporary name, fsync, link, fsync of the
/// folder. Nothing when a file of that name exists already. Throws Error(io, not_found) and leaves no
/// temporary behind.
std::unique_ptr<FileSink> create_file_sink(const std::filesystem::path& directory, const std::string& name,
                                           std::string_view first_bytes);

}  // namespace lockstep::record
