#include "options.h"

#include <cxxopts.hpp>

#include "lockstep/base/error.h"

namespace lockstep::tools {
namespace {

cxxopts::Options declared() {
  cxxopts::Options options(
      "compare_batches",
      "Says whether two recorded runs are the same, bit for bit, and if not, where they part first.\n");
  options.custom_help("[OPTION…]").positional_help("A B").show_positional_help().set_width(100);
  options.add_options("Run")("dir", "compare the two newest runs of folder DIR, by recorded start time",
                             cxxopts::value<std::string>(), "DIR");
  options.add_options("Comparison")("exact", "bit for bit; the default")(
      "rtol", "floats agree when |a - b| <= atol + rtol x max(|a|, |b|)", cxxopts::value<double>(), "R")(
      "atol", "see --rtol; either may stand alone", cxxopts::value<double>(), "A")(
      "phase", "decide by these only: batch, named, loss, gradient, optimizer, parameter (list or repeat)",
      cxxopts::value<std::vector<std::string>>(),
      "P[,P]")("force", "compare although seed, data, model or optimizer differ");
  options.add_options("Output")("json", "write the result as JSON (- for standard output)",
                                cxxopts::value<std::string>(), "FILE")(
      "html", "write the result as one HTML page", cxxopts::value<std::string>(), "FILE")(
      "quiet", "print nothing; the exit code tells")(
      "color", "auto, always or never", cxxopts::value<std::string>()->default_value("auto"), "WHEN")(
      "help", "this text")("version", "what this build is");
  options.add_options("Hidden")("runs", "", cxxopts::value<std::vector<std::string>>());
  options.parse_positional({"runs"});
  return options;
}

[[noreturn]] void refuse(std::string what, std::string expected, std::string got) {
  fail(ErrorCode::invalid_argument,
       {"options", std::move(what), std::move(expected), std::move(got), "See compare_batches --help"});
}

void check(const CompareBatchesOptions& options, bool exact) {
  if (exact && (options.compare.rtol != 0 || options.compare.atol != 0)) {
    refuse("--exact with --rtol or --atol", "one of the two", "both");
  }
  if (!options.directory.empty() && !options.runs.empty())
    refuse("--dir with runs", "--dir DIR or two runs", "both");
  if (options.directory.empty() && options.runs.size() != 2) {
    refuse("runs", "two files or folders, or --dir DIR", std::to_string(options.runs.size()));
  }
  if (options.json == "-" && options.html == "-") refuse("--json - with --html -", "one of them", "both");
}

}  // namespace

CompareBatchesOptions parse_options(int argc, char** argv) {
  CompareBatchesOptions options;
  try {
    const auto parsed = declared().parse(argc, argv);
    options.help = parsed.count("help") > 0;
    options.version = parsed.count("version") > 0;
    if (options.help || options.version) return options;
    const auto text = [&](const char* name) {
      return parsed.count(name) ? parsed[name].as<std::string>() : std::string();
    };
    options.directory = text("dir"), options.json = text("json"), options.html = text("html"),
    options.color = text("color");
    if (options.color.empty()) options.color = "auto";
    if (parsed.count("runs")) options.runs = parsed["runs"].as<std::vector<std::string>>();
    if (parsed.count("rtol")) options.compare.rtol = parsed["rtol"].as<double>();
    if (parsed.count("atol")) options.compare.atol = parsed["atol"].as<double>();
    if (parsed.count("phase")) {
      for (const auto& name : parsed["phase"].as<std::vector<std::string>>()) {
        options.compare.phases.push_back(record::parse_phase(name));
      }
    }
    options.compare.force = parsed.count("force") > 0;
    options.quiet = parsed.count("quiet") > 0;
    check(options, parsed.count("exact") > 0);
  } catch (const cxxopts::exceptions::exception& error) {
    fail(ErrorCode::invalid_argument, {"options", error.what(), {}, {}, "See compare_batches --help"});
  }
  return options;
}

std::string help_text() {
  return declared().help({"Run", "Comparison", "Output"}) +
         "\nA and B are recordings, or folders that hold one run each. A run that was resumed or that has "
         "several\n"
         "ranks is found by any one of its files.\n"
         "\nExamples\n"
         "  compare_batches runs/monday runs/tuesday\n"
         "  compare_batches --dir runs --html report.html\n"
         "  compare_batches runs/cpu runs/gpu --rtol 1e-5 --phase loss,parameter\n"
         "\nExit code: 0 same, 1 different, 2 trouble (evidence is missing, settings differ, or the runs "
         "could not be\n"
         "read), 130 interrupted.\n";
}

}  // namespace lockstep::tools
