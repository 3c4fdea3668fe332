// The table as a page: a verdict, and for each experiment a plot on a logarithmic scale beside its numbers.

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "lockstep/record/html_page.h"
#include "report.h"

namespace lockstep::tools {
namespace {

using record::html_escaped;

constexpr double kRowHeight = 22, kLabelWidth = 400, kPlotWidth = 500, kEqualWidth = 90, kTop = 26;

constexpr std::string_view kStyle =
    "<style>.plot text{font-size:12px;fill:var(--ink)}.plot .axis{fill:var(--soft)}.plot "
    "line{stroke:var(--line)}"
    ".plot .eager{fill:var(--different)}.plot "
    ".deterministic{fill:none;stroke:var(--different);stroke-width:2}"
    ".plot .ours{fill:var(--same)}.plot "
    ".refused{fill:none;stroke:var(--missing);"
    "stroke-width:2}td.number,td.mono,th{white-space:nowrap}.plot .promise{fill:var(--same-soft)}</style>\n";

/// Decades that hold every difference of these rows.
struct Scale {
  explicit Scale(const std::vector<const Row*>& rows) {
    bool any = false;
    for (const Row* row : rows)
      for (const Side* side : {&row->eager, &row->ours}) {
        if (!(side->difference.largest > 0)) continue;
        const int decade = static_cast<int>(std::floor(std::log10(side->difference.largest)));
        low = any ? std::min(low, decade) : decade;
        high = any ? std::max(high, decade + 1) : decade + 1;
        any = true;
      }
  }
  double x(double value) const {
    return kLabelWidth + kEqualWidth + kPlotWidth * (std::log10(value) - low) / (high - low);
  }
  int low = -8, high = 0;
};

std::string mark(const Side& side, const char* css, const Scale& scale, double y) {
  const double at_zero = kLabelWidth + kEqualWidth / 2;
  const bool refused = !side.refused.empty();
  const double x = !refused && side.difference.largest > 0 ? scale.x(side.difference.largest) : at_zero;
  // All may be equal: one above the other.
  const double shift = css[0] == 'e' ? -4 : css[0] == 'o' ? 4 : 0;
  return fmt::format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"><title>{}</title></circle>",
                     refused ? "refused" : css, refused ? at_zero + 24 : x, y + shift,
                     html_escaped(refused ? side.refused : side_text(side)));
}

std::string axis(const Scale& scale, double height) {
  std::string svg =
      fmt::format("<text class=\"axis\" x=\"{:.1f}\" y=\"14\" text-anchor=\"middle\">equal</text>",
                  kLabelWidth + kEqualWidth / 2);
  const int step = std::max(1, (scale.high - scale.low) / 8);
  for (int decade = scale.low; decade <= scale.high; decade += step) {
    const double x = scale.x(std::pow(10.0, decade));
    svg += fmt::format(
        "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"20\" y2=\"{1:.1f}\"/>"
        "<text class=\"axis\" x=\"{0:.1f}\" y=\"14\" text-anchor=\"middle\">1e{2}</text>",
        x, height, decade);
  }
  return svg;
}

/// What tells a row from the others of its plot.
std::string label(const Row& row, bool one_comparison) {
  const std::string text = row.subject + ", " + (one_comparison ? row.shape : row.compared);
  return row.precision == "fp32" ? text : text + ", " + row.precision;
}

std::string plot(const std::vector<const Row*>& rows) {
  const Scale scale(rows);
  const bool one_comparison = std::all_of(
      rows.begin(), rows.end(), [&](const Row* row) { return row->compared == rows.front()->compared; });
  const double width = kLabelWidth + kEqualWidth + kPlotWidth + 40,
               height = kTop + kRowHeight * static_cast<double>(rows.size());
  std::string svg = fmt::format(
      "<div class=\"scroll\"><svg class=\"plot\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" "
      "aria-label=\"largest difference of each comparison\">"
      "<rect class=\"promise\" x=\"{:.1f}\" y=\"20\" width=\"{:.1f}\" height=\"{:.1f}\"/>",
      width, height, kLabelWidth, kEqualWidth, height - 20);
  svg += axis(scale, height);
  double y = kTop + kRowHeight / 2;
  for (const Row* row : rows) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>", kLabelWidth - 12,
                       y + 4, html_escaped(label(*row, one_comparison)));
    svg += mark(row->eager, "eager", scale, y);
    if (row->deterministic) svg += mark(*row->deterministic, "deterministic", scale, y);
    svg += mark(row->ours, "ours", scale, y);
    y += kRowHeight;
  }
  return svg + "</svg></div>";
}

std::string cell(const Side& side) {
  const std::string text = side_text(side);
  if (!side.refused.empty())
    return fmt::format("<td title=\"{}\">refused</td><td></td>", html_escaped(side.refused));
  return fmt::format("<td{}>{}</td><td class=\"number\">{:.3g}</td>", text == "equal" ? "" : " class=\"bad\"",
                     text, side.milliseconds);
}

std::string numbers(const std::vector<const Row*>& rows) {
  std::string html =
      "<div class=\"scroll\"><table><tr><th>what</th><th>shape</th><th>compared</th><th>precision</th>"
      "<th>LibTorch</th><th class=\"number\">ms</th><th>deterministic</th><th class=\"number\">ms</th>"
      "<th>invariant mode</th><th "
      "class=\"number\">ms</th></tr>\n";
  for (const Row* row : rows)
    html += fmt::format(
        "<tr><td>{}</td><td class=\"mono\">{}</td><td>{}{}</td><td>{}</td>{}{}{}</tr>\n",
        html_escaped(row->subject), html_escaped(row->shape), html_escaped(row->compared),
        row->note.empty() ? "" : "<br>" + html_escaped(row->note), row->precision, cell(row->eager),
        row->deterministic ? cell(*row->deterministic) : "<td></td><td></td>", cell(row->ours));
  return html + "</table></div>";
}

std::string legend() {
  return "<div class=\"legend\"><span><i style=\"background:var(--different)\"></i>LibTorch's own "
         "kernels</span>"
         "<span><i style=\"border:2px solid var(--different)\"></i>the same, deterministic (CUDA)</span>"
         "<span><i style=\"background:var(--same)\"></i>invariant mode</span>"
         "<span><i style=\"background:var(--missing)\"></i>refused, with the reason</span>"
         "<span>largest difference between the two ways to compute the same values</span></div>";
}

std::string environment(const Table& table) {
  std::string html = "<section><h2>Environment</h2><div class=\"scroll\"><table class=\"settings\">";
  for (const auto& [key, value] : table.environment)
    html +=
        fmt::format("<tr><th>{}</th><td class=\"mono\">{}</td></tr>", html_escaped(key), html_escaped(value));
  return html + "</table></div></section>\n";
}

}  // namespace

std::string to_html(const Table& table) {
  const bool good = table.broken() == 0;
  std::string body(kStyle);
  body += record::html_verdict(good ? record::Outcome::same : record::Outcome::different,
                               good ? "INVARIANT" : "BROKEN", summary(table));
  for (const char experiment : std::string_view("abcdefg")) {
    std::vector<const Row*> rows;
    for (const Row& row : table.rows)
      if (row.experiment == experiment) rows.push_back(&row);
    if (rows.empty()) continue;
    body += fmt::format("<section class=\"long\"><h2>({}) {}</h2>{}{}<p></p>{}</section>\n", experiment,
                        experiment_title(experiment), plot(rows), legend(), numbers(rows));
  }
  return record::html_page("lockstep: invariance table", body + environment(table));
}

}  // namespace lockstep::tools
