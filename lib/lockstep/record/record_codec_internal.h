#pragma once
// Payloads to records. What comes from a file is checked here once, so that nobody after it needs to.

#include <optional>

#include "lockstep/record/frame_scanner_internal.h"
#include "lockstep/record/reader.h"

namespace lockstep::record {

/// Nothing when the payload is no archive of its type, or when a dtype, phase, shape or size in it cannot be
/// true.
std::optional<Record> decode(const RawFrame& frame);

/// The step that a record belongs to; nothing for RunInfo and EndRecord.
std::optional<std::int64_t> step_of(const Record& record);

}  // namespace lockstep::record
