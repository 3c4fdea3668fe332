#include <algorithm>
#include <sstream>

#include <fmt/format.h>

#include "lockstep/record/report_internal.h"

namespace lockstep::record {
namespace {

constexpr std::size_t kColumns = 92;
constexpr std::size_t kMaxRows = 12;     ///< of a table of settings
constexpr std::size_t kMaxEntries = 12;  ///< of a list

/// Columns of a UTF-8 text without wide characters.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

/// Control characters of recorded strings must not reach a terminal.
std::string printable(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      result += c == '\n' || c == '\t' ? " " : fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result;
}

class TextReport {
 public:
  TextReport(const Comparison& comparison, bool color) : comparison_(comparison), color_(color) {}

  std::string write() {
    summary();
    first();
    list("Trouble", comparison_.trouble);
    cause();
    list("Hints", comparison_.hints);
    phases();
    list("Notes", comparison_.notes);
    table("Semantic settings that differ", comparison_.semantic_differences);
    table("Placement settings that differ (they must not matter)", comparison_.placement_differences);
    table("Environment that differs", comparison_.environment_differences);
    table("Recording policy that differs", comparison_.policy_differences);
    return std::move(out_);
  }

 private:
  std::string paint(std::string_view text, const char* code) const {
    return color_ ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : std::string(text);
  }

  void line(std::string_view text = {}) {
    out_ += text;
    out_ += '\n';
  }

  void title(std::string_view text) {
    line();
    line(paint(text, "1"));
  }

  /// Words of `text` on lines of at most kColumns; later lines are indented like the first one's text.
  void wrapped(std::string_view head, std::string_view text) {
    const std::string indent(width(head), ' ');
    std::istringstream words(printable(text));
    std::string row(head);
    bool empty = true;
    for (std::string word; words >> word;) {
      if (!empty && width(row) + 1 + width(word) > kColumns) {
        line(row);
        row = indent;
        empty = true;
      }
      row += empty ? word : " " + word;
      empty = false;
    }
    line(row);
  }

  void summary() {
    constexpr const char* kCodes[] = {"1;32", "1;31", "1;33"};
    constexpr const char* kWords[] = {"SAME", "DIFFERENT", "TROUBLE"};
    const auto at = static_cast<std::size_t>(comparison_.outcome);
    const std::string head = fmt::format("{}  ", kWords[at]);
    const std::size_t from = out_.size();
    wrapped(head, headline(comparison_));
    if (color_) out_.replace(from, head.size() - 2, paint(kWords[at], kCodes[at]));
    line();
    side("A", comparison_.file_a, comparison_.info_a, comparison_.verdict_a);
    side("B", comparison_.file_b, comparison_.info_b, comparison_.verdict_b);
    wrapped("  compared  ", compared());
  }

  std::string compared() const {
    std::string text = fmt::format("{}, {}", counted(comparison_.steps_compared, "step"),
                                   counted(comparison_.records_compared, "record"));
    if (comparison_.steps_different > 0)

      text += fmt::format("; {} {}", counted(comparison_.steps_different, "step"),
                          comparison_.steps_different == 1 ? "differs" : "differ");
    const CompareOptions& options = comparison_.options;
    text += options.rtol == 0 && options.atol == 0
                ? "; exact"
                : fmt::format("; floats within {} + {} x the larger magnitude", options.atol, options.rtol);
    for (std::size_t i = 0; i < options.phases.size(); ++i) {
      text += fmt::format("{}{}", i == 0 ? "; phases " : ", ", phase_name(options.phases[i]));
    }
    return text;
  }

  void side(std::string_view name, const std::string& file, const std::optional<RunInfo>& info,
            const std::string& verdict) {
    line(fmt::format("  {}  {}", paint(name, "1"), printable(file)));
    if (!info) return;
    wrapped("     ",
            fmt::format("run {}, started {}{}{}", info->run_id.substr(0, 8), time_text(info->started_ns),
                        verdict.empty() ? "" : ", recording ", verdict));
  }

  void first() {
    if (!comparison_.first) return;
    title("First divergence");
    for (const auto& [name, value] : divergence_rows(*comparison_.first)) {
      if (name == "detail") {
        wrapped("  detail    ", value);
      } else {
        line(fmt::format("  {:<9} {}", name, printable(value)));
      }
    }
  }

  void cause() {
    if (!comparison_.first) return;
    title("Class");
    wrapped("  ", class_title(comparison_.divergence_class));
    title("Cause");
    wrapped("  ", comparison_.cause);
  }

  void list(std::string_view name, const std::vector<std::string>& entries) {
    if (entries.empty()) return;
    title(name);
    for (std::size_t i = 0; i < std::min(entries.size(), kMaxEntries); ++i) wrapped("  - ", entries[i]);
    if (entries.size() > kMaxEntries) line(fmt::format("  … and {} more", entries.size() - kMaxEntries));
  }

  void phases() {
    if (comparison_.phases.empty()) return;
    title("Records");
    line(fmt::format("  {:<10}{:>12}{:>12}  {}", "phase", "compared", "different", "first"));
    for (const auto& tally : comparison_.phases) {
      std::string row = fmt::format("  {:<10}{:>12}{:>12}", phase_name(tally.phase), grouped(tally.compared),
                                    tally.different == 0 ? "-" : grouped(tally.different));
      if (tally.different > 0) row += fmt::format("  step {}", grouped(tally.first_step));
      if (tally.one_sided > 0) row += fmt::format("  {} in one run only", grouped(tally.one_sided));
      if (tally.undecided > 0) row += fmt::format("  {} undecided", grouped(tally.undecided));
      line(row);
    }
  }

  static std::string cut(const std::string& text, std::size_t columns) {
    if (width(text) <= columns) return text;
    std::size_t bytes = 0;
    for (std::size_t seen = 0; bytes < text.size(); ++bytes) {
      const bool starts = (static_cast<unsigned char>(text[bytes]) & 0xc0) != 0x80;
      if (starts && ++seen == columns) break;
    }
    return text.substr(0, bytes) + "…";
  }

  void table(std::string_view name, const std::vector<Setting>& settings) {
    if (settings.empty()) return;
    title(name);
    std::size_t names = 4, values = 1;
    for (const auto& setting : settings) {
      names = std::clamp(width(setting.name), names, std::size_t{26});
      values = std::clamp(width(printable(setting.a)), values, std::size_t{30});
    }
    const auto padded = [](std::string text, std::size_t columns) {
      text = cut(text, columns);
      return text + std::string(columns - std::min(columns, width(text)), ' ');
    };
    line(fmt::format("  {}  {}  B", padded("", names), padded("A", values)));
    for (std::size_t i = 0; i < std::min(settings.size(), kMaxRows); ++i) {
      line(fmt::format("  {}  {}  {}", padded(printable(settings[i].name), names),
                       padded(printable(settings[i].a), values),
                       cut(printable(settings[i].b), kColumns - names - values - 6)));
    }
    if (settings.size() > kMaxRows)
      line(fmt::format("  … and {} more; --json lists all", settings.size() - kMaxRows));
  }

  const Comparison& comparison_;
  bool color_;
  std::string out_;
};

}  // namespace

std::string to_text(const Comparison& comparison, bool color) {
  return TextReport(comparison, color).write();
}

}  // namespace lockstep::record
