#include "combinations.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <unistd.h>

#include <fmt/format.h>

namespace lockstep::tools {
namespace {

std::string file_safe(std::string text) {
  constexpr std::size_t kLongest = 40;
  for (char& c : text) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '-' && c != '_' && c != '=') c = '_';
  }
  return text.substr(0, kLongest);
}

void replace_all(std::string* text, const std::string& from, const std::string& to) {
  for (std::size_t at = text->find(from); at != text->npos; at = text->find(from, at + to.size())) {
    text->replace(at, from.size(), to);
  }
}

std::string folder_name(const std::vector<Axis>& axes, const Combination& combination, std::size_t number,
                        int runs) {
  std::string name = fmt::format("{:02}", number);
  for (std::size_t i = 0; i < axes.size(); ++i)
    name += file_safe("-" + axes[i].name + "=" + combination.values[i]);
  if (runs > 1) name += fmt::format("-run{}", combination.run);
  constexpr std::size_t kLongest = 200;
  return name.substr(0, kLongest);
}

}  // namespace

std::string Axis::variable() const {
  std::string result = "LOCKSTEP_";
  for (const char c : name)
    result += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return result;
}

std::string Axis::placeholder() const { return "{" + name + "}"; }

std::vector<Combination> combinations(const std::vector<Axis>& axes, int runs) {
  std::vector<Combination> result{{}};
  for (const auto& axis : axes) {
    std::vector<Combination> longer;
    for (const auto& shorter : result) {
      for (const auto& value : axis.values) {
        longer.push_back(shorter);
        longer.back().values.push_back(value);
      }
    }
    result = std::move(longer);
  }
  std::vector<Combination> repeated;
  for (const auto& combination : result) {
    for (int run = 1; run <= runs; ++run) {
      repeated.push_back(combination);
      repeated.back().run = run;
      repeated.back().folder_name = folder_name(axes, repeated.back(), repeated.size(), runs);
    }
  }
  return repeated;
}

std::vector<std::string> command_of(const std::vector<std::string>& command, const std::vector<Axis>& axes,
                                    const Combination& combination, const std::filesystem::path& record) {
  std::vector<std::string> result = command;
  for (auto& argument : result) {
    for (std::size_t i = 0; i < axes.size(); ++i)
      replace_all(&argument, axes[i].placeholder(), combination.values[i]);
    replace_all(&argument, "{record}", record.string());
  }
  return result;
}

std::vector<std::string> environment_of(const std::vector<Axis>& axes, const Combination& combination,
                                        const std::filesystem::path& record) {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    const auto equals = text.find('=');
    if (equals != text.npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (std::size_t i = 0; i < axes.size(); ++i) variables[axes[i].variable()] = combination.values[i];
  variables["LOCKSTEP_RECORD"] = record.string();
  std::vector<std::string> result;
  result.reserve(variables.size());
  for (const auto& [name, value] : variables) result.push_back(fmt::format("{}={}", name, value));
  return result;
}

}  // namespace lockstep::tools
