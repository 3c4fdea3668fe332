#include "lockstep/record/late_recorder.h"

#include <utility>

#include "lockstep/record/recorder_internal.h"

namespace lockstep::record {
namespace {

/// A micro-batch whose memory may go: of each field the digest, or in a step that is recorded in full a copy.
class KeptPart {
 public:
  KeptPart(std::int64_t first_sample, const std::vector<std::int64_t>& ids, std::vector<FieldPart> fields,
           bool in_full)
      : first_sample_(first_sample), ids_(ids), fields_(std::move(fields)) {
    for (FieldPart& field : fields_) {
      if (!field.digest && !in_full) field.digest = fingerprint::digest_samples(field.samples, first_sample);
      copies_.emplace_back(static_cast<const char*>(field.samples.data), in_full ? field.samples.bytes() : 0);
    }
  }

  void operator()(Recorder& recorder) {
    for (std::size_t i = 0; i < fields_.size(); ++i) fields_[i].samples.data = copies_[i].data();
    recorder.batch_part(first_sample_, ids_, fields_);
  }

 private:
  std::int64_t first_sample_;
  std::vector<std::int64_t> ids_;
  std::vector<FieldPart> fields_;
  std::vector<std::string> copies_;
};

}  // namespace

LateRecorder::LateRecorder(const std::filesystem::path& directory, RunInfo info, RecorderOptions options)
    : options_(options), recorder_(directory, std::move(info), options) {}

LateRecorder::LateRecorder(std::unique_ptr<Recorder::Impl> impl, RecorderOptions options)
    : options_(options), recorder_(std::move(impl)) {}

LateRecorder::~LateRecorder() {
  while (!waiting_.empty() && lost_ == nullptr) {
    try {
      take_first();
    } catch (const std::exception&) {
      // A destructor cannot tell; the missing end record will, or the missing frames.
    }
  }
}

/// What `question` finds of an arrival.
template <class Question>
auto LateRecorder::ask(Question question) {
  try {
    return question();
  } catch (const std::exception&) {
    // What comes after would make a recording that looks whole.
    lost_ = std::current_exception();
    waiting_.clear();
    throw;
  }
}

void LateRecorder::take_first() {
  Waiting first = std::move(waiting_.front());
  waiting_.pop_front();
  if (first.arrival != nullptr) {
    --arrivals_, bytes_ -= first.bytes;
    ask([&] { first.arrival->wait(); });
  }
  first.call(recorder_);
}

CallOrder& LateRecorder::next_call() {
  if (lost_ != nullptr) std::rethrow_exception(lost_);
  while (!waiting_.empty()) {
    Arrival* const arrival = waiting_.front().arrival.get();
    if (arrival != nullptr && !ask([=] { return arrival->has_come(); })) break;
    take_first();
  }
  return order_;
}

void LateRecorder::take_all() {
  while (!waiting_.empty()) take_first();
}

/// `now()` makes the call at once; `copy()` gives a Call that makes it later.
template <class Now, class Copy>
void LateRecorder::in_turn(Now now, Copy copy) {
  if (waiting_.empty())
    now();
  else
    waiting_.push_back({nullptr, 0, copy()});
}

void LateRecorder::make_room(std::size_t bytes) {
  while (arrivals_ > 0 && (arrivals_ >= kMostArrivals || bytes_ + bytes > kMostBytes)) take_first();
}

void LateRecorder::later(std::unique_ptr<Arrival> arrival, std::size_t bytes, Call call) {
  make_room(bytes);
  ++arrivals_, bytes_ += bytes;
  waiting_.push_back({std::move(arrival), bytes, std::move(call)});
}

void LateRecorder::begin_step(std::int64_t step, std::int64_t epoch, std::int64_t batch_index) {
  const auto call = [=](Recorder& recorder) { recorder.begin_step(step, epoch, batch_index); };
  next_call().begin_step(step);
  in_turn([&] { call(recorder_); }, [&] { return call; });
}

void LateRecorder::batch_part(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                              const std::vector<FieldPart>& fields) {
  next_call().batch_part(first_sample, static_cast<std::int64_t>(ids.size()), fields);
  in_turn([&] { recorder_.batch_part(first_sample, ids, fields); },
          [&] { return KeptPart(first_sample, ids, fields, is_in_full()); });
}

void LateRecorder::name_field(const std::string& field, const std::string& dataset_and_variant) {
  next_call().require_open("name_field");
  in_turn([&] { recorder_.name_field(field, dataset_and_variant); },
          [&] { return [=](Recorder& recorder) { recorder.name_field(field, dataset_and_variant); }; });
}

void LateRecorder::loss(const std::string& name, float value) {
  next_call().require_step("loss");
  in_turn([&] { recorder_.loss(name, value); },
          [&] { return [=](Recorder& recorder) { recorder.loss(name, value); }; });
}

void LateRecorder::loss(const std::string& name, double value) {
  next_call().require_step("loss");
  in_turn([&] { recorder_.loss(name, value); },
          [&] { return [=](Recorder& recorder) { recorder.loss(name, value); }; });
}

void LateRecorder::tensor(Phase phase, const std::string& name, const ConstView& tensor) {
  next_call().tensor(phase);
  in_turn([&] { recorder_.tensor(phase, name, tensor); },
          [&] {
            return [phase, summary = Recorder::summary(name, tensor, options_)](Recorder& recorder) {
              recorder.tensor(phase, summary);
            };
          });
}

void LateRecorder::event(const std::string& kind, const std::string& text) {
  next_call().require_open("event");
  in_turn([&] { recorder_.event(kind, text); },
          [&] { return [=](Recorder& recorder) { recorder.event(kind, text); }; });
}

void LateRecorder::force_tensors() {
  next_call().force_tensors();
  in_turn([&] { recorder_.force_tensors(); },
          [] { return [](Recorder& recorder) { recorder.force_tensors(); }; });
}

void LateRecorder::end_step() {
  next_call().end_step();
  in_turn([&] { recorder_.end_step(); }, [] { return [](Recorder& recorder) { recorder.end_step(); }; });
}

void LateRecorder::sync() {
  next_call().require_open("sync");
  take_all();
  recorder_.sync();
}

void LateRecorder::close() {
  next_call().close();
  take_all();
  recorder_.close();
}

bool LateRecorder::wants_tensors() const {
  return !has_failed() && order_.wants_tensors(options_.tensors_every);
}

}  // namespace lockstep::record
