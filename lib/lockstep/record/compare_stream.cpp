#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "lockstep/record/compare_stream_internal.h"

namespace lockstep::record {
namespace {

constexpr std::size_t kMaxEventKinds = 64;

class FileSource : public RecordSource {
 public:
  explicit FileSource(const std::filesystem::path& file) : reader_(file) {}
  std::optional<Record> next() override { return reader_.next(); }
  bool gap_before() const override { return reader_.gap_before(); }
  Check check() const override { return reader_.check(); }

 private:
  Reader reader_;
};

/// The step that a record belongs to; nothing for those that are about the file.
std::optional<std::int64_t> step_of(const Record& record) {
  if (const auto* batch = std::get_if<BatchRecord>(&record)) return batch->step;
  if (const auto* loss = std::get_if<LossRecord>(&record)) return loss->step;
  if (const auto* tensor = std::get_if<TensorRecord>(&record)) return tensor->step;
  return std::nullopt;
}

}  // namespace

RunSource source_of(const Run& run) {
  RunSource source;
  if (!run.files.empty()) source.label = run.files.front().string();
  for (const auto& file : run.files) {
    const Reader reader(file);
    if (!reader.info()) {
      source.problems.push_back(
          fmt::format("{}: the header of the recording cannot be read", file.filename().string()));
      continue;
    }
    source.ranks[reader.info()->rank].push_back(
        {*reader.info(), file.filename().string(), [file] { return std::make_unique<FileSource>(file); }});
  }
  for (auto& [rank, segments] : source.ranks) {
    std::stable_sort(segments.begin(), segments.end(), [](const SegmentSource& x, const SegmentSource& y) {
      return x.info.segment < y.info.segment;
    });
  }
  return source;
}

StepReader::StepReader(const SegmentSource& segment, std::int64_t superseded_from)
    : name_(segment.name), source_(segment.open()), superseded_from_(superseded_from) {}

void StepReader::problem(const std::string& text) {
  state_.needed_part_whole = false;
  if (state_.problem.empty()) state_.problem = fmt::format("{}: {}", name_, text);
}

void StepReader::note_gap(std::int64_t step_after) {
  if (state_.last_step >= superseded_from_) return;
  if (step_after < 0) {
    problem(fmt::format("damaged: frames are lost after step {}", state_.last_step));
  } else if (state_.last_step < 0) {
    problem(fmt::format("damaged: frames are lost before step {}", step_after));
  } else {
    problem(
        fmt::format("damaged: frames are lost between step {} and step {}", state_.last_step, step_after));
  }
}

void StepReader::note_event(const EventRecord& event) {
  if (events_.size() < kMaxEventKinds || events_.contains(event.kind)) ++events_[event.kind];
  if (event.kind == "frames_lost" && event.step < superseded_from_) {
    problem(fmt::format("the recorder lost frames at step {} ({})", event.step, event.text));
  }
}

void StepReader::finish() {
  done_ = true;
  const Check check = source_->check();
  state_.verdict = check.verdict;
  if (end_seen_ && check.verdict == Verdict::damaged_middle) problem(check.text);
  if (!end_seen_ && state_.last_step + 1 < superseded_from_) {
    problem(fmt::format("the recording ends without its end record; step {} is the last that can be read",
                        state_.last_step));
  }
}

/// Puts a record into `step`, or keeps it for the next one. False when the step is over.
bool StepReader::collect(Record record, bool gap, StepRecords* step, bool* opened) {
  const std::int64_t number = *step_of(record);
  if (number < state_.last_step) {
    problem(fmt::format("step {} comes after step {}", number, state_.last_step));
    return true;
  }
  if (gap) {
    note_gap(number);
    step->damaged = true;
  }
  if (*opened && number != step->step) {
    pending_ = std::move(record);
    pending_gap_ = gap;
    return false;
  }
  *opened = true;
  state_.last_step = step->step = number;
  if (auto* batch = std::get_if<BatchRecord>(&record)) {
    step->batch = std::move(*batch);
  } else if (auto* loss = std::get_if<LossRecord>(&record)) {
    step->losses.push_back(std::move(*loss));
  } else {
    step->tensors.push_back(std::move(std::get<TensorRecord>(record)));
  }
  return true;
}

std::optional<StepRecords> StepReader::next() {
  if (done_) return std::nullopt;
  StepRecords step;
  bool opened = false;
  if (pending_) {
    Record first = std::move(*pending_);
    pending_.reset();
    step.damaged = std::exchange(pending_gap_, false);
    collect(std::move(first), false, &step, &opened);
  }
  while (auto record = source_->next()) {
    const bool gap = source_->gap_before();
    if (step_of(*record)) {
      if (!collect(std::move(*record), gap, &step, &opened)) return step;
      continue;
    }
    if (gap) {
      note_gap(-1);
      step.damaged = true;
    }
    if (const auto* event = std::get_if<EventRecord>(&*record)) note_event(*event);
    if (const auto* end = std::get_if<EndRecord>(&*record)) {
      end_seen_ = true;
      state_.end_reason = end->reason;
    }
  }
  finish();
  step.damaged = step.damaged || !end_seen_;
  return opened ? std::optional(std::move(step)) : std::nullopt;
}

RankStream::RankStream(std::vector<SegmentSource> segments, OverlapCheck overlap)
    : segments_(std::move(segments)),
      overlap_(std::move(overlap)),
      opened_(segments_.size(), false),
      states_(segments_.size()) {
  advance();
}

std::int64_t RankStream::superseded_from(std::size_t segment) const {
  std::int64_t from = std::numeric_limits<std::int64_t>::max();
  for (std::size_t later = segment + 1; later < segments_.size(); ++later) {
    from = std::min(from, segments_[later].info.first_step);
  }
  return from;
}

void RankStream::open(std::size_t segment) {
  opened_[segment] = true;
  active_.push_back(
      {segment, std::make_unique<StepReader>(segments_[segment], superseded_from(segment)), {}});
}  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): it loses a pointer that moves into a vector

