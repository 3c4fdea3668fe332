#include "lockstep/base/error.h"
#include "lockstep/record/record_codec_internal.h"
#include "lockstep/state/archive.h"

namespace lockstep::record {
namespace {

bool valid(DType dtype) { return is_dtype(static_cast<std::uint8_t>(dtype)); }

bool valid(Phase phase) { return phase >= Phase::batch && phase <= Phase::parameter; }

bool valid(const TensorSummary& tensor) {
  if (!valid(tensor.dtype)) return false;
  const Shape shape(tensor.shape.data(), tensor.shape.size());
  const auto bytes = static_cast<std::uint64_t>(shape.elements()) * dtype_bytes(tensor.dtype);
  return !tensor.values || tensor.values->size() == bytes;
}

bool valid(const RunInfo& info) { return try_identity_of(info).has_value(); }

bool valid(const BatchRecord& batch) {
  if (batch.samples < 0) return false;
  if (batch.ids && batch.ids->size() != static_cast<std::uint64_t>(batch.samples)) return false;
  for (const TensorSummary& field : batch.fields) {
    if (!valid(field)) return false;
  }
  return true;
}

bool valid(const LossRecord& loss) { return valid(loss.dtype); }
bool valid(const TensorRecord& record) { return valid(record.phase) && valid(record.tensor); }
bool valid(const EventRecord&) { return true; }
bool valid(const EndRecord& end) { return end.frames >= 0; }

template <class T>
std::optional<Record> decode_as(Bytes payload) {
  std::optional<Record> record(std::in_place, std::in_place_type<T>);
  T& value = std::get<T>(*record);
  state::LoadArchive archive(payload);
  archive& value;
  archive.finish();
  if (!valid(value)) return std::nullopt;
  return record;
}

std::optional<Record> decode_by_type(const RawFrame& frame) {
  switch (static_cast<FrameType>(frame.header.type)) {
    case FrameType::run:
      return decode_as<RunInfo>(frame.payload);
    case FrameType::batch:
      return decode_as<BatchRecord>(frame.payload);
    case FrameType::loss:
      return decode_as<LossRecord>(frame.payload);
    case FrameType::tensor:
      return decode_as<TensorRecord>(frame.payload);
    case FrameType::event:
      return decode_as<EventRecord>(frame.payload);
    case FrameType::end:
      return decode_as<EndRecord>(frame.payload);
  }
  return std::nullopt;
}

struct StepOf {
  std::optional<std::int64_t> operator()(const RunInfo&) const { return std::nullopt; }
  std::optional<std::int64_t> operator()(const EndRecord&) const { return std::nullopt; }
  template <class T>
  std::optional<std::int64_t> operator()(const T& record) const {
    return record.step;
  }
};

}  // namespace

std::optional<Record> decode(const RawFrame& frame) {
  if (frame.header.flags != 0) return std::nullopt;
  try {
    return decode_by_type(frame);
  } catch (const Error& error) {
    // Shape says invalid_argument for extents that cannot be true.
    if (error.code() == ErrorCode::corruption || error.code() == ErrorCode::invalid_argument)
      return std::nullopt;
    throw;
  }
}

std::optional<std::int64_t> step_of(const Record& record) { return std::visit(StepOf{}, record); }

}  // namespace lockstep::record
