#include "options.h"

#include <algorithm>
#include <cstring>

#include <cxxopts.hpp>

#include "lockstep/base/error.h"

namespace lockstep::tools {
namespace {

constexpr std::size_t kMaxRuns = 1000;

cxxopts::Options declared() {
  cxxopts::Options options(
      "check_consistency",
      "Runs a training command several times and says whether all runs are the same, bit for bit.\n");
  options.custom_help("[OPTION…] -- COMMAND [ARGUMENT…]").set_width(100);
  options.add_options("Run")("runs", "runs of every combination (2, with --vary 1)", cxxopts::value<int>(),
                             "N")("vary", "run with each of these values (repeat for more axes)",
                                  cxxopts::value<std::vector<std::string>>(), "NAME=V[,V]")(
      "timeout", "end a run after so many seconds", cxxopts::value<double>(), "S")(
      "dir", "empty or new folder for the recordings, which stay", cxxopts::value<std::string>(), "DIR")(
      "keep", "keep the recordings without --dir, also when all is the same");
  options.add_options("Output")("json", "write the result as JSON (- for standard output)",
                                cxxopts::value<std::string>(), "FILE")(
      "html", "write the result as one HTML page", cxxopts::value<std::string>(), "FILE")(
      "quiet", "print nothing; the exit code tells")(
      "color", "auto, always or never", cxxopts::value<std::string>()->default_value("auto"), "WHEN")(
      "help", "this text")("version", "what this build is");
  return options;
}

[[noreturn]] void refuse(std::string what, std::string expected, std::string got) {
  fail(ErrorCode::invalid_argument,
       {"options", std::move(what), std::move(expected), std::move(got), "See check_consistency --help"});
}

bool is_name(const std::string& name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_';
  });
}

/// cxxopts has split the list at its commas already: a part without '=' is a further value of the axis before
/// it.
std::vector<Axis> axes_of(const std::vector<std::string>& parts) {
  std::vector<Axis> axes;
  for (const auto& part : parts) {
    const auto equals = part.find('=');
    if (equals == part.npos && axes.empty()) refuse("--vary", "NAME=VALUE,VALUE", part);
    if (equals == part.npos) {
      axes.back().values.push_back(part);
      continue;
    }
    const std::string name = part.substr(0, equals);
    if (!is_name(name)) refuse("--vary", "a name of letters, digits, - and _", name);
    if (name == "record" || name == "run") refuse("--vary", "a name that is not taken", name);
    for (const auto& axis : axes) {
      if (axis.name == name) refuse("--vary", "each name once", name + " twice");
    }
    axes.push_back({name, {part.substr(equals + 1)}});
  }
  return axes;
}

void check(CheckConsistencyOptions* options) {
  if (options->command.empty()) refuse("command", "a command after --", "none");
  if (options->runs < 1) refuse("--runs", "1 or more", std::to_string(options->runs));
  if (options->timeout_seconds < 0)
    refuse("--timeout", "seconds, not negative", std::to_string(options->timeout_seconds));
  std::size_t total = static_cast<std::size_t>(options->runs);
  for (const auto& axis : options->axes) total = std::min(total * axis.values.size(), kMaxRuns + 1);
  if (total < 2) refuse("number of runs", "2 or more", "1");
  if (total > kMaxRuns) refuse("number of runs", "at most 1000", "more");
  if (options->json == "-" && options->html == "-") refuse("--json - with --html -", "one of them", "both");
}

}  // namespace

CheckConsistencyOptions parse_options(int argc, char** argv) {
  CheckConsistencyOptions options;
  const auto is_separator = [](const char* argument) { return std::strcmp(argument, "--") == 0; };
  char** separator = std::find_if(argv, argv + argc, is_separator);
  if (separator != argv + argc) options.command.assign(separator + 1, argv + argc);
  try {
    const auto parsed = declared().parse(static_cast<int>(separator - argv), argv);
    options.help = parsed.count("help") > 0;
    options.version = parsed.count("version") > 0;
    if (options.help || options.version) return options;
    if (!parsed.unmatched().empty()) refuse("argument", "the command after --", parsed.unmatched().front());
    const auto text = [&](const char* name) {
      return parsed.count(name) ? parsed[name].as<std::string>() : std::string();
    };
    options.directory = text("dir"), options.json = text("json"), options.html = text("html");
    options.color = parsed["color"].as<std::string>();
    if (parsed.count("vary")) options.axes = axes_of(parsed["vary"].as<std::vector<std::string>>());
    options.runs = parsed.count("runs") ? parsed["runs"].as<int>() : options.axes.empty() ? 2 : 1;
    if (parsed.count("timeout")) options.timeout_seconds = parsed["timeout"].as<double>();
    options.keep = parsed.count("keep") > 0;
    options.quiet = parsed.count("quiet") > 0;
  } catch (const cxxopts::exceptions::exception& error) {
    fail(ErrorCode::invalid_argument, {"options", error.what(), {}, {}, "See check_consistency --help"});
  }
  check(&options);
  return options;
}

std::string help_text() {
  return declared().help({"Run", "Output"}) +
         "\nEach run records into its own folder: the command must record into $LOCKSTEP_RECORD, or into "
         "{record} in\n"
         "its arguments. A value of --vary NAME reaches it as $LOCKSTEP_NAME (upper case, - as _) and as "
         "{NAME} in its\n"
         "arguments. The trainers read these variables. All runs are compared with the first.\n"
         "\nExamples\n"
         "  check_consistency -- fashion_mnist --epochs 1\n"
         "  check_consistency --vary workers=0,1,4 --vary threads=1,2 -- fashion_mnist --epochs 1\n"
         "  check_consistency --vary gpu=0,1 --html report.html -- ./train --device cuda:{gpu} --record "
         "{record}\n"
         "\nExit code: 0 same, 1 different, 2 trouble (a run failed or left no recording, evidence is "
         "missing),\n"
         "130 interrupted.\n";
}

}  // namespace lockstep::tools