void RankStream::open_up_to(std::int64_t step) {
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    if (!opened_[i] && segments_[i].info.first_step <= step) open(i);
  }
}

bool RankStream::open_earliest() {
  std::optional<std::size_t> earliest;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    if (opened_[i]) continue;
    if (!earliest || segments_[i].info.first_step < segments_[*earliest].info.first_step) earliest = i;
  }
  if (earliest) open(*earliest);
  return earliest.has_value();
}

void RankStream::close(const Active& active) {
  states_[active.segment] = active.reader->state();
  for (const auto& [kind, count] : active.reader->events()) events_[kind] += count;
}

void RankStream::refill() {
  for (auto& active : active_) {
    if (!active.step) active.step = active.reader->next();
    if (!active.step) close(active);
  }
  std::erase_if(active_, [](const Active& active) { return !active.step; });
}

std::optional<std::int64_t> RankStream::next_step() const {
  std::optional<std::int64_t> step;
  for (const auto& active : active_) step = std::min(step.value_or(active.step->step), active.step->step);
  return step;
}

std::size_t RankStream::owner(std::int64_t step) const {
  for (std::size_t i = segments_.size(); i-- > 0;) {
    if (segments_[i].info.first_step <= step) return i;
  }
  return 0;
}

/// Takes `step` from every segment that holds it. Nothing when the segment that owns the step does not hold
/// it: what an earlier segment went through after the resume point is not part of the run.
std::optional<StepRecords> RankStream::merge(std::int64_t step) {
  std::optional<StepRecords> result;
  const std::size_t owning = owner(step);
  for (auto& active : active_) {
    if (active.segment == owning && active.step->step == step)
      result = std::exchange(active.step, std::nullopt);
  }
  for (auto& active : active_) {
    if (!active.step || active.step->step != step) continue;
    const auto earlier = std::exchange(active.step, std::nullopt);
    if (result && overlap_) overlap_(*earlier, *result);
  }
  return result;
}

void RankStream::advance() {
  current_.reset();
  while (!current_) {
    refill();
    auto step = next_step();
    if (!step) {
      if (!open_earliest()) return;
      continue;
    }
    open_up_to(*step);
    refill();
    current_ = merge(*next_step());
  }
}

}  // namespace lockstep::record
