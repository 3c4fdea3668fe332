#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "lockstep/base/error.h"
#include "lockstep/safetensors/header_internal.h"

namespace lockstep::internal {
namespace {

using Json = nlohmann::json;

constexpr const char* kMetadata = "__metadata__";
constexpr int kMostDepth = 3;  // the header, a tensor, its shape
constexpr std::size_t kAlignment = 8;

constexpr std::array<std::pair<const char*, DType>, 13> kTypes = {{{"BOOL", DType::boolean},
                                                                   {"U8", DType::uint8},
                                                                   {"I8", DType::int8},
                                                                   {"U16", DType::uint16},
                                                                   {"I16", DType::int16},
                                                                   {"U32", DType::uint32},
                                                                   {"I32", DType::int32},
                                                                   {"U64", DType::uint64},
                                                                   {"I64", DType::int64},
                                                                   {"F16", DType::float16},
                                                                   {"BF16", DType::bfloat16},
                                                                   {"F32", DType::float32},
                                                                   {"F64", DType::float64}}};

const char* type_name(DType dtype) {
  return std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& type) { return type.second == dtype; })
      ->first;
}

/// Complains about one file.
class Reader {
 public:
  Reader(const std::string& file, std::uint64_t data_begin, std::uint64_t data_bytes)
      : file_(file), data_begin_(data_begin), data_bytes_(data_bytes) {}

  Json parse(std::string_view text) const;
  std::map<std::string, std::string> metadata(const Json& header) const;
  SafetensorsEntry entry(const std::string& name, const Json& json) const;
  void check_cover(std::vector<SafetensorsEntry> entries) const;

 private:
  [[noreturn]] void refuse(const std::string& what, const std::string& expected, const std::string& got,
                           ErrorCode code = ErrorCode::corruption) const {
    fail(code, {file_, what, expected, got, "Write the file again, or fetch it again"});
  }
  const Json& member(const std::string& name, const Json& json, const char* key) const;
  DType dtype(const std::string& name, const Json& json) const;
  Shape shape(const std::string& name, const Json& json) const;
  std::uint64_t number(const std::string& what, const Json& json) const;

  const std::string& file_;
  std::uint64_t data_begin_, data_bytes_;
};

Json Reader::parse(std::string_view text) const {
  if (text.empty() || text.front() != '{') refuse("header", "a JSON object", "something else");
  std::array<std::set<std::string>, kMostDepth + 1> keys;  // of the objects that are open
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= kMostDepth) refuse("header", "tensors and their shapes", "deeper nesting");
    if (opens) keys[static_cast<std::size_t>(depth) + 1].clear();
    auto& names = keys[static_cast<std::size_t>(depth)];
    if (event == Json::parse_event_t::key && !names.insert(value.get<std::string>()).second)
      refuse("header", "each name once", fmt::format("'{}' twice", value.get<std::string>()));
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& error) {
    refuse("header", "JSON", error.what());
  }
}

std::map<std::string, std::string> Reader::metadata(const Json& header) const {
  std::map<std::string, std::string> all;
  const auto found = header.find(kMetadata);
  if (found == header.end()) return all;
  if (!found->is_object()) refuse(kMetadata, "an object", found->type_name());
  for (const auto& [key, value] : found->items()) {
    if (!value.is_string()) refuse(fmt::format("{} '{}'", kMetadata, key), "text", value.type_name());
    all.emplace(key, value.get<std::string>());
  }
  return all;
}

const Json& Reader::member(const std::string& name, const Json& json, const char* key) const {
  const auto found = json.find(key);
  if (found == json.end()) refuse("tensor " + name, fmt::format("a member {}", key), "none");
  return *found;
}

DType Reader::dtype(const std::string& name, const Json& json) const {
  if (!json.is_string()) refuse("tensor " + name, "a dtype's name", json.type_name());
  const auto text = json.get<std::string>();
  for (const auto& [known, dtype] : kTypes)
    if (text == known) return dtype;
  refuse("tensor " + name, "BOOL, U8 to U64, I8 to I64, F16, BF16, F32 or F64", text, ErrorCode::unsupported);
}

