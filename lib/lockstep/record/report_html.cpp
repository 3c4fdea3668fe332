#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lockstep/base/version.h"
#include "lockstep/record/compare_values_internal.h"
#include "lockstep/record/report_html_internal.h"
#include "lockstep/record/report_internal.h"

namespace lockstep::record {
namespace {

using Map = std::map<std::string, std::string>;

std::string run_card(const char* name, const char* css, const std::string& file,
                     const std::optional<RunInfo>& info, const std::string& verdict) {
  std::string html = fmt::format(
      "<section class=\"run\"><span class=\"badge {}\">{}</span><span class=\"file mono\">{}</span>", css,
      name, html_escaped(file));
  if (info) {
    html += fmt::format("<dl><dt>run</dt><dd class=\"mono\">{}</dd><dt>started</dt><dd>{}</dd>",
                        html_escaped(info->run_id), time_text(info->started_ns));
    if (!verdict.empty()) html += fmt::format("<dt>recording</dt><dd>{}</dd>", html_escaped(verdict));
    html += fmt::format("<dt>command</dt><dd class=\"mono\">{}</dd></dl>",
                        html_escaped(fmt::format("{}", fmt::join(info->command_line, " "))));
  }
  return html + "</section>\n";
}

std::string value_card(const char* name, const char* css, const std::string& value,
                       const std::optional<std::uint64_t>& bits, const std::optional<DType>& dtype) {
  std::string html =
      fmt::format("<div class=\"value\"><span class=\"badge {}\">{}</span><b class=\"mono\">{}</b>", css,
                  name, html_escaped(value));
  if (bits && dtype && is_floating_point(*dtype)) {
    html +=
        fmt::format("<span class=\"bits mono\">{} · {}</span>", bits_text(*bits, *dtype), dtype_name(*dtype));
  }
  return html + "</div>";
}

std::string place(const Divergence& first) {
  constexpr const char* kSeparator = "<span class=\"sep\">›</span>";
  std::string html = "step " + grouped(first.step);
  if (first.rank > 0) html += fmt::format("{}rank {}", kSeparator, first.rank);
  if (first.tensor.empty()) return html;
  html += fmt::format("{}{}{}<code>{}</code>", kSeparator, phase_name(first.phase), kSeparator,
                      html_escaped(first.tensor));
  if (!first.index_text.empty())
    html += fmt::format("{}element <code>{}</code>", kSeparator, html_escaped(first.index_text));
  return html;
}

std::string first_section(const Comparison& comparison) {
  if (!comparison.first) return {};
  const Divergence& first = *comparison.first;
  std::string html = "<section><h2>First divergence</h2>\n<p class=\"where\">" + place(first) + "</p>\n";
  const bool inside = !first.inside.empty();
  if (!first.value_a.empty() || !first.value_b.empty()) {
    html += "<div class=\"two\">" +
            value_card(inside ? "earlier segment" : "A", "a", first.value_a, first.bits_a, first.dtype) +
            value_card(inside ? "later segment" : "B", "b", first.value_b, first.bits_b, first.dtype) +
            "</div>\n";
  }
  html += "<dl class=\"facts\">";
  if (first.epoch >= 0) {
    html += fmt::format("<dt>in training</dt><dd>epoch {}, batch {}</dd>", first.epoch, grouped(first.batch));
  }
  if (const std::string apart = distance_text(first); !apart.empty())
    html += "<dt>distance</dt><dd>" + apart + "</dd>";
  if (!first.digest_a.empty()) {
    html += fmt::format("<dt>digests</dt><dd class=\"mono\">{}<br>{}</dd>", first.digest_a, first.digest_b);
  }
  if (!first.detail.empty()) html += "<dt>detail</dt><dd>" + html_escaped(first.detail) + "</dd>";
  return html + "</dl></section>\n";
}

std::string list(const std::vector<std::string>& entries) {
  std::string html = "<ul>\n";
  for (const auto& entry : entries) html += "<li>" + html_escaped(entry) + "</li>\n";
  return html + "</ul>";
}

std::string cause_section(const Comparison& comparison) {
  if (!comparison.first) return {};
  std::string html =
      fmt::format("<section><h2>What it looks like</h2><p class=\"class\">{}</p><p>{}</p>\n",
                  html_escaped(class_title(comparison.divergence_class)), html_escaped(comparison.cause));
  if (!comparison.hints.empty()) html += "<h2 class=\"inner\">Hints</h2>" + list(comparison.hints);
  return html + "</section>\n";
}

std::string phases_table(const Comparison& comparison) {
  if (comparison.phases.empty()) return {};
  std::string html =
      "<div class=\"scroll\"><table><tr><th>phase</th><th class=\"number\">compared</th><th "
      "class=\"number\">different</th>"
      "<th>first that differs</th><th>not comparable</th></tr>\n";
  for (const auto& tally : comparison.phases) {
    const bool bad = tally.different > 0;
    html += fmt::format(
        "<tr><td>{}</td><td class=\"number\">{}</td><td "
        "class=\"number{}\">{}</td><td>{}</td><td>{}</td></tr>\n",
        phase_name(tally.phase), grouped(tally.compared), bad ? " bad" : "",
        bad ? grouped(tally.different) : "–", bad ? "step " + grouped(tally.first_step) : "",
        tally.one_sided + tally.undecided > 0 ? grouped(tally.one_sided + tally.undecided) : "");
  }
  return html + "</table></div>";
}

std::string compared_section(const Comparison& comparison) {
  if (comparison.strip.empty()) return {};
  std::string text =
      counted(comparison.steps_compared, "step") + ", " + counted(comparison.records_compared, "record");
  const CompareOptions& options = comparison.options;
  text += options.rtol == 0 && options.atol == 0
              ? ", bit for bit"
              : fmt::format(", floats within {} + {} × the larger magnitude", options.atol, options.rtol);
  return "<section><h2>Steps</h2>\n" + strip_svg(comparison) + "</section>\n<section><h2>Compared: " + text +
         "</h2>\n" + phases_table(comparison) + "</section>\n";
}

std::string settings_row(const std::string& name, const std::string& a, const std::string& b, bool differs) {
  return fmt::format(
      "<tr class=\"{}\"><td>{}</td><td class=\"mono\">{}</td><td class=\"mono\">{}</td></tr>\n",
      differs ? "differs" : "equal", html_escaped(name), html_escaped(a), html_escaped(b));
}

/// The rows that differ, then the others.
std::string settings_rows(const char* kind, const Map& a, const std::vector<Setting>& differences) {
  std::string html, equal;
  for (const auto& setting : differences) html += settings_row(setting.name, setting.a, setting.b, true);
  for (const auto& [name, value] : a) {
    bool differs = false;
    for (const auto& setting : differences) differs = differs || setting.name == name;
    if (!differs && name != "env.LOCKSTEP_RECORD") equal += settings_row(name, value, value, false);
  }
  if (html.empty() && equal.empty()) return {};
  return fmt::format("<tr class=\"kind\"><th colspan=\"3\">{}</th></tr>\n", kind) + html + equal;
}

std::string settings_section(const Comparison& comparison) {
  if (!comparison.info_a || !comparison.info_b) return {};
  const RunInfo& a = *comparison.info_a;
  return "<section class=\"long\"><h2>The two runs side by side</h2><table class=\"settings\">\n"
         "<tr><th>setting</th><th><span class=\"badge a\">A</span></th><th><span class=\"badge "
         "b\">B</span></th></tr>\n" +
         settings_rows("Semantic settings: they decide what is computed", a.semantic,
                       comparison.semantic_differences) +
         settings_rows("Placement settings: they must not matter", a.placement,
                       comparison.placement_differences) +
         settings_rows("Environment", a.environment, comparison.environment_differences) +
         settings_rows("Recording policy", a.policy, comparison.policy_differences) + "</table></section>\n";
}

}  // namespace

std::string html_banner(Outcome outcome, const std::string& sentence) {
  constexpr const char* kWords[] = {"Same", "Different", "Trouble"};
  return html_verdict(outcome, kWords[static_cast<std::size_t>(outcome)], sentence);
}

std::string html_list_section(const char* name, const char* css, const std::vector<std::string>& entries) {
  if (entries.empty()) return {};
  return fmt::format("<section class=\"{}\"><h2>{}</h2>{}</section>\n", css, name, list(entries));
}

std::string html_sections(const Comparison& comparison) {
  return html_list_section("Trouble", "warn", comparison.trouble) + first_section(comparison) +
         cause_section(comparison) + compared_section(comparison) + "<div class=\"two\">" +
         run_card("A", "a", comparison.file_a, comparison.info_a, comparison.verdict_a) +
         run_card("B", "b", comparison.file_b, comparison.info_b, comparison.verdict_b) + "</div>\n" +
         html_list_section("Notes", "", comparison.notes) + settings_section(comparison);
}

std::string to_html(const Comparison& comparison) {
  return html_page(fmt::format("lockstep: {}", outcome_name(comparison.outcome)),
                   html_banner(comparison.outcome, headline(comparison)) + html_sections(comparison));
}

}  // namespace lockstep::record
