#pragma once
// Parts of the HTML report.

#include <string>
#include <string_view>
#include <vector>

#include "lockstep/record/compare.h"
#include "lockstep/record/html_page.h"

namespace lockstep::record {

/// The page's style sheet: light and dark, screen and paper.
extern const std::string_view kReportStyle;

/// The verdict at the top.
std::string html_banner(Outcome outcome, const std::string& sentence);
std::string html_list_section(const char* name, const char* css, const std::vector<std::string>& entries);
/// Everything about one comparison but the verdict.
std::string html_sections(const Comparison& comparison);

/// The strip of steps as inline SVG, with a pointer at the first divergence, a scale and a legend.
std::string strip_svg(const Comparison& comparison);

}  // namespace lockstep::record
