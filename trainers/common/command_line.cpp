#include "common/command_line.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <cxxopts.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/error.h"
#include "lockstep/base/version.h"
#include "lockstep/simd/targets.h"

namespace lockstep::trainers {
namespace {

std::string variable_of(const std::string& name) {
  std::string variable = "LOCKSTEP_";
  for (char letter : name) variable += letter == '-' ? '_' : static_cast<char>(std::toupper(letter));
  return variable;
}

bool is_true(const std::string& value) {
  return value == "1" || value == "true" || value == "yes" || value == "on";
}

bool is_false(const std::string& value) {
  return value.empty() || value == "0" || value == "false" || value == "no" || value == "off";
}

template <class Number>
bool read_number(const std::string& text, Number& value) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end;
}

}  // namespace

CommandLine::CommandLine(std::string program, std::string summary, std::string example)
    : program_(std::move(program)), summary_(std::move(summary)), example_(std::move(example)) {}

void CommandLine::option(const std::string& name, const std::string& fallback, const std::string& help) {
  places_[name] = options_.size();
  options_.push_back({name, help, fallback});
}

void CommandLine::option_with_implied_value(const std::string& name, const std::string& fallback,
                                            const std::string& alone, const std::string& help) {
  option(name, fallback, help);
  options_.back().implied = alone;
}

void CommandLine::flag(const std::string& name, const std::string& help) {
  option(name, "0", help);
  options_.back().is_flag = true;
}

bool CommandLine::parse(int argc, const char* const* argv) {
  arguments_.assign(argv, argv + argc);
  cxxopts::Options parser(program_, summary_);
  auto add = parser.add_options();
  for (const Declared& option : options_) {
    if (option.is_flag) {
      add(option.name, option.help);
      continue;
    }
    auto value = cxxopts::value<std::string>();
    if (!option.implied.empty()) value->implicit_value(option.implied);
    const std::string fallback = option.value.empty() ? "" : fmt::format(" (default: {})", option.value);
    add(option.name, option.help + fallback, value);
  }
  add("h,help", "this text");
  add("version", "commit, compiler and numeric flags");

  read_environment();
  try {
    const auto result = parser.parse(argc, argv);
    if (result.count("help")) {
      fmt::print(
          "{}\nEvery option may also come from the environment: LOCKSTEP_WORKERS=4 is --workers 4; the "
          "command "
          "line wins.\n\nExample:\n  {}\n",
          parser.help(), example_);
      return false;
    }
    if (result.count("version")) {
      fmt::print("{}", version_text(program_, simd::active_instruction_set()));
      return false;
    }
    if (!result.unmatched().empty())
      fail(ErrorCode::invalid_argument, {program_, "arguments", "options only", result.unmatched().front(),
                                         "See " + program_ + " --help"});
    for (Declared& option : options_) {
      if (!result.count(option.name)) continue;
      option.source = "--" + option.name;
      option.value = option.is_flag ? "1" : result[option.name].as<std::string>();
    }
  } catch (const cxxopts::exceptions::exception& error) {
    fail(ErrorCode::invalid_argument,
         {program_, "command line", "options of this program", error.what(), "See " + program_ + " --help"});
  }
  return true;
}

void CommandLine::read_environment() {
  for (Declared& option : options_) {
    const std::string variable = variable_of(option.name);
    const char* value = std::getenv(variable.c_str());
    if (value == nullptr) continue;
    option.source = variable;
    option.value = value;
  }
}

const CommandLine::Declared& CommandLine::declared(const std::string& name) const {
  const auto place = places_.find(name);
  if (place == places_.end())
    fail(ErrorCode::internal, {program_, "option", "one that was declared", name, {}});
  return options_[place->second];
}

void CommandLine::refuse(const Declared& option, const std::string& expected) const {
  fail(ErrorCode::invalid_argument,
       {program_, option.source.empty() ? "--" + option.name : option.source, expected,
        option.value.empty() ? "nothing" : option.value, "See " + program_ + " --help"});
}

std::string CommandLine::text(const std::string& name) const { return declared(name).value; }

std::int64_t CommandLine::integer(const std::string& name, std::int64_t least) const {
  const Declared& option = declared(name);
  std::int64_t value = 0;
  if (!read_number(option.value, value) || value < least)
    refuse(option, fmt::format("a whole number, {} or more", least));
  return value;
}

std::uint64_t CommandLine::seed(const std::string& name) const {
  const Declared& option = declared(name);
  std::uint64_t value = 0;
  if (!read_number(option.value, value)) refuse(option, "a whole number from 0 to 2^64 - 1");
  return value;
}

double CommandLine::number(const std::string& name) const {
  const Declared& option = declared(name);
  double value = 0;
  if (!read_number(option.value, value) || !std::isfinite(value)) refuse(option, "a finite number");
  return value;
}

bool CommandLine::flag(const std::string& name) const {
  const Declared& option = declared(name);
  if (is_true(option.value)) return true;
  if (is_false(option.value)) return false;
  refuse(option, "1, true, yes, on, 0, false, no or off");
}

std::string CommandLine::choice(const std::string& name, std::initializer_list<const char*> allowed) const {
  const Declared& option = declared(name);
  if (std::find(allowed.begin(), allowed.end(), option.value) == allowed.end())
    refuse(option, fmt::format("{}", fmt::join(allowed, " or ")));
  return option.value;
}

bool CommandLine::given(const std::string& name) const { return !declared(name).source.empty(); }

}  // namespace lockstep::trainers
