#include <algorithm>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/format/csv_internal.h"

namespace lockstep::loader {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

bool is_line_end(char c) { return c == '\n' || c == '\r'; }

}  // namespace

CsvScanner::CsvScanner(const std::string& name, std::string_view text, char delimiter)
    : name_(name), text_(text), delimiter_(delimiter) {
  if (text_.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
}

bool CsvScanner::next(std::vector<std::string_view>& cells) {
  cells.clear();
  unquoted_.clear();
  row_line_ = line_;
  if (text_.find_first_not_of("\r\n", at_) == std::string_view::npos) return false;
  while (true) {
    cells.push_back(at_ < text_.size() && text_[at_] == '"' ? quoted_cell() : cell());
    if (at_ == text_.size() || text_[at_] != delimiter_) break;
    ++at_;
  }
  if (at_ < text_.size() && text_[at_] == '\r') ++at_;
  if (at_ < text_.size() && text_[at_] == '\n') ++at_;
  ++line_;
  return true;
}

std::string_view CsvScanner::cell() {
  const std::size_t begin = at_;
  while (at_ < text_.size() && text_[at_] != delimiter_ && !is_line_end(text_[at_])) ++at_;
  return text_.substr(begin, at_ - begin);
}

std::string_view CsvScanner::quoted_cell() {
  std::string* text = nullptr;
  const std::size_t begin = ++at_;
  std::size_t piece = begin;
  while (true) {
    const std::size_t quote = text_.find('"', at_);
    if (quote == std::string_view::npos) {
      fail(ErrorCode::corruption,
           {name_, fmt::format("line {}", row_line_), "a closing quote", "the end of the file", {}});
    }
    line_ += std::count(text_.begin() + static_cast<std::ptrdiff_t>(at_),
                        text_.begin() + static_cast<std::ptrdiff_t>(quote), '\n');
    at_ = quote + 1;
    if (at_ == text_.size() || text_[at_] != '"') break;
    if (text == nullptr) text = &unquoted_.emplace_back();
    text->append(text_.substr(piece, at_ - piece));
    piece = ++at_;
  }
  if (at_ < text_.size() && text_[at_] != delimiter_ && !is_line_end(text_[at_])) {
    fail(ErrorCode::corruption, {name_,
                                 fmt::format("line {}", line_),
                                 "a delimiter after a closing quote",
                                 fmt::format("'{}'", text_[at_]),
                                 {}});
  }
  if (text == nullptr) return text_.substr(begin, at_ - 1 - begin);
  text->append(text_.substr(piece, at_ - 1 - piece));
  return *text;
}

}  // namespace lockstep::loader
