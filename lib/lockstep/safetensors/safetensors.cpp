#include "lockstep/safetensors/safetensors.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "lockstep/base/error.h"
#include "lockstep/safetensors/header_internal.h"
#include "lockstep/state/durable_file.h"

namespace lockstep {
namespace {

constexpr std::uint64_t kLengthBytes = 8;  // of the header's length, little-endian, at the file's begin

void read_exactly(int descriptor, const std::string& file, std::uint64_t offset, void* out,
                  std::uint64_t bytes) {
  auto* next = static_cast<char*>(out);
  while (bytes > 0) {
    const ssize_t got = ::pread(descriptor, next, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_errno(errno, file, "cannot read");
    if (got == 0)
      fail(ErrorCode::corruption, {file, "size", fmt::format("{} bytes from byte {} on", bytes, offset),
                                   "the file's end", "Fetch the file again"});
    next += got;
    offset += static_cast<std::uint64_t>(got);
    bytes -= static_cast<std::uint64_t>(got);
  }
}

std::uint64_t size_of(int descriptor, const std::string& file) {
  struct stat status = {};
  if (::fstat(descriptor, &status) != 0) fail_errno(errno, file, "cannot tell its size");
  if (!S_ISREG(status.st_mode))
    fail(ErrorCode::invalid_argument, {file, "kind", "a file", "something else", {}});
  return static_cast<std::uint64_t>(status.st_size);
}

std::uint64_t header_bytes(int descriptor, const std::string& file, std::uint64_t size) {
  std::array<unsigned char, kLengthBytes> bytes{};
  if (size >= kLengthBytes) read_exactly(descriptor, file, 0, bytes.data(), bytes.size());
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) length |= std::uint64_t{bytes[i]} << (8 * i);
  if (size < kLengthBytes || length > size - kLengthBytes || length > internal::kMostHeaderBytes)
    fail(ErrorCode::corruption,
         {file, "length of the header", fmt::format("a part of the file's {} bytes", size),
          std::to_string(length), "This is no safetensors file, or not all of it"});
  return length;
}

[[noreturn]] void refuse_name(const std::string& what, const std::string& expected, const std::string& got) {
  fail(ErrorCode::invalid_argument, {"write_safetensors", what, expected, got, {}});
}

void check_tensors(const std::vector<SafetensorsTensor>& tensors) {
  std::set<std::string> names;
  for (const SafetensorsTensor& tensor : tensors) {
    if (tensor.name.empty() || tensor.name == "__metadata__")
      refuse_name("name", "one that is not empty and not __metadata__", "'" + tensor.name + "'");
    if (!names.insert(tensor.name).second) refuse_name("name", "each once", tensor.name + " twice");
    if (tensor.view.device != Device::cpu) refuse_name(tensor.name, "memory of the CPU", "a device's");
  }
}

/// Where each tensor goes, in the order of the file.
std::vector<std::pair<SafetensorsEntry, const void*>> laid_out(
    const std::vector<SafetensorsTensor>& tensors) {
  std::vector<std::pair<SafetensorsEntry, const void*>> all;
  all.reserve(tensors.size());
  for (const SafetensorsTensor& tensor : tensors)
    all.push_back(
        {{tensor.name, tensor.view.dtype, tensor.view.shape, 0, tensor.view.bytes()}, tensor.view.data});
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    const std::size_t of_a = dtype_bytes(a.first.dtype), of_b = dtype_bytes(b.first.dtype);
    return of_a != of_b ? of_a > of_b : a.first.name < b.first.name;
  });
  std::uint64_t offset = 0;
  for (auto& [entry, data] : all) {
    entry.offset = offset;
    offset += entry.bytes;
  }
  return all;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : name_(path.string()), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) fail_errno(errno, name_, "cannot open");
  try {
    const std::uint64_t size = size_of(descriptor_, name_), length = header_bytes(descriptor_, name_, size);
    std::string text(length, '\0');
    read_exactly(descriptor_, name_, kLengthBytes, text.data(), length);
    const std::uint64_t begin = kLengthBytes + length;
    internal::SafetensorsHeader header = internal::parse_safetensors_header(name_, text, begin, size - begin);
    tensors_ = std::move(header.tensors);
    metadata_ = std::move(header.metadata);
  } catch (...) {
    ::close(descriptor_);
    throw;
  }
}

SafetensorsFile::~SafetensorsFile() { ::close(descriptor_); }

const SafetensorsEntry* SafetensorsFile::find(const std::string& name) const {
  const auto found = std::lower_bound(
      tensors_.begin(), tensors_.end(), name,
      [](const SafetensorsEntry& entry, const std::string& wanted) { return entry.name < wanted; });
  return found != tensors_.end() && found->name == name ? &*found : nullptr;
}

void SafetensorsFile::read(const SafetensorsEntry& entry, const View& out) const {
  if (out.dtype != entry.dtype || !(out.shape == entry.shape) || out.device != Device::cpu)
    fail(ErrorCode::invalid_argument,
         {name_,
          "memory for tensor " + entry.name,
          fmt::format("{} {} on the CPU", dtype_name(entry.dtype), entry.shape.text()),
          fmt::format("{} {}", dtype_name(out.dtype), out.shape.text()),
          {}});
  read_exactly(descriptor_, name_, entry.offset, out.data, entry.bytes);
}

void write_safetensors(const std::filesystem::path& path, const std::vector<SafetensorsTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  check_tensors(tensors);
  const auto all = laid_out(tensors);
  std::vector<SafetensorsEntry> entries;
  entries.reserve(all.size());
  for (const auto& [entry, data] : all) entries.push_back(entry);
  std::string header;
  try {
    header = internal::safetensors_header_text(entries, metadata);
  } catch (const nlohmann::json::exception& error) {
    refuse_name("names and metadata", "UTF-8", error.what());
  }
  const std::uint64_t data_bytes = entries.empty() ? 0 : entries.back().offset + entries.back().bytes;
  std::string bytes;
  bytes.reserve(kLengthBytes + header.size() + data_bytes);
  for (std::size_t i = 0; i < kLengthBytes; ++i)
    bytes += static_cast<char>(std::uint64_t{header.size()} >> (8 * i));
  bytes += header;
  for (const auto& [entry, data] : all)
    if (entry.bytes > 0) bytes.append(static_cast<const char*>(data), entry.bytes);
  state::write_file_durably(path, bytes);
}

}  // namespace lockstep
