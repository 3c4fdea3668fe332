#pragma once
// zlib's inflate as a reader that pulls: gzip (RFC 1952) with any number of members, and the raw deflate of
// zip archives.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace lockstep::loader {

/// deflate cannot shrink data further than this: a size above compressed * kDeflateRatio + 64 is a lie.
inline constexpr std::uint64_t kDeflateRatio = 1032;

bool is_gzip(std::span<const std::byte> content);

enum class Wrapping { gzip, raw };

class InflateReader {
 public:
  /// `name` is for messages; `compressed` must outlive the reader.
  InflateReader(std::span<const std::byte> compressed, std::string name, Wrapping wrapping);
  ~InflateReader();
  InflateReader(const InflateReader&) = delete;
  InflateReader& operator=(const InflateReader&) = delete;

  /// Inflates up to out.size() bytes; fewer only at the end of the data, and then the whole input is used up.
  /// Throws Error(corruption) for a damaged or truncated stream, a wrong checksum, or bytes that follow it
  /// and are no further member.
  std::size_t read(std::span<std::byte> out);

 private:
  struct Stream;

  void refill();
  void end_of_member();
  [[noreturn]] void fail_stream(const std::string& what, const std::string& got) const;

  std::span<const std::byte> left_;  // not yet given to zlib
  std::string name_;
  Wrapping wrapping_;
  std::unique_ptr<Stream> stream_;
  bool ended_ = false;
};

}  // namespace lockstep::loader
