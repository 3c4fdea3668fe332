#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/npy_internal.h"

namespace lockstep::loader {
namespace {

/// Reads one dictionary from left to right.
class HeaderParser {
 public:
  HeaderParser(const std::string& file, std::string_view text) : file_(file), text_(text), left_(text) {}

  NpyHeader parse() {
    NpyHeader header;
    std::set<std::string> seen;
    expect('{');
    while (!accept('}')) {
      const std::string key = string();
      if (!seen.insert(key).second) fail_header(fmt::format("'{}' twice", key));
      expect(':');
      value(key, header);
      if (!accept(',') && peek() != '}') fail_header(rest());
    }
    if (!blanks()) fail_header(fmt::format("{} after the dictionary", rest()));
    if (seen.size() != 3) fail_header("fewer keys");
    return header;
  }

 private:
  void value(const std::string& key, NpyHeader& header) {
    if (key == "descr") {
      header.descr = peek() == '[' ? structured() : string();
    } else if (key == "fortran_order") {
      header.fortran_order = boolean();
    } else if (key == "shape") {
      header.shape = tuple();
    } else {
      fail_header(fmt::format("a key '{}'", key));
    }
  }

  /// Steps over a list of fields; only its brackets and strings matter, for it is refused later by name.
  std::string structured() {
    int depth = 0;
    do {
      const char next = peek();
      if (next == '\'' || next == '"') {
        string();
        continue;
      }
      if (next == '\0') fail_header("an open bracket");
      depth += int{next == '['} - int{next == ']'};
      left_.remove_prefix(1);
    } while (depth > 0);
    return {};
  }

  std::string string() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail_header(rest());
    left_.remove_prefix(1);
    const std::size_t end = left_.find(quote);
    if (end == std::string_view::npos) fail_header("an open quote");
    std::string text(left_.substr(0, end));
    left_.remove_prefix(end + 1);
    return text;
  }

  bool boolean() {
    peek();
    for (const bool truth : {true, false}) {
      const std::string_view word = truth ? "True" : "False";
      if (!left_.starts_with(word)) continue;
      left_.remove_prefix(word.size());
      return truth;
    }
    fail_header(rest());
  }

  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> numbers;
    expect('(');
    while (!accept(')')) {
      peek();
      std::int64_t number = 0;
      const auto [end, error] = std::from_chars(left_.data(), left_.data() + left_.size(), number);
      if (error != std::errc{}) fail_header(rest());
      left_.remove_prefix(static_cast<std::size_t>(end - left_.data()));
      if (left_.starts_with('L')) left_.remove_prefix(1);  // Python 2 wrote long integers so
      numbers.push_back(number);
      if (!accept(',') && peek() != ')') fail_header(rest());
    }
    return numbers;
  }

  /// The next character that is no blank, or NUL at the end.
  char peek() {
    const std::size_t at = left_.find_first_not_of(" \t\n\r");
    left_.remove_prefix(std::min(at, left_.size()));
    return left_.empty() ? '\0' : left_.front();
  }
  bool blanks() { return peek() == '\0' && left_.empty(); }
  bool accept(char wanted) {
    if (peek() != wanted || left_.empty()) return false;
    left_.remove_prefix(1);
    return true;
  }
  void expect(char wanted) {
    if (!accept(wanted)) fail_header(rest());
  }
  std::string rest() const {
    return left_.empty()
               ? "its end"
               : fmt::format("'{}' at character {}", left_.substr(0, 20), text_.size() - left_.size());
  }
  [[noreturn]] void fail_header(const std::string& got) const {
    fail(ErrorCode::corruption, {file_, ".npy header", "a dictionary of descr, fortran_order and shape", got,
                                 "The file is damaged; get it again."});
  }

  const std::string& file_;
  std::string_view text_;
  std::string_view left_;
};

}  // namespace

NpyHeader parse_npy_header(const std::string& file, std::string_view text) {
  return HeaderParser(file, text).parse();
}

}  // namespace lockstep::loader
