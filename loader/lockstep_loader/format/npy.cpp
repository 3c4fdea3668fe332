#include "lockstep_loader/format/npy.h"

#include <array>
#include <bit>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/extent_internal.h"
#include "lockstep_loader/format/npy_internal.h"

namespace lockstep::loader {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::size_t kVersionEnd = 8;  // magic, major, minor
constexpr std::size_t kHeaderLimit =
    1024 * 1024;  // a header of three keys and eight extents has 150 characters

struct Kind {
  std::string_view code;  // without byte order
  DType dtype;
};
constexpr std::array<Kind, 12> kKinds{{{"b1", DType::boolean},
                                       {"u1", DType::uint8},
                                       {"i1", DType::int8},
                                       {"u2", DType::uint16},
                                       {"i2", DType::int16},
                                       {"u4", DType::uint32},
                                       {"i4", DType::int32},
                                       {"u8", DType::uint64},
                                       {"i8", DType::int64},
                                       {"f2", DType::float16},
                                       {"f4", DType::float32},
                                       {"f8", DType::float64}}};

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

[[noreturn]] void fail_short(const std::string& name, std::size_t expected, std::size_t got) {
  fail(ErrorCode::corruption, {name, ".npy header", fmt::format("{} bytes", expected),
                               fmt::format("{} bytes", got), "The file is truncated; get it again."});
}

/// Where the dictionary begins and how long it is.
std::pair<std::size_t, std::size_t> header_place(ContentReader& reader) {
  const std::string_view start = text_of(reader.head(kVersionEnd));
  if (!start.starts_with(kMagic)) {
    fail(ErrorCode::corruption,
         {reader.name(), "magic", "\\x93NUMPY", start.empty() ? "an empty file" : "other bytes",
          "This is no .npy file; write one with numpy.save."});
  }
  if (start.size() < kVersionEnd) fail_short(reader.name(), kVersionEnd, start.size());
  const auto major = static_cast<unsigned char>(start[6]), minor = static_cast<unsigned char>(start[7]);
  if (major < 1 || major > 3 || minor != 0) {
    fail(ErrorCode::unsupported,
         {reader.name(), ".npy version", "1.0, 2.0 or 3.0", fmt::format("{}.{}", major, minor), {}});
  }
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  const std::span<const std::byte> head = reader.head(kVersionEnd + length_bytes);
  if (head.size() < kVersionEnd + length_bytes)
    fail_short(reader.name(), kVersionEnd + length_bytes, head.size());
  std::size_t length = 0;
  for (std::size_t at = length_bytes; at-- > 0;)
    length = length << 8 | std::to_integer<std::size_t>(head[kVersionEnd + at]);
  if (length > kHeaderLimit) {
    fail(ErrorCode::corruption, {reader.name(), ".npy header", "at most 1 MiB",
                                 fmt::format("{} bytes", length), "The file is damaged; get it again."});
  }
  return {kVersionEnd + length_bytes, length};
}

struct Element {
  DType dtype;
  bool swap_bytes;
};

Element element_of(const std::string& name, const std::string& descr) {
  const bool marked = !descr.empty() && std::string_view("<>|=").find(descr[0]) != std::string_view::npos;
  const std::string_view code = std::string_view(descr).substr(marked ? 1 : 0);
  for (const Kind& kind : kKinds) {
    if (kind.code != code) continue;
    const bool single = dtype_bytes(kind.dtype) == 1;
    constexpr char kOtherOrder = std::endian::native == std::endian::big ? '<' : '>';
    return {kind.dtype, !single && marked && descr[0] == kOtherOrder};
  }
  fail(ErrorCode::unsupported,
       {name, "element type", "bool, an integer or a floating-point number of up to 64 bits",
        descr.empty() ? "a structured type" : fmt::format("'{}'", descr),
        "Convert the array with astype() and save it again."});
}

void check_order(const std::string& name, const NpyHeader& header) {
  if (!header.fortran_order || header.shape.size() < 2) return;
  fail(ErrorCode::unsupported, {name, "element order", "C order, in which a record is contiguous",
                                "Fortran order", "Save numpy.ascontiguousarray(array) instead."});
}

}  // namespace

StoredArray parse_npy(ContentReader reader, std::string field) {
  const auto [begin, length] = header_place(reader);
  const std::span<const std::byte> head = reader.head(begin + length);
  if (head.size() < begin + length) fail_short(reader.name(), begin + length, head.size());
  const NpyHeader header = parse_npy_header(reader.name(), text_of(head.subspan(begin)));
  const Element element = element_of(reader.name(), header.descr);
  check_order(reader.name(), header);
  const Shape shape = file_shape(reader.name(), header.shape, element.dtype);
  const std::uint64_t bytes = static_cast<std::uint64_t>(shape.elements()) * dtype_bytes(element.dtype);
  Content content = reader.exactly(
      begin + length + bytes, fmt::format("{} {} and its header", dtype_name(element.dtype), shape.text()));
  return {std::move(content.name), std::move(field),
          element.dtype,           shape,
          element.swap_bytes,      content.bytes.subspan(begin + length),
          std::move(content.owner)};
}

NpyDataset::NpyDataset(const std::vector<NpyFile>& files)
    : ColumnDataset([&] {
        std::vector<StoredArray> arrays;
        arrays.reserve(files.size());
        for (const NpyFile& file : files)
          arrays.push_back(parse_npy(ContentReader(map_file(file.path)), file.field));
        return join_arrays("npy", std::move(arrays));
      }()) {}

}  // namespace lockstep::loader
