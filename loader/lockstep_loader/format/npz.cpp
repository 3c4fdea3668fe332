#include "lockstep_loader/format/npz.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/npy_internal.h"
#include "lockstep_loader/format/npz_internal.h"
#include "lockstep_loader/format/zip_internal.h"

namespace lockstep::loader {
namespace {

constexpr std::string_view kSuffix = ".npy";

std::vector<std::string> array_names(const std::vector<ZipEntry>& entries) {
  std::vector<std::string> names;
  for (const ZipEntry& entry : entries) {
    if (entry.name.ends_with(kSuffix))
      names.push_back(entry.name.substr(0, entry.name.size() - kSuffix.size()));
  }
  return names;
}

}  // namespace

ColumnSet parse_npz(const Content& archive, const std::vector<std::string>& wanted) {
  const std::vector<ZipEntry> entries = read_zip_directory(archive);
  const std::vector<std::string> present = array_names(entries);
  if (present.empty()) {
    fail(ErrorCode::invalid_argument,
         {archive.name, "arrays", "at least one .npy entry", fmt::format("{} other entries", entries.size()),
          "Write the archive with numpy.savez."});
  }
  std::vector<StoredArray> arrays;
  for (const std::string& name : wanted.empty() ? present : wanted) {
    const auto entry = std::ranges::find(entries, name + std::string(kSuffix), &ZipEntry::name);
    if (entry == entries.end()) {
      fail(ErrorCode::not_found,
           {archive.name, "array", fmt::format("one of {}", fmt::join(present, ", ")), name, {}});
    }
    arrays.push_back(parse_npy(ContentReader(read_zip_entry(archive, *entry), /*may_be_gzip=*/false), name));
  }
  ColumnSet set = join_arrays("npy", std::move(arrays));
  set.description = "npz " + archive.name;
  return set;
}

NpzDataset::NpzDataset(const std::filesystem::path& path, const std::vector<std::string>& arrays)
    : ColumnDataset(parse_npz(map_file(path), arrays)) {}

}  // namespace lockstep::loader
