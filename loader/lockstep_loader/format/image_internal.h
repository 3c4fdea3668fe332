#pragma once
// One image from memory to a fixed size, for ImageFolder and the fuzzer.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lockstep_loader/format/image_folder.h"

namespace lockstep::loader {

/// Interleaved 8-bit pixels.
struct ImageView {
  const std::byte* pixels = nullptr;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
};

/// out[y][x] is bilinear between four pixels, in integers; the room's README has the formula.
void resize_bilinear(const ImageView& in, std::int64_t height, std::int64_t width, std::byte* out);

/// Holds a JPEG decoder and memory that is used again. One thread at a time.
class ImageDecoder {
 public:
  ImageDecoder();
  ~ImageDecoder();
  ImageDecoder(const ImageDecoder&) = delete;
  ImageDecoder& operator=(const ImageDecoder&) = delete;

  /// Writes height * width * channels bytes. Throws Error(corruption or unsupported) naming `name` and the
  /// reason.
  void decode(std::span<const std::byte> file, const std::string& name, const ImageFolderOptions& options,
              std::byte* out);

  /// Memory for a file's bytes.
  std::vector<std::byte>& file_memory() { return file_; }

 private:
  struct Job;

  void decode_jpeg(const Job& job);
  void decode_png(const Job& job);
  /// Where the decoder puts its pixels: straight to the output when nothing is left to do.
  std::byte* pixels_of(const Job& job, std::int64_t height, std::int64_t width);
  void fit(const Job& job, std::int64_t height, std::int64_t width);

  void* jpeg_ = nullptr;  // tjhandle
  std::vector<std::byte> file_;
  std::vector<std::byte> pixels_;
};

}  // namespace lockstep::loader
