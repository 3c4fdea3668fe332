#pragma once
// What every report has in common: one HTML page that opens without a network, light and dark, screen and
// paper.

#include <string>
#include <string_view>

#include "lockstep/record/compare.h"

namespace lockstep::record {

/// Text for HTML content and attributes: markup escaped, control characters and invalid UTF-8 shown as
/// U+FFFD.
std::string html_escaped(std::string_view text);

/// The whole page around `body`, which is markup.
std::string html_page(std::string_view title, const std::string& body);

/// The verdict at a page's top: a word and a sentence, in the outcome's colour.
std::string html_verdict(Outcome outcome, std::string_view word, std::string_view sentence);

}  // namespace lockstep::record
