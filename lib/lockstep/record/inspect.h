#pragma once
// One recording, told to a person: whose it is, whether it is whole, what it holds, and one step in full.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lockstep/record/reader.h"

namespace lockstep::record {

/// "run", "batch", …
std::string_view frame_type_name(FrameType type);

struct Inspection {
  std::string file;
  std::uint64_t size_bytes = 0;
  Check check;
  std::optional<RunInfo> info;
  std::map<FrameType, std::int64_t> frames;      ///< good ones, by type
  std::map<Phase, std::int64_t> tensors;         ///< tensor frames, by phase
  std::int64_t first_step = -1, last_step = -1;  ///< -1: no step
  std::int64_t event_count = 0;
  std::vector<EventRecord> events;   ///< the first 100
  std::optional<std::int64_t> step;  ///< that was asked for
  std::vector<Record> records;       ///< of that step, in file order
};

/// Reads the whole file once. With `step`, keeps all records of that step.
/// Throws Error(not_found) for a file or a step that is not there, Error(io), Error(unsupported).
Inspection inspect(const std::filesystem::path& file, std::optional<std::int64_t> step = std::nullopt);

/// The same of a reader that has given nothing yet, as over memory; file and size_bytes stay empty.
Inspection inspect(Reader reader, std::optional<std::int64_t> step = std::nullopt);

/// Aligned lines; `values_limit` elements of a tensor at most, then how many more there are.
std::string to_text(const Inspection& inspection, bool color, std::int64_t values_limit = 256);
/// Schema in docs/formats/inspect-json.md ("schema": "lockstep.inspect/1").
std::string to_json(const Inspection& inspection);

}  // namespace lockstep::record
