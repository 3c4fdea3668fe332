#include <algorithm>
#include <cstring>
#include <memory>

#include <fmt/format.h>
#include <spng.h>
#include <turbojpeg.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/image_internal.h"

namespace lockstep::loader {
namespace {

constexpr std::size_t kPngChunkLimitBytes = std::size_t{1} << 24;

[[noreturn]] void fail_image(const std::string& name, const std::string& what, const std::string& expected,
                             const std::string& got) {
  fail(ErrorCode::corruption, {name, what, expected, got, {}});
}

struct FreePng {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};

void check_png(int status, const std::string& name) {
  if (status != 0) fail_image(name, "PNG", {}, spng_strerror(status));
}

bool starts_with(std::span<const std::byte> file, std::string_view magic) {
  return file.size() >= magic.size() && std::memcmp(file.data(), magic.data(), magic.size()) == 0;
}

/// libspng does not miss the end of a file that breaks off behind the pixels, so the chunks are followed to
/// the last one.
void check_png_end(std::span<const std::byte> file, const std::string& name) {
  constexpr std::size_t kSignature = 8;
  constexpr std::size_t kFrame = 12;  // length, type, CRC
  std::size_t at = kSignature;
  while (file.size() - at >= kFrame) {
    std::size_t length = 0;
    for (std::byte byte : file.subspan(at, 4)) length = length << 8 | std::to_integer<std::size_t>(byte);
    if (length > file.size() - at - kFrame) break;
    if (std::memcmp(file.data() + at + 4, "IEND", 4) == 0) return;
    at += kFrame + length;
  }
  fail_image(name, "PNG", {}, "it breaks off before its end");
}

std::byte luma(const std::byte* pixel) {
  const auto channel = [&](int at) { return std::to_integer<unsigned>(pixel[at]); };
  return static_cast<std::byte>((299 * channel(0) + 587 * channel(1) + 114 * channel(2) + 500) / 1000);
}

}  // namespace

struct ImageDecoder::Job {
  std::span<const std::byte> file;
  const std::string& name;
  const ImageFolderOptions& options;
  std::byte* out;

  std::int64_t channels() const { return options.grayscale ? 1 : 3; }
  bool same_size(std::int64_t height, std::int64_t width) const {
    return height == options.height && width == options.width;
  }
  /// Before anything is allocated for it.
  void check_size(std::int64_t height, std::int64_t width) const {
    const std::string size = fmt::format("{} x {}", height, width);
    const std::string wanted = fmt::format("{} x {}", options.height, options.width);
    if (height < 1 || width < 1 || height > options.max_pixels / width) {
      fail_image(name, "image size", fmt::format("1 to {} pixels", options.max_pixels), size);
    }
    if (options.fit == ImageFit::exact && !same_size(height, width))
      fail_image(name, "image size", wanted, size);
    if (options.fit == ImageFit::center_crop && (height < options.height || width < options.width)) {
      fail_image(name, "image size", "at least " + wanted, size);
    }
  }
};

ImageDecoder::ImageDecoder() : jpeg_(tjInitDecompress()) {
  if (jpeg_ == nullptr)
    fail(ErrorCode::io, {"image folder", "JPEG decoder", {}, tjGetErrorStr2(nullptr), {}});
}

ImageDecoder::~ImageDecoder() { tjDestroy(jpeg_); }

void ImageDecoder::decode(std::span<const std::byte> file, const std::string& name,
                          const ImageFolderOptions& options, std::byte* out) {
  const Job job{file, name, options, out};
  if (starts_with(file, "\xff\xd8\xff")) return decode_jpeg(job);
  if (starts_with(file, "\x89PNG\r\n\x1a\n")) return decode_png(job);
  fail_image(name, "image", "a PNG or JPEG file", file.empty() ? "an empty file" : "another beginning");
}

std::byte* ImageDecoder::pixels_of(const Job& job, std::int64_t height, std::int64_t width) {
  if (job.same_size(height, width)) return job.out;
  pixels_.resize(static_cast<std::size_t>(height * width * job.channels()));
  return pixels_.data();
}

void ImageDecoder::decode_jpeg(const Job& job) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(job.file.data());
  int width = 0;
  int height = 0;
  int subsampling = 0;
  int colors = 0;
  if (tjDecompressHeader3(jpeg_, bytes, job.file.size(), &width, &height, &subsampling, &colors) != 0) {
    fail_image(job.name, "JPEG", {}, tjGetErrorStr2(jpeg_));
  }
  // A stream of tables alone is a good JPEG for the decoder, of size 0.
  if (height < 1 || width < 1) fail_image(job.name, "JPEG", {}, "no picture in it");
  if (colors == TJCS_CMYK || colors == TJCS_YCCK) {
    fail(ErrorCode::unsupported,
         {job.name, "JPEG", "grayscale or colours of red, green and blue", "CMYK", "Convert the image."});
  }
  job.check_size(height, width);
  auto* pixels = reinterpret_cast<unsigned char*>(pixels_of(job, height, width));
  const int format = job.options.grayscale ? TJPF_GRAY : TJPF_RGB;
  // A warning is damage that the decoder papers over, differently from version to version.
  constexpr int kFlags = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS;
  if (tjDecompress2(jpeg_, bytes, job.file.size(), pixels, width, 0, height, format, kFlags) != 0) {
    fail_image(job.name, "JPEG", {}, tjGetErrorStr2(jpeg_));
  }
  fit(job, height, width);
}

