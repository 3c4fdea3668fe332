#include "report.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "lockstep/base/version.h"

namespace lockstep::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kGreen = "\x1b[32m";
constexpr const char* kRed = "\x1b[31m";
constexpr const char* kBold = "\x1b[1m";
constexpr const char* kPlain = "\x1b[0m";

bool is_equal(const Side& side) { return side.refused.empty() && side.difference.differing == 0; }

std::string painted(const std::string& text, std::size_t width, const char* code, bool color) {
  const std::string padded = fmt::format("{:<{}}", text, width);
  return color && code != nullptr ? code + padded + kPlain : padded;
}

const char* code_of(const Side& side) {
  if (!side.refused.empty()) return nullptr;
  return is_equal(side) ? kGreen : kRed;
}

std::string time_text(const Side& side) {
  return side.refused.empty() ? fmt::format("{:.3g}", side.milliseconds) : std::string();
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += c;
    quoted += c;
  }
  quoted += '"';
  return quoted;
}

std::string environment_entry(const Table& table, const char* key) {
  const auto found = table.environment.find(key);
  return found == table.environment.end() ? std::string() : found->second;
}

/// Name in the CSV, key of the environment.
constexpr std::pair<const char*, const char*> kEnvironment[] = {
    {"device", "device"},
    {"torch", "torch.version"},
    {"cuda", "torch.cuda"},
    {"cudnn", "torch.cudnn"},
    {"driver", "cuda.driver"},
    {"threads", "torch.threads"},
    {"instruction_set", "cpu.active"},
};

Json side_json(const Side& side) {
  if (!side.refused.empty()) return {{"refused", side.refused}};
  return {{"elements", side.difference.elements},
          {"differing", side.difference.differing},
          {"largest_difference", side.difference.largest},
          {"milliseconds", side.milliseconds}};
}

/// "12 of 15": rows that are equal, of those that ran and are promised to be.
template <class SideOf>
std::string equal_rows(const Table& table, SideOf side_of) {
  std::size_t equal = 0, all = 0;
  for (const Row& row : table.rows) {
    const Side& side = side_of(row);
    if (!row.promised || !side.refused.empty()) continue;
    ++all;
    equal += is_equal(side);
  }
  return fmt::format("{} of {}", equal, all);
}

}  // namespace

std::string experiment_title(char experiment) {
  switch (experiment) {
    case 'a':
      return "Single operations: a row alone and in its batch";
    case 'b':
      return "Seeds: deterministic inside, untouched outside";
    case 'c':
      return "Batch size and precision";
    case 'd':
      return "A transformer layer, and an int8 layer";
    case 'e':
      return "Eight transformer layers, layer by layer";
    case 'f':
      return "Gradients: alone and in the batch, whole and in micro-batches";
    default:
      return "The order of additions";
  }
}

std::string side_text(const Side& side) {
  if (!side.refused.empty()) return "refused";
  if (is_equal(side)) return "equal";
  return fmt::format("{} of {} differ, by up to {:.2g}", side.difference.differing, side.difference.elements,
                     side.difference.largest);
}

std::string summary(const Table& table) {
  std::string text =
      fmt::format("invariant mode: {} comparisons equal bit for bit; LibTorch's own kernels: {}",
                  equal_rows(table, [](const Row& row) { return row.ours; }),
                  equal_rows(table, [](const Row& row) { return row.eager; }));
  const bool deterministic = std::any_of(table.rows.begin(), table.rows.end(),
                                         [](const Row& row) { return row.deterministic.has_value(); });
  if (deterministic)
    text += ", its deterministic ones: " +
            equal_rows(table, [](const Row& row) { return row.deterministic.value_or(row.eager); });
  return text;
}

std::string to_text(const Table& table, bool color) {
  std::string text;
  char last = 0;
  for (const Row& row : table.rows) {
    if (row.experiment != last) {
      text += fmt::format("{}{}({}) {}{}\n", last == 0 ? "" : "\n", color ? kBold : "", row.experiment,
                          experiment_title(row.experiment), color ? kPlain : "");
      text += fmt::format("{:<34} {:<6} {:<41} {:<28} {:>8} {:>8}\n", "", "", "LibTorch", "invariant mode",
                          "ms", "ms");
    }
    last = row.experiment;
    text += fmt::format("{:<34} {:<6} {} {} {:>8} {:>8}\n", row.subject, row.precision,
                        painted(side_text(row.eager), 41, code_of(row.eager), color),
                        painted(side_text(row.ours), 28, row.promised ? code_of(row.ours) : nullptr, color),
                        time_text(row.eager), time_text(row.ours));
    text += fmt::format("  {}, {}{}\n", row.shape, row.compared, row.note.empty() ? "" : "; " + row.note);
    if (row.deterministic)
      text += fmt::format("  {:<39} {} {:>28} {:>8}\n", "LibTorch's deterministic mode",
                          painted(side_text(*row.deterministic), 41, code_of(*row.deterministic), color), "",
                          time_text(*row.deterministic));
  }
  return text + "\n" + summary(table) + "\n";
}

std::string to_csv(const Table& table) {
  std::string csv =
      "experiment,subject,shape,compared,precision,tensor_cores,elements,eager_differing,eager_largest,eager_"
      "ms,"
      "deterministic_differing,deterministic_largest,deterministic_ms,"
      "ours_differing,ours_largest,ours_ms,ours_refused,promised,note";
  for (const auto& [name, key] : kEnvironment) csv += fmt::format(",{}", name);
  csv += "\n";
  for (const Row& row : table.rows) {
    const auto numbers = [](const Side* side) {
      return side != nullptr && side->refused.empty()
                 ? fmt::format("{},{},{:.6g}", side->difference.differing, side->difference.largest,
                               side->milliseconds)
                 : std::string(",,");
    };
    csv += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{}", row.experiment, csv_field(row.subject),
                       csv_field(row.shape), csv_field(row.compared), row.precision,
                       row.tensor_cores ? "yes" : "none", row.eager.difference.elements, numbers(&row.eager),
                       numbers(row.deterministic ? &*row.deterministic : nullptr), numbers(&row.ours),
                       csv_field(row.ours.refused), row.promised ? "yes" : "no", csv_field(row.note));
    for (const auto& [name, key] : kEnvironment) csv += "," + csv_field(environment_entry(table, key));
    csv += "\n";
  }
  return csv;
}

std::string to_json(const Table& table) {
  Json json = {{"schema", "lockstep.invariance_table/1"},
               {"lockstep", {{"version", build_info().version}, {"commit", build_info().commit}}},
               {"summary", summary(table)},
               {"broken", table.broken()},
               {"environment", table.environment},
               {"rows", Json::array()}};
  for (const Row& row : table.rows) {
    json["rows"].push_back({{"experiment", std::string(1, row.experiment)},
                            {"subject", row.subject},
                            {"shape", row.shape},
                            {"compared", row.compared},
                            {"precision", row.precision},
                            {"tensor_cores", row.tensor_cores},
                            {"promised", row.promised},
                            {"note", row.note},
                            {"eager", side_json(row.eager)},
                            {"ours", side_json(row.ours)}});
    if (row.deterministic) json["rows"].back()["deterministic"] = side_json(*row.deterministic);
  }
  return json.dump(1) + "\n";
}

}  // namespace lockstep::tools
