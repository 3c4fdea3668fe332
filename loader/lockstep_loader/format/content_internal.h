#pragma once
// The content of a data file, whether it lies in the file plain or as gzip: told by its first two bytes,
// never by its name.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lockstep_loader/format/inflate_internal.h"

namespace lockstep::loader {

/// Bytes with a name for messages. `owner` keeps them alive; null when the caller does.
struct Content {
  std::string name = {};
  std::span<const std::byte> bytes = {};
  std::shared_ptr<const void> owner = {};
};

/// The file as it is on disk. Throws as MappedFile does.
Content map_file(const std::filesystem::path& path);

/// Reads a format whose header says how long the content is, without inflating more than that.
class ContentReader {
 public:
  /// `may_be_gzip`: false for what was taken out of an archive already.
  explicit ContentReader(Content raw, bool may_be_gzip = true);

  const std::string& name() const { return raw_.name; }

  /// The first `bytes` of the content, fewer only when it is shorter. Valid until the next call.
  std::span<const std::byte> head(std::size_t bytes);

  /// The whole content, which must be of `bytes` bytes. `says` tells where the number comes from: "60000
  /// records of 784 bytes". Throws Error(corruption) for a shorter or longer one.
  Content exactly(std::uint64_t bytes, const std::string& says);

  /// The whole content of a format that does not say its size: plain, or inflated up to `limit_bytes`.
  Content all(std::uint64_t limit_bytes);

 private:
  bool plain() const { return inflate_ == nullptr; }
  [[noreturn]] void fail_size(std::uint64_t bytes, const std::string& says, const std::string& got) const;

  Content raw_;
  std::unique_ptr<InflateReader> inflate_;  // null for a plain file
  std::vector<std::byte> head_;             // inflated so far
};

/// For formats without a stated size: what gzip may grow to. A larger plain file needs no permission.
inline constexpr std::uint64_t kDefaultInflateLimitBytes = std::uint64_t{4} << 30;

/// Memory of `bytes` that the system hands out as it is touched.
struct OwnedBytes {
  std::shared_ptr<std::byte[]> memory;
  std::span<std::byte> bytes;
};
OwnedBytes allocate(std::uint64_t bytes, const std::string& name);

}  // namespace lockstep::loader
