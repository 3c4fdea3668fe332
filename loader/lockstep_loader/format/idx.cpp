#include "lockstep_loader/format/idx.h"

#include <array>
#include <bit>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/array_internal.h"
#include "lockstep_loader/format/extent_internal.h"
#include "lockstep_loader/format/idx_internal.h"

namespace lockstep::loader {
namespace {

constexpr std::size_t kMagicBytes = 4;

std::uint32_t big_endian(std::span<const std::byte> bytes) {
  std::uint32_t value = 0;
  for (std::byte byte : bytes.first(4)) value = value << 8 | std::to_integer<std::uint32_t>(byte);
  return value;
}

std::optional<DType> idx_type(unsigned code) {
  switch (code) {
    case 0x08:
      return DType::uint8;
    case 0x09:
      return DType::int8;
    case 0x0b:
      return DType::int16;
    case 0x0c:
      return DType::int32;
    case 0x0d:
      return DType::float32;
    case 0x0e:
      return DType::float64;
    default:
      return std::nullopt;
  }
}

[[noreturn]] void fail_magic(const std::string& name, std::span<const std::byte> head) {
  std::string got = head.empty() ? "an empty file" : "bytes";
  for (std::byte byte : head) got += fmt::format(" {:02x}", std::to_integer<unsigned>(byte));
  fail(ErrorCode::corruption, {name, "magic number", "00 00, an element type of 08 to 0e, a rank of 1 to 8",
                               got, "This is no IDX file; name the images or labels file of the set."});
}

StoredArray parse_array(IdxSource source) {
  ContentReader reader(std::move(source.raw));
  const std::span<const std::byte> magic = reader.head(kMagicBytes);
  if (magic.size() < kMagicBytes || big_endian(magic) >> 16 != 0) fail_magic(reader.name(), magic);
  const std::optional<DType> dtype = idx_type(std::to_integer<unsigned>(magic[2]));
  const auto rank = std::to_integer<std::size_t>(magic[3]);
  if (!dtype || rank < 1 || rank > static_cast<std::size_t>(Shape::kMaxRank))
    fail_magic(reader.name(), magic);

  const std::size_t header_bytes = kMagicBytes + 4 * rank;
  const std::span<const std::byte> header = reader.head(header_bytes);
  if (header.size() < header_bytes) {
    fail(ErrorCode::corruption,
         {reader.name(), "header", fmt::format("{} bytes for rank {}", header_bytes, rank),
          fmt::format("{} bytes", header.size()), "The file is truncated; get it again."});
  }
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  for (std::size_t axis = 0; axis < rank; ++axis)
    extents[axis] = big_endian(header.subspan(kMagicBytes + 4 * axis));
  const Shape shape = file_shape(reader.name(), {extents.data(), rank}, *dtype);
  const std::uint64_t bytes =
      header_bytes + static_cast<std::uint64_t>(shape.elements()) * dtype_bytes(*dtype);
  Content content =
      reader.exactly(bytes, fmt::format("{} {} and its header", dtype_name(*dtype), shape.text()));
  return {std::move(content.name),
          std::move(source.field),
          *dtype,
          shape,
          std::endian::native != std::endian::big,
          content.bytes.subspan(header_bytes),
          std::move(content.owner)};
}

}  // namespace

ColumnSet parse_idx(std::vector<IdxSource> sources) {
  std::vector<StoredArray> arrays;
  arrays.reserve(sources.size());
  for (IdxSource& source : sources) arrays.push_back(parse_array(std::move(source)));
  return join_arrays("idx", std::move(arrays));
}

IdxDataset::IdxDataset(const std::vector<IdxFile>& files)
    : ColumnDataset([&] {
        std::vector<IdxSource> sources;
        sources.reserve(files.size());
        for (const IdxFile& file : files) sources.push_back({map_file(file.path), file.field});
        return parse_idx(std::move(sources));
      }()) {}

}  // namespace lockstep::loader
