#pragma once
// Pictures that the tests and the benchmark of the image folder make.

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <spng.h>
#include <turbojpeg.h>

namespace lockstep::loader {

/// Interleaved pixels that are smooth and different everywhere.
inline std::string picture(int height, int width, int channels = 3) {
  std::string pixels;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c)
        pixels.push_back(static_cast<char>((x * 5 + y * 3 * (c + 1) + 40 * c) & 255));
    }
  }
  return pixels;
}

inline std::string encode_jpeg(const std::string& pixels, int height, int width, int format = TJPF_RGB,
                               int flags = 0, int subsampling = TJSAMP_420) {
  tjhandle encoder = tjInitCompress();
  unsigned char* out = nullptr;
  unsigned long size = 0;
  const auto* in = reinterpret_cast<const unsigned char*>(pixels.data());
  const int status = tjCompress2(encoder, in, width, 0, height, format, &out, &size, subsampling, 90, flags);
  if (status != 0) throw std::runtime_error(tjGetErrorStr2(encoder));
  const std::string bytes(reinterpret_cast<const char*>(out), size);
  tjFree(out);
  tjDestroy(encoder);
  return bytes;
}

inline std::string encode_png(const std::string& pixels, int height, int width,
                              int color = SPNG_COLOR_TYPE_TRUECOLOR, int depth = 8, bool interlaced = false) {
  spng_ctx* encoder = spng_ctx_new(SPNG_CTX_ENCODER);
  spng_set_option(encoder, SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header{};
  header.width = static_cast<std::uint32_t>(width);
  header.height = static_cast<std::uint32_t>(height);
  header.color_type = static_cast<std::uint8_t>(color);
  header.bit_depth = static_cast<std::uint8_t>(depth);
  header.interlace_method = interlaced ? 1 : 0;
  spng_set_ihdr(encoder, &header);
  const int status =
      spng_encode_image(encoder, pixels.data(), pixels.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
  if (status != 0) throw std::runtime_error(spng_strerror(status));
  std::size_t size = 0;
  int error = 0;
  void* out = spng_get_png_buffer(encoder, &size, &error);
  const std::string bytes(static_cast<const char*>(out), size);
  std::free(out);
  spng_ctx_free(encoder);
  return bytes;
}

}  // namespace lockstep::loader
