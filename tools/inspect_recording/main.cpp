// Shows one recording. README.md says what; docs/formats/inspect-json.md describes --json.

#include <exception>

#include <fmt/format.h>

#include "common/output.h"
#include "lockstep/base/version.h"
#include "lockstep/record/inspect.h"
#include "lockstep/simd/targets.h"
#include "options.h"

namespace lockstep::tools {
namespace {

constexpr int kExitComplete = 0, kExitTornOrDamaged = 1;

int run(const InspectOptions& options) {
  const bool color = use_color(options.color);
  const record::Inspection inspection = record::inspect(options.file, options.batch);
  if (!options.json.empty()) write_report(options.json, record::to_json(inspection));
  if (inspection.check.verdict == record::Verdict::not_a_recording) {
    return report_error("inspect_recording", options.file + ": " + inspection.check.text);
  }
  if (!options.quiet && options.json != "-")
    write_report("-", record::to_text(inspection, color, options.values));
  return inspection.check.verdict == record::Verdict::complete ? kExitComplete : kExitTornOrDamaged;
}

}  // namespace
}  // namespace lockstep::tools

int main(int argc, char** argv) {
  using namespace lockstep::tools;
  try {
    exit_on_interrupt();
    const InspectOptions options = parse_options(argc, argv);
    if (options.help) {
      fmt::print("{}", help_text());
      return 0;
    }
    if (options.version) {
      fmt::print("{}", lockstep::version_text("inspect_recording", lockstep::simd::active_instruction_set()));
      return 0;
    }
    return run(options);
  } catch (const std::exception& error) {
    return report_error("inspect_recording", error.what());
  }
}
