#include "options.h"

#include <cxxopts.hpp>

#include "lockstep/base/error.h"

namespace lockstep::tools {
namespace {

constexpr const char* kSeeHelp = "See inspect_recording --help";

cxxopts::Options declared() {
  cxxopts::Options options("inspect_recording", "Shows what a recording holds and whether it is whole.\n");
  options.custom_help("[OPTION…]").positional_help("FILE").show_positional_help().set_width(100);
  options.add_options("Content")("batch", "one optimizer step in full: batch, losses, tensors, events",
                                 cxxopts::value<std::int64_t>(),
                                 "K")("values", "with --batch: show at most N elements of a tensor",
                                      cxxopts::value<std::int64_t>()->default_value("256"), "N");
  options.add_options("Output")(
      "json", "JSON with all values, to standard output or to a file whose name ends in .json",
      cxxopts::value<std::string>()->implicit_value("-"),
      "FILE")("quiet", "print nothing; the exit code tells")(
      "color", "auto, always or never", cxxopts::value<std::string>()->default_value("auto"), "WHEN")(
      "help", "this text")("version", "what this build is");
  options.add_options("Hidden")("file", "", cxxopts::value<std::vector<std::string>>());
  options.parse_positional({"file"});
  return options;
}

[[noreturn]] void refuse(std::string what, std::string expected, std::string got) {
  fail(ErrorCode::invalid_argument,
       {"options", std::move(what), std::move(expected), std::move(got), kSeeHelp});
}

std::string only_file(const cxxopts::ParseResult& result) {
  const auto files =
      result.count("file") ? result["file"].as<std::vector<std::string>>() : std::vector<std::string>();
  if (files.size() != 1) refuse("files", "one recording", std::to_string(files.size()));
  return files.front();
}

/// "--json -" and "--json x.json" as one word, so that a bare --json may stand before the recording's name.
std::vector<std::string> joined(int argc, char** argv) {
  std::vector<std::string> words(argv, argv + argc);
  for (std::size_t i = 1; i + 1 < words.size(); ++i) {
    const std::string& next = words[i + 1];
    if (words[i] != "--json" || !(next == "-" || next.ends_with(".json"))) continue;
    words[i] += "=" + next;
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(i) + 1);
  }
  return words;
}

cxxopts::ParseResult parsed(const std::vector<std::string>& words) {
  std::vector<const char*> pointers;
  pointers.reserve(words.size());
  for (const std::string& word : words) pointers.push_back(word.c_str());
  return declared().parse(static_cast<int>(pointers.size()), pointers.data());
}

InspectOptions options_from(const cxxopts::ParseResult& result) {
  InspectOptions options;
  options.help = result.count("help") > 0;
  options.version = result.count("version") > 0;
  if (options.help || options.version) return options;
  options.file = only_file(result);
  if (result.count("batch")) options.batch = result["batch"].as<std::int64_t>();
  if (result.count("json")) options.json = result["json"].as<std::string>();
  options.values = result["values"].as<std::int64_t>();
  options.color = result["color"].as<std::string>();
  options.quiet = result.count("quiet") > 0;
  if (options.batch.value_or(0) < 0) refuse("--batch", "a step, 0 or more", std::to_string(*options.batch));
  if (options.values < 0) refuse("--values", "0 or more", std::to_string(options.values));
  return options;
}

}  // namespace

InspectOptions parse_options(int argc, char** argv) {
  try {
    return options_from(parsed(joined(argc, argv)));
  } catch (const cxxopts::exceptions::exception& error) {
    fail(ErrorCode::invalid_argument, {"options", error.what(), {}, {}, kSeeHelp});
  }
}

std::string help_text() {
  return declared().help({"Content", "Output"}) +
         "\nExamples\n"
         "  inspect_recording runs/20260131T090507-9bf7cd77-r0-s0.lsr\n"
         "  inspect_recording run.lsr --batch 3\n"
         "  inspect_recording run.lsr --batch 3 --json | jq '.records[] | select(.type == \"loss\")'\n"
         "\nExit code: 0 the recording is complete, 1 it is torn or damaged (what is usable is shown), 2 "
         "trouble\n"
         "(missing, not a recording, of a newer format version, no such step), 130 interrupted.\n";
}

}  // namespace lockstep::tools
