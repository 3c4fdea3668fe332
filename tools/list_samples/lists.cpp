#include "lists.h"

#include <cerrno>
#include <charconv>
#include <fstream>
#include <iterator>

#include "lockstep/base/error.h"

namespace lockstep::list_samples {
namespace {

[[noreturn]] void bad_number(std::string_view flag, const char* expected, std::string_view got) {
  fail(ErrorCode::invalid_argument, {"list_samples", std::string(flag), expected,
                                     "\"" + std::string(got) + "\"", "See list_samples --help"});
}

template <class T>
bool parse_whole(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::string list_text(std::string_view flag, const std::string& text) {
  if (text.empty() || text[0] != '@') return text;
  const std::string path = text.substr(1);
  std::ifstream file(path, std::ios::binary);
  if (!file)
    fail_errno(errno, path, "the list of " + std::string(flag) + " cannot be read", "Check the path");
  std::string content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (file.bad())
    fail_errno(errno, path, "the list of " + std::string(flag) + " cannot be read", "Check the path");
  for (char& c : content) c = c == '\n' ? ',' : c;
  return content;
}

/// Calls `take` with each item; empty ones (a trailing newline or comma, an empty line) are passed over.
template <class Take>
void for_each_item(std::string_view flag, const std::string& argument, const Take& take) {
  const std::string text = list_text(flag, argument);
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = trimmed(rest.substr(0, comma));
    if (!item.empty()) take(item);
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
}

}  // namespace

std::int64_t parse_integer(std::string_view flag, std::string_view text) {
  std::int64_t value = 0;
  if (!parse_whole(trimmed(text), value)) bad_number(flag, "a whole number", text);
  return value;
}

std::uint64_t parse_seed(std::string_view flag, std::string_view text) {
  std::uint64_t seed = 0;
  if (parse_whole(text, seed)) return seed;
  std::int64_t negative = 0;
  if (!parse_whole(text, negative)) bad_number(flag, "a seed from -2^63 to 2^64-1", text);
  return static_cast<std::uint64_t>(negative);
}

std::vector<double> parse_numbers(std::string_view flag, const std::string& text) {
  std::vector<double> numbers;
  for_each_item(flag, text, [&](std::string_view item) {
    if (!parse_whole(item, numbers.emplace_back())) bad_number(flag, "numbers separated by commas", item);
  });
  return numbers;
}

std::vector<std::int64_t> parse_integers(std::string_view flag, const std::string& text) {
  std::vector<std::int64_t> numbers;
  for_each_item(flag, text, [&](std::string_view item) { numbers.push_back(parse_integer(flag, item)); });
  return numbers;
}

std::vector<std::optional<std::int64_t>> parse_stops(std::string_view flag, const std::string& text) {
  std::vector<std::optional<std::int64_t>> stops;
  for_each_item(flag, text, [&](std::string_view item) {
    if (item == "-") {
      stops.emplace_back();
      return;
    }
    stops.emplace_back(parse_integer(flag, item));
    if (*stops.back() < 0) bad_number(flag, "batches from 0 on, or - for all", item);
  });
  return stops;
}

}  // namespace lockstep::list_samples
