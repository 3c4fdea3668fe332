// Which recordings lie in a folder, and which of them are one run.

#include <algorithm>
#include <map>
#include <system_error>
#include <tuple>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/record/byte_source_internal.h"
#include "lockstep/record/format_internal.h"
#include "lockstep/record/reader.h"

namespace lockstep::record {
namespace {

namespace fs = std::filesystem;

struct Found {
  fs::path file;
  RunInfo info;

  auto place() const { return std::tuple(info.rank, info.segment, info.segment_started_ns, file); }
};

std::vector<fs::path> regular_files(const fs::path& directory) {
  std::error_code error;
  fs::directory_iterator entries(directory, error);
  if (error)
    fail_errno(error.value(), directory.string(), "folder cannot be read", "Name a folder with recordings");
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (name.front() != '.' && entry.is_regular_file(error)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool begins_with_magic(const fs::path& file) {
  std::array<std::byte, kMagic.size()> bytes{};
  return has_magic(std::span(bytes).first(open_file_source(file)->read(0, bytes)));
}

/// Its run frame; nothing for a file that is no recording. Throws Error when it should be one but cannot be
/// read.
std::optional<RunInfo> info_of(const fs::path& file) {
  if (!begins_with_magic(file)) {
    if (file.extension() != ".lsr") return std::nullopt;
    fail(ErrorCode::corruption, {file.string(), "not a recording", {}, {}, {}});
  }
  const Reader reader(file);
  if (!reader.info()) fail(ErrorCode::corruption, {file.string(), "run frame is damaged", {}, {}, {}});
  return reader.info();
}

std::vector<Found> recordings_in(const fs::path& directory, std::vector<fs::path>* unreadable) {
  std::vector<Found> found;
  for (const fs::path& file : regular_files(directory)) {
    try {
      if (auto info = info_of(file)) found.push_back({file, std::move(*info)});
    } catch (const Error&) {
      if (unreadable != nullptr) unreadable->push_back(file);
    }
  }
  return found;
}

std::string listed(const std::vector<Run>& runs) {
  std::string text;
  for (std::size_t i = 0; i < std::min<std::size_t>(runs.size(), 4); ++i) {
    text += (text.empty() ? "" : ", ") + runs[i].files.front().filename().string();
  }
  return runs.size() > 4 ? text + ", …" : text;
}

Run the_one_run_in(const fs::path& directory) {
  std::vector<fs::path> unreadable;
  std::vector<Run> runs = find_runs(directory, &unreadable);
  if (runs.empty()) {
    fail(ErrorCode::not_found,
         {directory.string(), "recordings", "one run",
          unreadable.empty() ? "none" : fmt::format("none that can be read, {} damaged", unreadable.size()),
          "Record a run there first: a trainer's --record names the folder"});
  }
  if (runs.size() > 1) {
    fail(ErrorCode::invalid_argument,
         {directory.string(), "recordings", "one run", fmt::format("{} runs ({})", runs.size(), listed(runs)),
          "Name one of its files instead of the folder"});
  }
  return std::move(runs.front());
}

}  // namespace

std::vector<Run> find_runs(const fs::path& directory, std::vector<fs::path>* unreadable) {
  std::vector<Found> found = recordings_in(directory, unreadable);
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.place() < b.place(); });
  std::map<std::string, Run> by_id;
  for (Found& one : found) {
    Run& run =
        by_id.try_emplace(one.info.run_id, Run{one.info.run_id, one.info.started_ns, {}}).first->second;
    run.files.push_back(std::move(one.file));
  }
  std::vector<Run> runs;
  runs.reserve(by_id.size());
  for (auto& [id, run] : by_id) runs.push_back(std::move(run));
  std::stable_sort(runs.begin(), runs.end(),
                   [](const Run& a, const Run& b) { return a.started_ns < b.started_ns; });
  return runs;
}

Run open_run(const fs::path& path) {
  if (fs::is_directory(path)) return the_one_run_in(path);
  const Reader reader(path);
  if (!begins_with_magic(path)) fail(ErrorCode::corruption, {path.string(), reader.check().text, {}, {}, {}});
  if (!reader.info()) return Run{{}, 0, {path}};
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  for (Run& run : find_runs(folder)) {
    if (run.run_id == reader.info()->run_id) return std::move(run);
  }
  return Run{reader.info()->run_id, reader.info()->started_ns, {path}};
}

}  // namespace lockstep::record
