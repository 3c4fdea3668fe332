#include "options.h"

#include <algorithm>

#include <cxxopts.hpp>

#include "lockstep/base/error.h"

namespace lockstep::tools {
namespace {

constexpr const char* kSeeHelp = "See invariance_table --help";

cxxopts::Options declared() {
  cxxopts::Options options(
      "invariance_table",
      "Computes the same values in two ways, on LibTorch's own kernels and in the invariant "
      "mode, and shows where they differ.\n");
  options.custom_help("[OPTION…]").set_width(100);
  options.add_options("Experiments")("only", "the experiments to run, by letter; all by default",
                                     cxxopts::value<std::string>(), "a,b,…")(
      "reduced", "small sizes in (b) to (g): seconds instead of minutes on a CPU")(
      "device", "where it is computed: cpu, cuda or cuda:N",
      cxxopts::value<std::string>()->default_value("cpu"),
      "NAME")("threads", "LibTorch's threads; as it likes by default", cxxopts::value<int>(), "N")(
      "repeats", "timings of each computation, of which the median is shown",
      cxxopts::value<int>()->default_value("3"), "N");
  options.add_options("Output")("csv", "write the rows as CSV (- for standard output)",
                                cxxopts::value<std::string>(), "FILE")(
      "json", "write the rows as JSON (- for standard output)", cxxopts::value<std::string>(), "FILE")(
      "html", "write one HTML page with plots", cxxopts::value<std::string>(), "FILE")(
      "quiet", "print nothing; the exit code tells")(
      "color", "auto, always or never", cxxopts::value<std::string>()->default_value("auto"), "WHEN")(
      "help", "this text")("version", "what this build is");
  return options;
}

[[noreturn]] void refuse(std::string what, std::string expected, std::string got) {
  fail(ErrorCode::invalid_argument,
       {"options", std::move(what), std::move(expected), std::move(got), kSeeHelp});
}

std::string letters(const std::string& list) {
  std::string result;
  for (const char c : list) {
    if (c == ',') continue;
    if (c < 'a' || c > 'g') refuse("--only", "letters a to g, separated by commas", list);
    if (result.find(c) == std::string::npos) result += c;
  }
  if (result.empty()) refuse("--only", "a letter", "none");
  std::sort(result.begin(), result.end());
  return result;
}

void check(const InvarianceTableOptions& options) {
  if (options.threads < 0) refuse("--threads", "0 or more", std::to_string(options.threads));
  if (options.repeats < 1) refuse("--repeats", "1 or more", std::to_string(options.repeats));
  if ((options.csv == "-") + (options.json == "-") + (options.html == "-") > 1)
    refuse("standard output", "one of --csv, --json and --html", "several");
}

}  // namespace

InvarianceTableOptions parse_options(int argc, char** argv) {
  InvarianceTableOptions options;
  try {
    const auto parsed = declared().parse(argc, argv);
    options.help = parsed.count("help") > 0;
    options.version = parsed.count("version") > 0;
    if (options.help || options.version) return options;
    const auto text = [&](const char* name) {
      return parsed.count(name) ? parsed[name].as<std::string>() : std::string();
    };
    if (parsed.count("only")) options.experiments = letters(text("only"));
    options.csv = text("csv"), options.json = text("json"), options.html = text("html");
    options.color = parsed["color"].as<std::string>();
    if (parsed.count("threads")) options.threads = parsed["threads"].as<int>();
    options.repeats = parsed["repeats"].as<int>();
    options.reduced = parsed.count("reduced") > 0;
    options.quiet = parsed.count("quiet") > 0;
    options.device = parsed["device"].as<std::string>();
    check(options);
  } catch (const cxxopts::exceptions::exception& error) {
    fail(ErrorCode::invalid_argument, {"options", error.what(), {}, {}, kSeeHelp});
  }
  return options;
}

std::string help_text() {
  return declared().help({"Experiments", "Output"}) +
         "\nExperiments\n"
         "  a  single operations: a row alone and in its batch\n"
         "  b  five seeds: deterministic inside, the generator untouched outside\n"
         "  c  batch size and precision\n"
         "  d  a transformer layer, one sample alone and in its batch; an int8 layer\n"
         "  e  eight transformer layers, layer by layer\n"
         "  f  gradients: alone and in the batch, in micro-batches and in one backward\n"
         "  g  the order of additions\n"
         "\nExamples\n"
         "  invariance_table --only a,f\n"
         "  invariance_table --reduced --csv table.csv --html table.html\n"
         "  invariance_table --device cuda --csv table.csv\n"
         "\nExit code: 0 everything that is promised is equal, 1 something is not, 2 trouble, 130 "
         "interrupted.\n";
}

}  // namespace lockstep::tools
