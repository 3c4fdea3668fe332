// Shows one recording. README.md says what; docs/formats/inspect-json.md describes --json.

#include <fmt/format.h>

#include "common/output.h"
#include "common/program.h"
#include "lockstep/record/inspect.h"
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
  exit_on_interrupt();
  return run_program("inspect_recording", argc, argv, parse_options, help_text, run);
}
