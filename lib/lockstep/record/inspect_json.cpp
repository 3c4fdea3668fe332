#include <nlohmann/json.hpp>

#include "lockstep/record/compare_values_internal.h"
#include "lockstep/record/format_internal.h"
#include "lockstep/record/inspect.h"

namespace lockstep::record {
namespace {

using Json = nlohmann::ordered_json;

// 64-bit integers travel as decimal strings, for readers whose numbers are doubles. JSON has no NaN and no
// Inf: null.
std::string decimal(std::int64_t number) { return std::to_string(number); }

Json statistics_json(const fingerprint::Statistics& s) {
  return {{"count", s.count}, {"nan", s.nan_count}, {"inf", s.inf_count}, {"sum", s.sum},  {"mean", s.mean},
          {"std", s.std},     {"min", s.min},       {"max", s.max},       {"norm", s.norm}};
}

void add_values(Json& json, const TensorSummary& tensor) {
  Json values = Json::array(), bits = Json::array();
  const auto count = static_cast<std::int64_t>(tensor.values->size() / dtype_bytes(tensor.dtype));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t element = element_bits(*tensor.values, tensor.dtype, i);
    values.push_back(value_text(element, tensor.dtype));
    if (is_floating_point(tensor.dtype)) bits.push_back(bits_text(element, tensor.dtype));
  }
  json["values"] = std::move(values);
  if (is_floating_point(tensor.dtype)) json["bits"] = std::move(bits);
}

Json tensor_json(const TensorSummary& tensor) {
  Json json{{"name", tensor.name},
            {"dtype", dtype_name(tensor.dtype)},
            {"shape", tensor.shape},
            {"digest", tensor.digest.hex()}};
  if (tensor.unordered) json["unordered"] = tensor.unordered->hex();
  if (tensor.statistics) json["statistics"] = statistics_json(*tensor.statistics);
  if (tensor.values) add_values(json, tensor);
  return json;
}

struct RecordJson {
  Json operator()(const BatchRecord& batch) const {
    Json json{{"type", "batch"},
              {"step", batch.step},
              {"epoch", batch.epoch},
              {"index", batch.index},
              {"samples", batch.samples},
              {"ids_digest", batch.ids_digest.hex()},
              {"ids_unordered", batch.ids_unordered.hex()},
              {"names", batch.names},
              {"fields", Json::array()}};
    for (const TensorSummary& field : batch.fields) json["fields"].push_back(tensor_json(field));
    if (!batch.ids) return json;
    json["ids"] = Json::array();
    for (const std::int64_t id : *batch.ids) json["ids"].push_back(decimal(id));
    return json;
  }
  Json operator()(const LossRecord& loss) const {
    return {{"type", "loss"},    {"step", loss.step},
            {"name", loss.name}, {"dtype", dtype_name(loss.dtype)},
            {"text", loss.text}, {"bits", bits_text(loss.bits, loss.dtype)}};
  }
  Json operator()(const TensorRecord& record) const {
    return {{"type", "tensor"},
            {"step", record.step},
            {"phase", phase_name(record.phase)},
            {"tensor", tensor_json(record.tensor)}};
  }
  Json operator()(const EventRecord& event) const {
    return {{"type", "event"}, {"step", event.step}, {"kind", event.kind}, {"text", event.text}};
  }
  Json operator()(const RunInfo&) const { return nullptr; }
  Json operator()(const EndRecord&) const { return nullptr; }
};

Json run_json(const RunInfo& info) {
  return {{"run_id", info.run_id},
          {"segment", info.segment},
          {"rank", info.rank},
          {"world_size", info.world_size},
          {"started_ns", decimal(info.started_ns)},
          {"segment_started_ns", decimal(info.segment_started_ns)},
          {"first_step", info.first_step},
          {"program", info.program},
          {"command_line", info.command_line},
          {"semantic", info.semantic},
          {"placement", info.placement},
          {"environment", info.environment},
          {"policy", info.policy},
          {"guarantees", info.guarantees}};
}

Json counts_json(const Inspection& inspection) {
  Json json = Json::object();
  for (auto number = static_cast<int>(FrameType::run); number <= static_cast<int>(FrameType::end); ++number) {
    const auto type = static_cast<FrameType>(number);
    const auto found = inspection.frames.find(type);
    json[std::string(frame_type_name(type))] = found == inspection.frames.end() ? 0 : found->second;
  }
  return json;
}

Json step_or_null(std::int64_t step) { return step < 0 ? Json(nullptr) : Json(step); }

}  // namespace

std::string to_json(const Inspection& inspection) {
  const Check& check = inspection.check;
  Json json{{"schema", "lockstep.inspect/1"},
            {"file", inspection.file},
            {"size_bytes", inspection.size_bytes},
            {"verdict", verdict_name(check.verdict)},
            {"text", check.text},
            {"good_frames", check.good_frames},
            {"lost_ranges", check.lost_ranges},
            {"first_bad_offset", check.first_bad_offset < 0 ? Json(nullptr) : Json(check.first_bad_offset)},
            {"first_step", step_or_null(inspection.first_step)},
            {"last_step", step_or_null(inspection.last_step)},
            {"frames", counts_json(inspection)},
            {"tensors", Json::object()},
            {"run", inspection.info ? run_json(*inspection.info) : Json(nullptr)},
            {"event_count", inspection.event_count},
            {"events", Json::array()}};
  for (const auto& [phase, count] : inspection.tensors)
    json["tensors"][std::string(phase_name(phase))] = count;
  for (const EventRecord& event : inspection.events) json["events"].push_back(RecordJson{}(event));
  if (inspection.step) {
    json["step"] = *inspection.step;
    json["records"] = Json::array();
    for (const Record& record : inspection.records)
      json["records"].push_back(std::visit(RecordJson{}, record));
  }
  // Names come from a file: bytes that are no UTF-8 become U+FFFD instead of an exception.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace lockstep::record
