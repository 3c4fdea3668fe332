#include "lockstep/record/html_page.h"

#include <fmt/format.h>

#include "lockstep/base/version.h"
#include "lockstep/record/report_html_internal.h"

namespace lockstep::record {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

/// Length of the valid UTF-8 sequence at `at`; 0 when there is none.
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  const std::size_t length = first < 0x80             ? 1
                             : (first & 0xe0) == 0xc0 ? 2
                             : (first & 0xf0) == 0xe0 ? 3
                             : (first & 0xf8) == 0xf0 ? 4
                                                      : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (length == 2 && first < 0xc2) ||
                        (length == 3 && first == 0xe0 && byte(at + 1) < 0xa0) ||
                        (length == 4 && first == 0xf0 && byte(at + 1) < 0x90);
  const bool surrogate = length == 3 && first == 0xed && byte(at + 1) >= 0xa0;
  const bool too_large = length == 4 && (first > 0xf4 || (first == 0xf4 && byte(at + 1) >= 0x90));
  return overlong || surrogate || too_large ? 0 : length;
}

std::string sign(Outcome outcome) {
  constexpr const char* kPaths[] = {"M14 27 l8 8 l16 -18", "M17 17 l18 18 M35 17 l-18 18",
                                    "M26 13 v16 M26 37 v.5"};
  return fmt::format(
      "<svg class=\"sign\" viewBox=\"0 0 52 52\" aria-hidden=\"true\"><circle cx=\"26\" cy=\"26\" r=\"26\"/>"
      "<path d=\"{}\"/></svg>",
      kPaths[static_cast<std::size_t>(outcome)]);
}

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text, at);
    const char c = text[at];
    if (length == 0 || (length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7f))) {
      result += c == '\n' || c == '\t' ? std::string_view(" ") : kReplacement;
    } else if (c == '&') {
      result += "&amp;";
    } else if (c == '<') {
      result += "&lt;";
    } else if (c == '>') {
      result += "&gt;";
    } else if (c == '"') {
      result += "&quot;";
    } else if (c == '\'') {
      result += "&#39;";
    } else {
      result += text.substr(at, length);
    }
    at += length == 0 ? 1 : length;
  }
  return result;
}

std::string html_verdict(Outcome outcome, std::string_view word, std::string_view sentence) {
  return fmt::format("<div class=\"banner {}\">{}<div><h1>{}</h1><p>{}</p></div></div>\n",
                     outcome_name(outcome), sign(outcome), html_escaped(word), html_escaped(sentence));
}

std::string html_page(std::string_view title, const std::string& body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>{}</title>\n<style>{}</style></head>\n<body><main>\n{}<footer>lockstep {} ({})</footer>\n"
      "</main></body></html>\n",
      html_escaped(title), kReportStyle, body, html_escaped(build_info().version),
      html_escaped(build_info().commit));
}

}  // namespace lockstep::record
