// Compares two recorded runs. README.md says what is compared; docs/formats/compare-json.md describes --json.

#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "common/output.h"
#include "common/program.h"
#include "lockstep/base/error.h"
#include "lockstep/record/compare.h"
#include "options.h"

namespace lockstep::tools {
namespace {

struct Sides {
  record::Run a, b;
  std::string note;
};

std::string shown(const record::Run& run) {
  const auto& file = run.files.front();
  return run.files.size() == 1 ? file.string()
                               : fmt::format("{} and {} more", file.string(), run.files.size() - 1);
}

Sides newest_two(const std::string& directory) {
  std::vector<std::filesystem::path> unreadable;
  std::vector<record::Run> runs = record::find_runs(directory, &unreadable);
  if (runs.size() < 2) {
    std::string got = runs.empty() ? "none" : "1 (" + runs.front().files.front().filename().string() + ")";
    if (!unreadable.empty()) got += fmt::format(", and {} files that cannot be read", unreadable.size());
    fail(ErrorCode::not_found, {directory, "recorded runs", "two", std::move(got),
                                "Record another run into this folder (folders below it are not looked at)"});
  }
  const std::size_t count = runs.size();
  Sides sides{std::move(runs[count - 2]), std::move(runs[count - 1]), {}};
  sides.note =
      fmt::format("A and B are the newest two of {} runs in {}, by recorded start time", count, directory);
  if (!unreadable.empty()) {
    sides.note += fmt::format("; passed over because their header cannot be read: {} ({} in all)",
                              unreadable.front().filename().string(), unreadable.size());
  }
  return sides;
}

Sides chosen(const CompareBatchesOptions& options) {
  if (!options.directory.empty()) return newest_two(options.directory);
  return {record::open_run(options.runs[0]), record::open_run(options.runs[1]), {}};
}

int run(const CompareBatchesOptions& options) {
  const bool color = use_color(options.color);
  const Sides sides = chosen(options);
  record::Comparison comparison = record::compare_runs(sides.a, sides.b, options.compare);
  comparison.file_a = shown(sides.a), comparison.file_b = shown(sides.b);
  if (!sides.note.empty()) comparison.notes.insert(comparison.notes.begin(), sides.note);
  if (!options.json.empty()) write_report(options.json, record::to_json(comparison));
  if (!options.html.empty()) write_report(options.html, record::to_html(comparison));
  if (!options.quiet && options.json != "-" && options.html != "-") {
    write_report("-", record::to_text(comparison, color));
  }
  return static_cast<int>(comparison.outcome);
}

}  // namespace
}  // namespace lockstep::tools

int main(int argc, char** argv) {
  using namespace lockstep::tools;
  exit_on_interrupt();
  return run_program("compare_batches", argc, argv, parse_options, help_text, run);
}
