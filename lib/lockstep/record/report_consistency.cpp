#include "lockstep/record/report_consistency.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "lockstep/base/version.h"
#include "lockstep/record/report_html_internal.h"
#include "lockstep/record/report_internal.h"

namespace lockstep::record {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::vector<std::string>;

Outcome outcome_of(const ConsistencyRun& run) {
  if (!run.problem.empty()) return Outcome::trouble;
  return run.comparison ? run.comparison->outcome : Outcome::same;
}

/// The run whose full report is worth reading: the first that differs, else the first in trouble.
const ConsistencyRun* worst(const Consistency& consistency) {
  for (const Outcome wanted : {Outcome::different, Outcome::trouble}) {
    for (const auto& run : consistency.runs) {
      if (run.comparison && run.problem.empty() && run.comparison->outcome == wanted) return &run;
    }
  }
  return nullptr;
}

std::string sentence(const Consistency& consistency) {
  std::int64_t steps = 0, failed = 0, different = 0, unknown = 0;
  for (const auto& run : consistency.runs) {
    if (!run.problem.empty()) {
      ++failed;
    } else if (run.comparison) {
      steps = std::max(steps, run.comparison->steps_compared);
      different += run.comparison->outcome == Outcome::different;
      unknown += run.comparison->outcome == Outcome::trouble;
    }
  }
  std::string text = counted(static_cast<std::int64_t>(consistency.runs.size()), "run");
  if (different + failed + unknown == 0) {
    return text + fmt::format(", {} each: every record the same, bit for bit", counted(steps, "step"));
  }
  if (different > 0)
    text += fmt::format(", {} differ{} from the first", different, different == 1 ? "s" : "");
  if (failed > 0) text += fmt::format(", {} failed", failed);
  if (unknown > 0) text += fmt::format(", {} could not be decided", unknown);
  return text;
}

std::string first_divergence(const ConsistencyRun& run) {
  if (!run.problem.empty()) return run.problem;
  if (!run.comparison) return "";
  if (!run.comparison->first) return run.comparison->trouble.empty() ? "" : run.comparison->trouble.front();
  const Divergence& first = *run.comparison->first;
  if (first.tensor.empty()) return first.detail;
  return fmt::format("step {}, {} '{}': {}", grouped(first.step), phase_name(first.phase), first.tensor,
                     class_title(run.comparison->divergence_class));
}

std::string outcome_word(const Consistency& consistency, std::size_t index) {
  const ConsistencyRun& run = consistency.runs[index];
  if (!run.problem.empty()) return "failed";
  return index == 0 ? "reference" : std::string(outcome_name(outcome_of(run)));
}

std::vector<Row> rows(const Consistency& consistency) {
  std::vector<Row> table;
  for (std::size_t i = 0; i < consistency.runs.size(); ++i) {
    const ConsistencyRun& run = consistency.runs[i];
    Row row{std::to_string(i + 1)};
    row.insert(row.end(), run.values.begin(), run.values.end());
    row.insert(row.end(),
               {outcome_word(consistency, i), fmt::format("{:.1f}", run.seconds), first_divergence(run)});
    table.push_back(std::move(row));
  }
  return table;
}

Row header(const Consistency& consistency) {
  Row row{"#"};
  row.insert(row.end(), consistency.axes.begin(), consistency.axes.end());
  row.insert(row.end(), {"outcome", "seconds", "first divergence"});
  return row;
}

std::string paint(bool color, std::string_view text, const char* code) {
  return color ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : std::string(text);
}

const char* color_of(const std::string& word) {
  if (word == "same" || word == "reference") return "32";
  return word == "different" ? "31" : "33";
}

std::string table_text(const Consistency& consistency, bool color) {
  std::vector<Row> table = rows(consistency);
  table.insert(table.begin(), header(consistency));
  const std::size_t outcome_column = consistency.axes.size() + 1;
  std::vector<std::size_t> widths(table.front().size(), 0);
  for (const auto& row : table) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (std::size_t at = 0; at < table.size(); ++at) {
    std::string line = " ";
    for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
      const bool number = i == 0 || i == outcome_column + 1;
      const std::string cell = number ? fmt::format("{:>{}}", table[at][i], widths[i])
                                      : fmt::format("{:<{}}", table[at][i], widths[i]);
      line += " " + (i == outcome_column && at > 0 ? paint(color, cell, color_of(table[at][i])) : cell) + " ";
    }
    line += " " + table[at].back();
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string table_html(const Consistency& consistency) {
  std::string html = "<section><h2>Runs</h2><div class=\"scroll\"><table><tr>";
  for (const auto& name : header(consistency)) html += "<th>" + html_escaped(name) + "</th>";
  html += "</tr>\n";
  for (const auto& row : rows(consistency)) {
    html += "<tr>";
    for (const auto& cell : row) {
      html += fmt::format("<td{}>{}</td>", cell == "different" || cell == "failed" ? " class=\"bad\"" : "",
                          html_escaped(cell));
    }
    html += "</tr>\n";
  }
  return html +
         fmt::format(
             "</table></div><dl class=\"facts\"><dt>command</dt><dd class=\"mono\">{}</dd></dl></section>\n",
             html_escaped(fmt::format("{}", fmt::join(consistency.command, " "))));
}

std::vector<std::string> problems(const Consistency& consistency) {
  std::vector<std::string> result;
  for (std::size_t i = 0; i < consistency.runs.size(); ++i) {
    const ConsistencyRun& run = consistency.runs[i];
    if (!run.problem.empty())
      result.push_back(fmt::format("run {}: {}; {}", i + 1, run.problem, run.problem_detail));
  }
  return result;
}

}  // namespace

Outcome Consistency::outcome() const {
  bool trouble = runs.size() < 2;
  for (const auto& run : runs) {
    if (outcome_of(run) == Outcome::different) return Outcome::different;
    trouble = trouble || outcome_of(run) == Outcome::trouble;
  }
  return trouble ? Outcome::trouble : Outcome::same;
}

std::string to_text(const Consistency& consistency, bool color) {
  constexpr const char* kCodes[] = {"1;32", "1;31", "1;33"};
  constexpr const char* kWords[] = {"SAME", "DIFFERENT", "TROUBLE"};
  const auto at = static_cast<std::size_t>(consistency.outcome());
  std::string text = fmt::format("{}  {}\n\n", paint(color, kWords[at], kCodes[at]), sentence(consistency));
  text += table_text(consistency, color);
  for (const auto& warning : consistency.warnings) text += "\nwarning: " + warning + "\n";
  for (const auto& problem : problems(consistency)) text += "\n" + problem + "\n";
  if (const auto* run = worst(consistency)) {
    const auto index = run - consistency.runs.data() + 1;
    text += fmt::format("\n{}\n\n{}", paint(color, fmt::format("Run {} (B) against run 1 (A)", index), "1"),
                        to_text(*run->comparison, color));
  }
  return text;
}

std::string to_json(const Consistency& consistency) {
  Json json;
  json["schema"] = "lockstep.consistency/1";
  json["lockstep"] = {{"version", build_info().version}, {"commit", build_info().commit}};
  json["outcome"] = outcome_name(consistency.outcome());
  json["exit_code"] = static_cast<int>(consistency.outcome());
  json["summary"] = sentence(consistency);
  json["command"] = consistency.command;
  json["axes"] = consistency.axes;
  json["warnings"] = consistency.warnings;
  json["runs"] = Json::array();
  for (std::size_t i = 0; i < consistency.runs.size(); ++i) {
    const ConsistencyRun& run = consistency.runs[i];
    json["runs"].push_back(
        {{"values", run.values},
         {"folder", run.folder},
         {"seconds", run.seconds},
         {"outcome", outcome_word(consistency, i)},
         {"problem", run.problem.empty() ? Json(nullptr) : Json(run.problem)},
         {"problem_detail", run.problem.empty() ? Json(nullptr) : Json(run.problem_detail)},
         {"comparison", run.comparison ? Json::parse(to_json(*run.comparison)) : Json(nullptr)}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string to_html(const Consistency& consistency) {
  std::string body = html_banner(consistency.outcome(), sentence(consistency));
  body += table_html(consistency);
  body += html_list_section("Failed", "warn", problems(consistency));
  body += html_list_section("Warnings", "warn", consistency.warnings);
  if (const auto* run = worst(consistency)) {
    body += fmt::format("<h2 class=\"inner\">Run {} (B) against run 1 (A)</h2>\n",
                        run - consistency.runs.data() + 1);
    body += html_sections(*run->comparison);
  }
  return html_page(fmt::format("lockstep: {}", outcome_name(consistency.outcome())), body);
}

}  // namespace lockstep::record
