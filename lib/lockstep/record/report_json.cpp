#include <nlohmann/json.hpp>

#include "lockstep/base/version.h"
#include "lockstep/record/compare_values_internal.h"
#include "lockstep/record/report_internal.h"

namespace lockstep::record {
namespace {

using Json = nlohmann::ordered_json;

Json settings_json(const std::vector<Setting>& settings) {
  Json list = Json::array();
  for (const auto& setting : settings)
    list.push_back({{"name", setting.name}, {"a", setting.a}, {"b", setting.b}});
  return list;
}

Json side_json(const std::string& file, const std::optional<RunInfo>& info, const std::string& verdict) {
  Json side{{"file", file}, {"verdict", verdict}, {"run", nullptr}};
  if (!info) return side;
  side["run"] = {{"run_id", info->run_id},
                 {"started", time_text(info->started_ns)},
                 {"started_ns", std::to_string(info->started_ns)},
                 {"world_size", info->world_size},
                 {"program", info->program},
                 {"command_line", info->command_line},
                 {"semantic", info->semantic},
                 {"placement", info->placement},
                 {"environment", info->environment},
                 {"policy", info->policy},
                 {"guarantees", info->guarantees}};
  return side;
}

/// A value as text, and for floating-point ones its bits, since a decimal may be read back rounded.
Json value_json(const std::string& text, const std::optional<std::uint64_t>& bits,
                const std::optional<DType>& dtype) {
  if (text.empty()) return nullptr;
  Json value{{"text", text}, {"bits", nullptr}};
  if (bits && dtype) value["bits"] = bits_text(*bits, *dtype);
  return value;
}

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json divergence_json(const Divergence& first) {
  Json json{{"step", first.step},
            {"epoch", first.epoch < 0 ? Json(nullptr) : Json(first.epoch)},
            {"batch", first.batch < 0 ? Json(nullptr) : Json(first.batch)},
            {"rank", first.rank},
            {"inside", text_or_null(first.inside)},
            {"phase", first.tensor.empty() ? Json(nullptr) : Json(phase_name(first.phase))},
            {"tensor", text_or_null(first.tensor)},
            {"element", first.element < 0 ? Json(nullptr) : Json(first.element)},
            {"index", text_or_null(first.index_text)},
            {"dtype", first.dtype ? Json(dtype_name(*first.dtype)) : Json(nullptr)},
            {"a", value_json(first.value_a, first.bits_a, first.dtype)},
            {"b", value_json(first.value_b, first.bits_b, first.dtype)},
            {"ulps", first.ulps ? Json(std::to_string(*first.ulps)) : Json(nullptr)},
            {"digest_a", text_or_null(first.digest_a)},
            {"digest_b", text_or_null(first.digest_b)},
            {"detail", first.detail}};
  return json;
}

Json phases_json(const std::vector<PhaseTally>& phases) {
  Json list = Json::array();
  for (const auto& tally : phases) {
    list.push_back({{"phase", phase_name(tally.phase)},
                    {"compared", tally.compared},
                    {"different", tally.different},
                    {"one_sided", tally.one_sided},
                    {"undecided", tally.undecided},
                    {"first_step", tally.different > 0 ? Json(tally.first_step) : Json(nullptr)}});
  }
  return list;
}

/// One letter a cell: "." same, "x" different, "?" missing, "a" and "b" in one run only.
std::string strip_letters(const std::vector<StepState>& strip) {
  std::string letters;
  for (const auto state : strip) letters += ".x?ab"[static_cast<std::size_t>(state)];
  return letters;
}

Json options_json(const CompareOptions& options) {
  Json phases = Json::array();
  for (const auto phase : options.phases) phases.push_back(phase_name(phase));
  return {{"exact", options.rtol == 0 && options.atol == 0},
          {"rtol", options.rtol},
          {"atol", options.atol},
          {"phases", phases},
          {"force", options.force}};
}

}  // namespace

std::string to_json(const Comparison& comparison) {
  Json json;
  json["schema"] = "lockstep.compare/1";
  json["lockstep"] = {{"version", build_info().version}, {"commit", build_info().commit}};
  json["outcome"] = outcome_name(comparison.outcome);
  json["exit_code"] = static_cast<int>(comparison.outcome);
  json["summary"] = headline(comparison);
  json["options"] = options_json(comparison.options);
  json["a"] = side_json(comparison.file_a, comparison.info_a, comparison.verdict_a);
  json["b"] = side_json(comparison.file_b, comparison.info_b, comparison.verdict_b);
  json["steps_compared"] = comparison.steps_compared;
  json["steps_different"] = comparison.steps_different;
  json["records_compared"] = comparison.records_compared;
  json["phases"] = phases_json(comparison.phases);
  json["first"] = comparison.first ? divergence_json(*comparison.first) : Json(nullptr);
  json["class"] = divergence_class_name(comparison.divergence_class);
  json["cause"] = text_or_null(comparison.cause);
  json["hints"] = comparison.hints;
  json["trouble"] = comparison.trouble;
  json["notes"] = comparison.notes;
  json["differences"] = {{"semantic", settings_json(comparison.semantic_differences)},
                         {"placement", settings_json(comparison.placement_differences)},
                         {"environment", settings_json(comparison.environment_differences)},
                         {"policy", settings_json(comparison.policy_differences)}};
  json["last_equal_parameters"] =
      comparison.last_equal_parameters < 0 ? Json(nullptr) : Json(comparison.last_equal_parameters);
  json["strip"] = {{"first_step", comparison.first_step},
                   {"last_step", comparison.last_step},
                   {"steps_per_cell", comparison.steps_per_cell},
                   {"cells", strip_letters(comparison.strip)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace lockstep::record
