#include <algorithm>

#include "lockstep_loader/format/image_internal.h"

namespace lockstep::loader {
namespace {

/// Two neighbours along an axis and the weight of the second, of 256.
struct Tap {
  std::int64_t first;
  std::int64_t second;
  std::int64_t weight;
};

/// Pixel centres lie at i + 1/2; positions are rounded down to 1/256 and held within the first and the last
/// centre.
Tap tap_of(std::int64_t at, std::int64_t in, std::int64_t out) {
  const std::int64_t numerator = (2 * at + 1) * in * 256;
  const std::int64_t position = std::clamp<std::int64_t>(numerator / (2 * out) - 128, 0, (in - 1) * 256);
  const std::int64_t first = position / 256;
  return {first, std::min(first + 1, in - 1), position % 256};
}

}  // namespace

void resize_bilinear(const ImageView& in, std::int64_t height, std::int64_t width, std::byte* out) {
  std::vector<Tap> columns(static_cast<std::size_t>(width));
  for (std::int64_t x = 0; x < width; ++x) columns[static_cast<std::size_t>(x)] = tap_of(x, in.width, width);
  const std::int64_t row_bytes = in.width * in.channels;
  for (std::int64_t y = 0; y < height; ++y) {
    const Tap row = tap_of(y, in.height, height);
    const std::byte* upper = in.pixels + row.first * row_bytes;
    const std::byte* lower = in.pixels + row.second * row_bytes;
    for (const Tap& column : columns) {
      for (std::int64_t channel = 0; channel < in.channels; ++channel) {
        const std::int64_t left = column.first * in.channels + channel;
        const std::int64_t right = column.second * in.channels + channel;
        const auto mix = [&](const std::byte* line) {
          return std::to_integer<std::int64_t>(line[left]) * (256 - column.weight) +
                 std::to_integer<std::int64_t>(line[right]) * column.weight;
        };
        *out++ =
            static_cast<std::byte>((mix(upper) * (256 - row.weight) + mix(lower) * row.weight + 32768) >> 16);
      }
    }
  }
}

}  // namespace lockstep::loader
