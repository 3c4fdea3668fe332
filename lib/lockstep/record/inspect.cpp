#include "lockstep/record/inspect.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/record/record_codec_internal.h"

namespace lockstep::record {
namespace {

constexpr std::size_t kEventsKept = 100;

/// The frame type of each alternative of Record.
struct TypeOf {
  FrameType operator()(const RunInfo&) const { return FrameType::run; }
  FrameType operator()(const BatchRecord&) const { return FrameType::batch; }
  FrameType operator()(const LossRecord&) const { return FrameType::loss; }
  FrameType operator()(const TensorRecord&) const { return FrameType::tensor; }
  FrameType operator()(const EventRecord&) const { return FrameType::event; }
  FrameType operator()(const EndRecord&) const { return FrameType::end; }
};

void count(Inspection& inspection, const Record& record) {
  ++inspection.frames[std::visit(TypeOf{}, record)];
  if (const auto* tensor = std::get_if<TensorRecord>(&record)) ++inspection.tensors[tensor->phase];
  if (const auto* event = std::get_if<EventRecord>(&record)) {
    if (inspection.events.size() < kEventsKept) inspection.events.push_back(*event);
    ++inspection.event_count;
    return;  // an event before the first step does not begin one
  }
  const auto step = step_of(record);
  if (!step) return;
  inspection.first_step = inspection.first_step < 0 ? *step : std::min(inspection.first_step, *step);
  inspection.last_step = std::max(inspection.last_step, *step);
}

}  // namespace

std::string_view frame_type_name(FrameType type) {
  constexpr std::array<std::string_view, 7> kNames{"", "run", "batch", "loss", "tensor", "event", "end"};
  return kNames.at(static_cast<std::size_t>(type));
}

Inspection inspect(Reader reader, std::optional<std::int64_t> step) {
  Inspection inspection;
  inspection.info = reader.info();
  inspection.step = step;
  while (auto record = reader.next()) {
    count(inspection, *record);
    if (step && step_of(*record) == step) inspection.records.push_back(std::move(*record));
  }
  inspection.check = reader.check();
  return inspection;
}

Inspection inspect(const std::filesystem::path& file, std::optional<std::int64_t> step) {
  Inspection inspection = inspect(Reader(file), step);
  inspection.file = file.string();
  inspection.size_bytes = std::filesystem::file_size(file);
  if (step && inspection.records.empty() && inspection.check.verdict != Verdict::not_a_recording) {
    const std::string there = inspection.last_step < 0
                                  ? "a recorded one; there is none"
                                  : fmt::format("{} to {}", inspection.first_step, inspection.last_step);
    fail(ErrorCode::not_found, {inspection.file, "step", there, std::to_string(*step),
                                "Name an optimizer step that this file holds"});
  }
  return inspection;
}

}  // namespace lockstep::record
