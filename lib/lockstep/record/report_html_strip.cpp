#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "lockstep/record/report_html_internal.h"
#include "lockstep/record/report_internal.h"

namespace lockstep::record {
namespace {

constexpr std::array<const char*, 5> kClasses{"same", "different", "missing", "only-a", "only-b"};
constexpr std::size_t kCellsWithGaps = 160;  ///< as many cells as can have a line of background between them

std::string cell_title(const Comparison& comparison, std::size_t cell) {
  const std::int64_t first =
      comparison.first_step + static_cast<std::int64_t>(cell) * comparison.steps_per_cell;
  const std::int64_t last = std::min(first + comparison.steps_per_cell - 1, comparison.last_step);
  const std::string steps =
      first == last ? "step " + grouped(first) : fmt::format("steps {} to {}", grouped(first), grouped(last));
  return fmt::format("{}: {}", steps, state_name(comparison.strip[cell]));
}

/// A cell may be thinner than a pixel, so the first divergence is pointed at.
std::string pointer(const Comparison& comparison) {
  if (!comparison.first || comparison.strip.empty()) return {};
  const std::int64_t cell = (comparison.first->step - comparison.first_step) / comparison.steps_per_cell;
  const double share = (static_cast<double>(cell) + 0.5) / static_cast<double>(comparison.strip.size());
  const double percent = 100 * std::clamp(share, 0.0, 1.0);
  const bool right = percent > 90;
  const std::string step = grouped(comparison.first->step);
  return fmt::format("<div class=\"pointer\"><span class=\"{}\" style=\"left:{:.3f}%\">{}</span></div>\n",
                     right ? "right" : "left", percent,
                     right ? fmt::format("step {} ▼", step) : fmt::format("▼ step {}", step));
}

std::string legend(const Comparison& comparison) {
  std::string html = "<div class=\"legend\">";
  for (std::size_t state = 0; state < kClasses.size(); ++state) {
    const auto wanted = static_cast<StepState>(state);
    const auto count = std::count(comparison.strip.begin(), comparison.strip.end(), wanted);
    if (count == 0) continue;
    html += fmt::format("<span><i style=\"background:var(--{})\"></i>{}</span>", kClasses[state],
                        state_name(wanted));
  }
  if (comparison.steps_per_cell > 1) {
    html += fmt::format("<span>each cell stands for {} steps and shows the worst of them</span>",
                        grouped(comparison.steps_per_cell));
  }
  return html + "</div>\n";
}

/// Cells that are not `same` are drawn last and at least two screen pixels wide, so that one of thousands
/// shows.
std::string cells(const Comparison& comparison, bool same) {
  const auto count = static_cast<double>(comparison.strip.size());
  const double least = same ? 0.0 : std::min(count / 500, 4.0);
  const double width = std::max(count <= kCellsWithGaps ? 0.88 : 1.05, least);
  std::string html;
  for (std::size_t cell = 0; cell < comparison.strip.size(); ++cell) {
    if ((comparison.strip[cell] == StepState::same) != same) continue;
    html += fmt::format(
        "<rect class=\"{}\" x=\"{}\" y=\"0\" width=\"{:.3g}\" height=\"1\"><title>{}</title></rect>\n",
        kClasses[static_cast<std::size_t>(comparison.strip[cell])], cell, width,
        cell_title(comparison, cell));
  }
  return html;
}

}  // namespace

std::string strip_svg(const Comparison& comparison) {
  if (comparison.strip.empty()) return {};
  std::string html = pointer(comparison);
  html += fmt::format(
      "<svg class=\"strip\" viewBox=\"0 0 {} 1\" preserveAspectRatio=\"none\" height=\"44\" role=\"img\" "
      "shape-rendering=\"crispEdges\" aria-label=\"one cell a step\">\n",
      comparison.strip.size());
  html += cells(comparison, true) + cells(comparison, false) + "</svg>\n";
  html += fmt::format("<div class=\"scale\"><span>step {}</span><span>step {}</span></div>\n",
                      grouped(comparison.first_step), grouped(comparison.last_step));
  return html + legend(comparison);
}

}  // namespace lockstep::record
