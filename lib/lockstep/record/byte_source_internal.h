#pragma once
// Where a reader's bytes come from: a file, or memory in tests and in the fuzzer.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lockstep::record {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// When the source was opened: what is appended later is not seen.
  virtual std::uint64_t size() const = 0;
  /// Fills `out` from `offset` on. Returns fewer bytes only at the end. Throws Error(io).
  virtual std::size_t read(std::uint64_t offset, std::span<std::byte> out) = 0;
};

/// Throws Error(not_found, io) when the file cannot be opened or is not a regular one.
std::unique_ptr<ByteSource> open_file_source(const std::filesystem::path& file);
std::unique_ptr<ByteSource> make_memory_source(std::string bytes);

/// A window that slides over a source: 256 KiB, or as much as the largest view that was asked for.
class Window {
 public:
  static constexpr std::size_t kWindowBytes = 256 * 1024;

  explicit Window(std::unique_ptr<ByteSource> source) : source_(std::move(source)) {}
  std::uint64_t size() const { return source_->size(); }
  /// `bytes` from `offset`, fewer only at the end of the source. Valid until the next call.
  std::span<const std::byte> view(std::uint64_t offset, std::size_t bytes);
  std::size_t capacity_bytes() const { return buffer_.capacity(); }

 private:
  std::unique_ptr<ByteSource> source_;
  std::vector<std::byte> buffer_;
  std::uint64_t begin_ = 0;
  std::size_t filled_ = 0;
};

}  // namespace lockstep::record
