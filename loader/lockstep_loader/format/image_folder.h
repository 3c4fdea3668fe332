#pragma once
// A folder of images, one sub-folder a class: root/<class>/…/<file>. PNG (libspng) and JPEG (libjpeg-turbo),
// decoded by whichever thread calls get(). Thread-safety: immutable but for a pool of decoders that is
// locked.
//
//   ImageFolder train("pets", {.height = 224, .width = 224, .fit = ImageFit::resize});

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lockstep_loader/dataset/dataset.h"
#include "lockstep_loader/dataset/fingerprint.h"

namespace lockstep::loader {

/// How an image of another size becomes one of height × width.
enum class ImageFit : std::uint8_t {
  exact,        ///< it must have that size
  center_crop,  ///< its middle (offsets rounded down); it must be at least that large
  resize,       ///< bilinear in integers, as the room's README says; the ratio of the sides is not kept
};

struct ImageFolderOptions {
  std::int64_t height = 0;  ///< required
  std::int64_t width = 0;   ///< required
  ImageFit fit = ImageFit::exact;
  bool grayscale = false;  ///< one channel instead of three (red, green, blue)
  std::int64_t max_pixels = std::int64_t{1}
                            << 27;  ///< a larger image is a bad sample: it may be a decompression bomb
};

/// Fields: image uint8 [height, width, 3 or 1], label int64 []. Classes are the sub-folders in byte order,
/// labels count them from 0; a class's images are the files below it, in byte order of their relative paths,
/// whose names end in .png, .jpg or .jpeg in any case. Hidden files and folders and files of other names are
/// passed over, but a picture of a kind that is not read (.bmp, .gif, .tif, .tiff, .webp, .ppm, .pgm) is
/// refused, for it would be missed. Links to files are followed.
///
/// An image that cannot be decoded (also one that the decoder only warns about) is a bad sample: get() throws
/// Error(corruption) naming file and reason. 16-bit PNG keeps its high byte; transparency is dropped;
/// grayscale is (299 R + 587 G + 114 B + 500) / 1000 for PNG and the Y channel for JPEG. CMYK JPEG is
/// refused.
///
/// The fingerprint covers options, class names, relative paths, file sizes, and the content of up to 256
/// files evenly spread, each by digest_content's rule.
class ImageFolder final : public Dataset {
 public:
  /// Throws Error(not_found) for a missing folder; Error(io) for one that cannot be listed;
  /// Error(invalid_argument) for one without classes, a class without images, or a size below 1;
  /// Error(unsupported) for a kind of picture not read.
  ImageFolder(const std::filesystem::path& root, const ImageFolderOptions& options);
  ~ImageFolder() override;

  const std::vector<std::string>& classes() const { return classes_; }
  std::int64_t size() const override { return static_cast<std::int64_t>(files_.size()); }
  const std::vector<Field>& fields() const override { return fields_; }
  void get(std::int64_t index, const random::RecordKey& key, std::span<std::byte* const> out) const override;
  fingerprint::Digest fingerprint() const override;
  std::string describe() const override;

 private:
  struct File {
    std::string path;  // relative to the root
    std::int64_t label;
  };
  class DecoderPool;

  void list_class(std::int64_t label);

  std::filesystem::path root_;
  ImageFolderOptions options_;
  std::vector<std::string> classes_;
  std::vector<File> files_;
  std::vector<Field> fields_;
  std::unique_ptr<DecoderPool> decoders_;
  FingerprintCache fingerprint_;
};

}  // namespace lockstep::loader