void ImageDecoder::decode_png(const Job& job) {
  check_png_end(job.file, job.name);
  const std::unique_ptr<spng_ctx, FreePng> png(spng_ctx_new(0));
  if (!png) fail(ErrorCode::io, {job.name, "PNG", {}, "no memory for the decoder", {}});
  check_png(spng_set_chunk_limits(png.get(), kPngChunkLimitBytes, 4 * kPngChunkLimitBytes), job.name);
  check_png(spng_set_png_buffer(png.get(), job.file.data(), job.file.size()), job.name);
  spng_ihdr header{};
  check_png(spng_get_ihdr(png.get(), &header), job.name);
  const std::int64_t height = header.height;
  const std::int64_t width = header.width;
  job.check_size(height, width);

  const std::int64_t count = height * width;
  std::byte* pixels = nullptr;
  if (job.options.grayscale) {
    pixels_.resize(static_cast<std::size_t>(3 * count));
    pixels = pixels_.data();
  } else {
    pixels = pixels_of(job, height, width);
  }
  check_png(spng_decode_image(png.get(), pixels, static_cast<std::size_t>(3 * count), SPNG_FMT_RGB8, 0),
            job.name);
  check_png(spng_decode_chunks(png.get()), job.name);  // checksums behind the pixels
  if (job.options.grayscale) {
    std::byte* gray = job.same_size(height, width) ? job.out : pixels;
    for (std::int64_t at = 0; at < count; ++at) gray[at] = luma(pixels + 3 * at);
  }
  fit(job, height, width);
}

void ImageDecoder::fit(const Job& job, std::int64_t height, std::int64_t width) {
  if (job.same_size(height, width)) return;
  if (job.options.fit == ImageFit::resize) {
    return resize_bilinear({pixels_.data(), height, width, job.channels()}, job.options.height,
                           job.options.width, job.out);
  }
  const std::int64_t top = (height - job.options.height) / 2;
  const std::int64_t left = (width - job.options.width) / 2;
  const std::int64_t row_bytes = job.options.width * job.channels();
  for (std::int64_t row = 0; row < job.options.height; ++row) {
    const std::byte* from = pixels_.data() + ((top + row) * width + left) * job.channels();
    std::memcpy(job.out + row * row_bytes, from, static_cast<std::size_t>(row_bytes));
  }
}

}  // namespace lockstep::loader
