// Runs a training command several times and compares the recordings. README.md has the details.

#include <cstdlib>

#include <fmt/format.h>

#include "check.h"
#include "child.h"
#include "common/output.h"
#include "common/program.h"
#include "lockstep/base/error.h"
#include "options.h"

namespace lockstep::tools {
namespace {

namespace fs = std::filesystem;

fs::path temporary_folder() {
  std::string name = (fs::temp_directory_path() / "check_consistency-XXXXXX").string();
  if (!mkdtemp(name.data()))
    fail_errno(errno, name, "temporary folder cannot be made", "Name a folder with --dir");
  return name;
}

int run(const CheckConsistencyOptions& options) {
  const bool color = use_color(options.color);
  note_interrupts();
  const bool temporary = options.directory.empty();
  const fs::path folder = temporary ? temporary_folder() : fs::absolute(options.directory);
  CheckResult result;
  try {
    result = check_consistency(options, folder);
  } catch (...) {
    std::error_code ignored;
    if (temporary) fs::remove_all(folder, ignored);
    throw;
  }
  if (result.interrupted) {
    fmt::print(stderr, "check_consistency: interrupted; recordings are in {}\n", folder.string());
    return kExitInterrupted;
  }
  const record::Outcome outcome = result.consistency.outcome();
  const bool kept = !temporary || options.keep || outcome != record::Outcome::same;
  if (!options.json.empty()) write_report(options.json, record::to_json(result.consistency));
  if (!options.html.empty()) write_report(options.html, record::to_html(result.consistency));
  if (!options.quiet && options.json != "-" && options.html != "-") {
    write_report("-", record::to_text(result.consistency, color));
    if (kept) fmt::print("\nrecordings: {}\n", folder.string());
  }
  std::error_code ignored;
  if (!kept) fs::remove_all(folder, ignored);
  return static_cast<int>(outcome);
}

}  // namespace
}  // namespace lockstep::tools

int main(int argc, char** argv) {
  using namespace lockstep::tools;
  return run_program("check_consistency", argc, argv, parse_options, help_text, run);
}
