#pragma once
// A Recorder for values that are still on their way, as from a GPU: who records them does not wait. The file
// is that of the same calls made of a Recorder, byte for byte.
// Thread-safety: one thread at a time, which also does the work: whatever has arrived is recorded by the next
// call.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lockstep/record/recorder.h"

namespace lockstep::record {

/// Values on their way. Both functions throw where they are lost.
class Arrival {
 public:
  virtual ~Arrival() = default;
  virtual bool has_come() = 0;
  virtual void wait() = 0;
};

/// The calls are those of Recorder, and are checked at once; what they throw for the disk may come from a
/// later call, and close() throws what no call has. While nothing is on its way they go straight through.
class LateRecorder {
 public:
  /// More than these are not waited for side by side: the call that meets the limit waits for the oldest.
  static constexpr std::size_t kMostArrivals = 64;
  static constexpr std::size_t kMostBytes = std::size_t{256} << 20;

  using Call = std::function<void(Recorder&)>;

  LateRecorder(const std::filesystem::path& directory, RunInfo info, RecorderOptions options = {});
  LateRecorder(std::unique_ptr<Recorder::Impl> impl, RecorderOptions options);  ///< tests
  ~LateRecorder();  ///< waits for what is on its way, and records it; then as Recorder
  LateRecorder(const LateRecorder&) = delete;
  LateRecorder& operator=(const LateRecorder&) = delete;

  void begin_step(std::int64_t step, std::int64_t epoch, std::int64_t batch_index);
  void batch_part(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                  const std::vector<FieldPart>& fields);
  void name_field(const std::string& field, const std::string& dataset_and_variant);
  void loss(const std::string& name, float value);
  void loss(const std::string& name, double value);
  void tensor(Phase phase, const std::string& name, const ConstView& tensor);
  void event(const std::string& kind, const std::string& text);
  void force_tensors();
  void end_step();
  void sync();   ///< waits
  void close();  ///< waits

  /// For values on their way: make the call of next_call() that fits, call make_room() before memory is taken
  /// for them, and then this. `call` makes its call of the recorder when they have come, and all before are
  /// made. It owns what it reads. `bytes`: of that.
  void later(std::unique_ptr<Arrival> arrival, std::size_t bytes, Call call);
  void make_room(std::size_t bytes);
  /// Records what has come, and throws what that throws; then the next call can be checked.
  CallOrder& next_call();

  bool wants_tensors() const;
  /// Whether the open step is one whose batch is recorded in full.
  bool is_in_full() const { return order_.last_step() < options_.full_batches; }
  /// Whether nothing is recorded any more, after a disk error with OnDiskError::go_on.
  bool has_failed() const { return !recorder_.failure().empty(); }
  const RecorderOptions& options() const { return options_; }
  const std::string& failure() const { return recorder_.failure(); }
  const std::filesystem::path& file() const { return recorder_.file(); }
  const RunInfo& info() const { return recorder_.info(); }

 private:
  struct Waiting {
    std::unique_ptr<Arrival> arrival;  ///< null: only for its turn
    std::size_t bytes;
    Call call;
  };

  template <class Now, class Copy>
  void in_turn(Now now, Copy copy);
  template <class Question>
  auto ask(Question question);
  void take_first();
  void take_all();

  RecorderOptions options_;
  Recorder recorder_;
  CallOrder order_;
  std::deque<Waiting> waiting_;
  std::size_t arrivals_ = 0, bytes_ = 0;  ///< of waiting_
  std::exception_ptr lost_;               ///< what the arrival threw whose values are missing
};

}  // namespace lockstep::record
