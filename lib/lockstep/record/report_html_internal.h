#pragma once
// Parts of the HTML report.

#include <string>
#include <string_view>

#include "lockstep/record/compare.h"

namespace lockstep::record {

/// The page's style sheet: light and dark, screen and paper.
extern const std::string_view kReportStyle;

/// Text for HTML content and attributes: markup escaped, control characters and invalid UTF-8 shown as
/// U+FFFD.
std::string html_escaped(std::string_view text);

/// The strip of steps as inline SVG, with a pointer at the first divergence, a scale and a legend.
std::string strip_svg(const Comparison& comparison);

}  // namespace lockstep::record
