#include "lockstep_loader/transform/image_transforms.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/dataset/check.h"

namespace lockstep::loader {
namespace {

const Field& image_field(const Dataset& dataset, const std::string& name) {
  return dataset.fields()[field_position(dataset, name)];
}

[[noreturn]] void fail_argument(const std::string& where, const std::string& what,
                                const std::string& expected, const std::string& got) {
  fail(ErrorCode::invalid_argument, {where, what, expected, got, {}});
}

/// An image as planes of rows of pixels: an interleaved image is one plane of wide pixels.
struct Geometry {
  std::int64_t planes = 1;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::size_t pixel_bytes = 0;

  std::size_t row_bytes() const { return static_cast<std::size_t>(width) * pixel_bytes; }
  std::size_t offset(std::int64_t plane, std::int64_t row) const {
    return static_cast<std::size_t>(plane * height + row) * row_bytes();
  }
};

Geometry geometry_of(const std::string& where, const Field& field, ImageLayout layout) {
  const Shape& shape = field.shape;
  const std::size_t element = dtype_bytes(field.dtype);
  if (layout == ImageLayout::interleaved) {
    if (shape.rank() != 3)
      fail_argument(where, fmt::format("shape of '{}'", field.name), "[H, W, C]", shape.text());
    return {1, shape[0], shape[1], element * static_cast<std::size_t>(shape[2])};
  }
  if (shape.rank() == 2) return {1, shape[0], shape[1], element};
  if (shape.rank() != 3)
    fail_argument(where, fmt::format("shape of '{}'", field.name), "[H, W] or [C, H, W]", shape.text());
  return {shape[0], shape[1], shape[2], element};
}

using Table = std::array<float, 256>;

/// There are only 256 inputs, so each is computed once, in the documented order.
Table float_table(float mean, float std) {
  Table table;
  for (std::size_t x = 0; x < table.size(); ++x) {
    const float scaled = static_cast<float>(x) / 255.f;
    const float centred = scaled - mean;
    table[x] = centred / std;
  }
  return table;
}

/// `bytes` elements that are `stride` apart.
void look_up(const Table& table, const std::uint8_t* in, float* out, std::int64_t count,
             std::int64_t stride) {
  for (std::int64_t at = 0; at < count * stride; at += stride) out[at] = table[in[at]];
}

void check_statistics(const std::string& where, float mean, float std) {
  if (!std::isfinite(mean)) fail_argument(where, "mean", "a finite number", fmt::to_string(mean));
  if (!std::isfinite(std) || std <= 0.f)
    fail_argument(where, "std", "a positive finite number", fmt::to_string(std));
}

void check_uint8(const std::string& where, const Field& field) {
  if (field.dtype == DType::uint8) return;
  fail_argument(where, fmt::format("dtype of '{}'", field.name), "uint8",
                std::string(dtype_name(field.dtype)));
}

void mirror_row(const std::byte* in, std::byte* out, std::int64_t width, std::size_t pixel_bytes) {
  for (std::int64_t x = 0; x < width; ++x) {
    const auto from = static_cast<std::size_t>(width - 1 - x) * pixel_bytes;
    std::memcpy(out + static_cast<std::size_t>(x) * pixel_bytes, in + from, pixel_bytes);
  }
}

/// The window of `out` whose corner is at (top, left) of `in`; what lies outside of `in` is zero.
void crop(const Geometry& from, const std::byte* in, const Geometry& to, std::byte* out, std::int64_t top,
          std::int64_t left) {
  const std::int64_t first = std::clamp<std::int64_t>(-left, 0, to.width);
  const std::int64_t last = std::clamp<std::int64_t>(from.width - left, first, to.width);
  std::memset(out, 0, to.offset(to.planes, 0));
  for (std::int64_t plane = 0; plane < to.planes; ++plane) {
    for (std::int64_t row = 0; row < to.height; ++row) {
      if (top + row < 0 || top + row >= from.height || first == last) continue;
      const std::byte* source =
          in + from.offset(plane, top + row) + static_cast<std::size_t>(left + first) * from.pixel_bytes;
      std::byte* target = out + to.offset(plane, row) + static_cast<std::size_t>(first) * to.pixel_bytes;
      std::memcpy(target, source, static_cast<std::size_t>(last - first) * to.pixel_bytes);
    }
  }
}

Shape cropped_shape(const Shape& shape, ImageLayout layout, std::int64_t height, std::int64_t width) {
  if (layout == ImageLayout::interleaved) return {height, width, shape[2]};
  if (shape.rank() == 2) return {height, width};
  return {shape[0], height, width};
}

}  // namespace

Transform to_float(const Dataset& dataset, const std::string& field, float mean, float std) {
  const std::string where = "to_float";
  Field image = image_field(dataset, field);
  check_uint8(where, image);
  check_statistics(where, mean, std);
  image.dtype = DType::float32;
  const auto table = std::make_shared<const Table>(float_table(mean, std));
  return {fmt::format("to_float({:a}, {:a})", mean, std),
          {field},
          {image},
          [table](std::span<const ConstView> in, random::Generator&, std::span<const View> out) {
            look_up(*table, static_cast<const std::uint8_t*>(in[0].data), static_cast<float*>(out[0].data),
                    in[0].shape.elements(), 1);
          }};
}

Transform normalize(const Dataset& dataset, const std::string& field, const std::vector<float>& mean,
                    const std::vector<float>& std, ImageLayout layout) {
  const std::string where = "normalize";
  Field image = image_field(dataset, field);
  check_uint8(where, image);
  const Geometry geometry = geometry_of(where, image, layout);
  const bool interleaved = layout == ImageLayout::interleaved;
  const std::int64_t channels =
      interleaved ? static_cast<std::int64_t>(geometry.pixel_bytes) : geometry.planes;
  const auto given = static_cast<std::int64_t>(std::min(mean.size(), std.size()));
  if (given != channels || mean.size() != std.size()) {
    fail_argument(where, "means and stds", fmt::format("{} of each, one a channel", channels),
                  fmt::format("{} and {}", mean.size(), std.size()));
  }
  auto tables = std::make_shared<std::vector<Table>>();
  for (std::size_t channel = 0; channel < mean.size(); ++channel) {
    check_statistics(where, mean[channel], std[channel]);
    tables->push_back(float_table(mean[channel], std[channel]));
  }
  const std::int64_t pixels = geometry.height * geometry.width;
  const std::int64_t stride = interleaved ? channels : 1;
  const std::int64_t next_channel = interleaved ? 1 : pixels;
  image.dtype = DType::float32;
  return {fmt::format("normalize({:a}, {:a})", fmt::join(mean, " "), fmt::join(std, " ")),
          {field},
          {image},
          [=](std::span<const ConstView> in, random::Generator&, std::span<const View> out) {
            const auto* from = static_cast<const std::uint8_t*>(in[0].data);
            auto* to = static_cast<float*>(out[0].data);
            for (std::int64_t channel = 0; channel < channels; ++channel) {
              look_up((*tables)[static_cast<std::size_t>(channel)], from + channel * next_channel,
                      to + channel * next_channel, pixels, stride);
            }
          }};
}

Transform random_horizontal_flip(const Dataset& dataset, const std::string& field, double p,
                                 std::uint32_t stream, ImageLayout layout) {
  const std::string where = "random_horizontal_flip";
  const Field& image = image_field(dataset, field);
  const Geometry geometry = geometry_of(where, image, layout);
  if (!(p >= 0 && p <= 1)) fail_argument(where, "p", "0 to 1", fmt::to_string(p));
  return {fmt::format("random_horizontal_flip({:a})", p),
          {field},
          {image},
          [geometry, p](std::span<const ConstView> in, random::Generator& random, std::span<const View> out) {
            const auto* from = static_cast<const std::byte*>(in[0].data);
            auto* to = static_cast<std::byte*>(out[0].data);
            if (!random.bernoulli(p)) {
              std::memcpy(to, from, in[0].bytes());
              return;
            }
            for (std::int64_t row = 0; row < geometry.planes * geometry.height; ++row) {
              mirror_row(from + geometry.offset(0, row), to + geometry.offset(0, row), geometry.width,
                         geometry.pixel_bytes);
            }
          },
          stream};
}

Transform random_crop(const Dataset& dataset, const std::string& field, std::int64_t height,
                      std::int64_t width, std::int64_t padding, std::uint32_t stream, ImageLayout layout) {
  const std::string where = "random_crop";
  Field image = image_field(dataset, field);
  const Geometry from = geometry_of(where, image, layout);
  constexpr std::int64_t kMostPadding = std::int64_t{1} << 20;
  if (padding < 0 || padding > kMostPadding)
    fail_argument(where, "padding", fmt::format("0 to {}", kMostPadding), fmt::to_string(padding));
  const std::int64_t rows = from.height + 2 * padding - height + 1;
  const std::int64_t columns = from.width + 2 * padding - width + 1;
  if (height < 1 || width < 1 || rows < 1 || columns < 1) {
    fail_argument(where, "window",
                  fmt::format("1 x 1 to {} x {}", from.height + 2 * padding, from.width + 2 * padding),
                  fmt::format("{} x {}", height, width));
  }
  Geometry to = from;
  to.height = height;
  to.width = width;
  image.shape = cropped_shape(image.shape, layout, height, width);
  return {fmt::format("random_crop({}, {}, {})", height, width, padding),
          {field},
          {image},
          [=](std::span<const ConstView> in, random::Generator& random, std::span<const View> out) {
            const auto top =
                static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(rows))) - padding;
            const auto left =
                static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(columns))) - padding;
            crop(from, static_cast<const std::byte*>(in[0].data), to, static_cast<std::byte*>(out[0].data),
                 top, left);
          },
          stream};
}

}  // namespace lockstep::loader