std::uint64_t Reader::number(const std::string& what, const Json& json) const {
  if (!json.is_number_unsigned()) refuse(what, "a whole number, 0 or more", json.dump());
  return json.get<std::uint64_t>();
}

Shape Reader::shape(const std::string& name, const Json& json) const {
  if (!json.is_array()) refuse("shape of tensor " + name, "a list", json.type_name());
  if (json.size() > Shape::kMaxRank)
    refuse("shape of tensor " + name, fmt::format("at most {} axes", Shape::kMaxRank),
           std::to_string(json.size()), ErrorCode::unsupported);
  std::vector<std::int64_t> extents;
  for (const Json& extent : json) {
    const std::uint64_t value = number("shape of tensor " + name, extent);
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      refuse("shape of tensor " + name, "extents below 2^63", std::to_string(value));
    extents.push_back(static_cast<std::int64_t>(value));
  }
  try {
    return {extents.data(), extents.size()};
  } catch (const Error&) {
    refuse("shape of tensor " + name, "fewer than 2^62 elements", json.dump());
  }
}

SafetensorsEntry Reader::entry(const std::string& name, const Json& json) const {
  if (!json.is_object()) refuse("tensor " + name, "an object", json.type_name());
  SafetensorsEntry entry{name, dtype(name, member(name, json, "dtype")),
                         shape(name, member(name, json, "shape"))};
  const std::string what = "data_offsets of tensor " + name;
  const Json& offsets = member(name, json, "data_offsets");
  if (json.size() != 3) refuse("tensor " + name, "dtype, shape and data_offsets", json.dump());
  if (!offsets.is_array() || offsets.size() != 2) refuse(what, "two numbers", offsets.dump());
  const std::uint64_t begin = number(what, offsets[0]), end = number(what, offsets[1]);
  if (begin > end || end > data_bytes_)
    refuse(what, fmt::format("a range of the {} bytes of data", data_bytes_), offsets.dump());
  const auto elements = static_cast<std::uint64_t>(entry.shape.elements());
  if ((end - begin) % dtype_bytes(entry.dtype) != 0 || (end - begin) / dtype_bytes(entry.dtype) != elements)
    refuse(what, fmt::format("{} elements of {}", elements, dtype_name(entry.dtype)),
           fmt::format("{} bytes", end - begin));
  entry.offset = data_begin_ + begin;
  entry.bytes = end - begin;
  return entry;
}

/// A byte that belongs to no tensor or to two is a way to hide something.
void Reader::check_cover(std::vector<SafetensorsEntry> entries) const {
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::pair(a.offset, a.bytes) < std::pair(b.offset, b.bytes);
  });
  std::uint64_t next = data_begin_;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.offset != next)
      refuse("tensor " + entry.name, fmt::format("data from byte {} on, without a gap or an overlap", next),
             std::to_string(entry.offset));
    next += entry.bytes;
  }
  if (next != data_begin_ + data_bytes_)
    refuse("data", fmt::format("{} bytes, as the header says", next - data_begin_),
           std::to_string(data_bytes_));
}

}  // namespace

SafetensorsHeader parse_safetensors_header(const std::string& file, std::string_view text,
                                           std::uint64_t data_begin, std::uint64_t data_bytes) {
  const Reader reader(file, data_begin, data_bytes);
  const Json json = reader.parse(text);
  SafetensorsHeader header{{}, reader.metadata(json)};
  for (const auto& [name, value] : json.items())
    if (name != kMetadata) header.tensors.push_back(reader.entry(name, value));
  reader.check_cover(header.tensors);
  return header;
}

std::string safetensors_header_text(const std::vector<SafetensorsEntry>& tensors,
                                    const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty()) json[kMetadata] = metadata;
  for (const SafetensorsEntry& tensor : tensors)
    json[tensor.name] = {{"dtype", type_name(tensor.dtype)},
                         {"shape", std::vector<std::int64_t>(tensor.shape.begin(), tensor.shape.end())},
                         {"data_offsets", {tensor.offset, tensor.offset + tensor.bytes}}};
  std::string text = json.dump();
  text.resize((text.size() + kAlignment - 1) / kAlignment * kAlignment, ' ');
  return text;
}

}  // namespace lockstep::internal
