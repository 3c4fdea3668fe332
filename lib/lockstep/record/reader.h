#pragma once
// Reads a recording, whatever its state. Nothing in a file can crash the reader or make it allocate more than
// a small multiple of the largest frame that the file really holds.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "lockstep/record/model.h"

namespace lockstep::record {

enum class Verdict : std::uint8_t { complete = 0, torn_tail = 1, damaged_middle = 2, not_a_recording = 3 };
std::string_view verdict_name(
    Verdict verdict);  ///< "complete", "torn tail", "damaged middle", "not a recording"

using Record = std::variant<RunInfo, BatchRecord, LossRecord, TensorRecord, EventRecord, EndRecord>;

struct Check {
  Verdict verdict = Verdict::not_a_recording;
  std::int64_t good_frames = 0;
  std::int64_t lost_ranges = 0;
  std::int64_t first_bad_offset =
      -1;  ///< bytes: of the damage, or where the end record is missing; -1: complete
  std::int64_t last_step = -1;
  std::string text;  ///< one line for people, with what to do next
};

/// A stream over the good frames of one file, in file order, with constant memory.
class Reader {
 public:
  /// Throws Error(not_found, io) when the file cannot be opened, and Error(unsupported) for a recording of a
  /// newer format version; any other content is accepted.
  explicit Reader(const std::filesystem::path& file);
  ~Reader();
  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;

  /// The run's header frame; empty when it is unreadable.
  const std::optional<RunInfo>& info() const;
  /// The next good record, or nothing at the end.
  std::optional<Record> next();
  /// True just after next() when frames before the record it gave were lost to damage.
  bool gap_before() const;
  /// The verdict on the file: final once next() has returned nothing, so that no second pass is needed.
  Check check() const;

  struct Impl;
  explicit Reader(std::unique_ptr<Impl> impl);  ///< over memory: tests and the fuzzer

 private:
  std::unique_ptr<Impl> impl_;
};

/// Reads the whole file once and gives its verdict.
Check check(const std::filesystem::path& file);

/// All files of one run, by segment; each file is one rank's.
struct Run {
  std::string run_id;
  std::int64_t started_ns = 0;
  std::vector<std::filesystem::path> files;  ///< rank 0's segments first, ascending; then rank 1's
};

/// The runs in a folder (not below it), by recorded start time, oldest first; ties by run id. Files that are
/// no recording are passed over; files whose header cannot be read are listed in `unreadable`.
std::vector<Run> find_runs(const std::filesystem::path& directory,
                           std::vector<std::filesystem::path>* unreadable = nullptr);

/// The run that `path` names: a file (with its sibling segments in the same folder) or a folder that holds
/// one run.
Run open_run(const std::filesystem::path& path);

}  // namespace lockstep::record
