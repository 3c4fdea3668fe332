#pragma once
// A run as an ascending stream of steps: records grouped by step, segments of a resumed run merged.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lockstep/record/model.h"
#include "lockstep/record/reader.h"

namespace lockstep::record {

/// What a Reader gives, abstract, so that a run can also be a plain vector of records.
class RecordSource {
 public:
  virtual ~RecordSource() = default;
  virtual std::optional<Record> next() = 0;
  virtual bool gap_before() const = 0;
  /// At the end: the verdict over the file, and its sentence.
  virtual Check check() const = 0;
};

struct SegmentSource {
  RunInfo info;
  std::string name;  ///< of its file, for people
  std::function<std::unique_ptr<RecordSource>()> open;
};

/// Segments ascending, by rank.
struct RunSource {
  std::string label;  ///< the first file, for people
  std::map<std::int32_t, std::vector<SegmentSource>> ranks;
  std::vector<std::string> problems;  ///< files that cannot take part
};

/// The files of a run.
RunSource source_of(const Run& run);

/// All records of one step of one rank.
struct StepRecords {
  std::int64_t step = 0;
  std::optional<BatchRecord> batch;
  std::vector<LossRecord> losses;
  std::vector<TensorRecord> tensors;
  bool damaged = false;  ///< frames of this step may be lost: next to a gap, or the last step of a torn file
};

/// What a segment's file says about itself once it has been read as far as the run needs it.
struct SegmentState {
  Verdict verdict = Verdict::complete;
  bool needed_part_whole = true;  ///< nothing is lost before the step from which a later segment takes over
  std::string end_reason;         ///< of the end record
  std::int64_t last_step = -1;
  std::string problem;  ///< one sentence, empty when the needed part is whole
};

/// Groups the records of one segment by step.
class StepReader {
 public:
  /// `superseded_from` is the first step that a later segment takes over; INT64_MAX when none does.
  StepReader(const SegmentSource& segment, std::int64_t superseded_from);
  std::optional<StepRecords> next();
  const SegmentState& state() const { return state_; }  ///< final once next() gave nothing
  const std::map<std::string, std::int64_t>& events() const { return events_; }

 private:
  bool collect(Record record, bool gap, StepRecords* step, bool* opened);
  void note_gap(std::int64_t step_after);
  void note_event(const EventRecord& event);
  void finish();
  void problem(const std::string& text);

  std::string name_;
  std::unique_ptr<RecordSource> source_;
  std::int64_t superseded_from_;
  std::optional<Record> pending_;
  bool pending_gap_ = false;
  bool end_seen_ = false, done_ = false;
  SegmentState state_;
  std::map<std::string, std::int64_t> events_;
};

/// Two segments of one rank that hold the same step: the earlier one, the later one that supersedes it.
using OverlapCheck = std::function<void(const StepRecords& earlier, const StepRecords& later)>;

/// The steps of one rank of a run. Segment s + 1 supersedes segment s from its own first step on; what the
/// superseded part holds is handed to `overlap`.
class RankStream {
 public:
  RankStream(std::vector<SegmentSource> segments, OverlapCheck overlap);
  const std::optional<StepRecords>& current() const { return current_; }
  void advance();
  /// By segment; final at the end of the stream.
  const std::vector<SegmentState>& states() const { return states_; }
  const std::map<std::string, std::int64_t>& events() const { return events_; }

 private:
  struct Active {
    std::size_t segment;
    std::unique_ptr<StepReader> reader;
    std::optional<StepRecords> step;
  };
  void open(std::size_t segment);
  void open_up_to(std::int64_t step);
  bool open_earliest();
  void refill();
  std::optional<std::int64_t> next_step() const;
  std::size_t owner(std::int64_t step) const;
  std::int64_t superseded_from(std::size_t segment) const;
  void close(const Active& active);
  std::optional<StepRecords> merge(std::int64_t step);

  std::vector<SegmentSource> segments_;
  OverlapCheck overlap_;
  std::vector<bool> opened_;
  std::vector<Active> active_;
  std::vector<SegmentState> states_;
  std::map<std::string, std::int64_t> events_;
  std::optional<StepRecords> current_;
};

}  // namespace lockstep::record
