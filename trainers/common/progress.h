#pragma once
// One line on stderr that is redrawn, only on a terminal. Draws at most ten times a second.

#include <chrono>
#include <cstdint>
#include <optional>

namespace lockstep::trainers {

struct ProgressState {
  std::int64_t epoch = 0, epochs = 1;  ///< from 0
  std::int64_t batch = 0, batches = 1;
  std::int64_t samples = 0;        ///< so far in this process
  double loss = 0;                 ///< mean of the epoch so far
  std::optional<double> accuracy;  ///< 0 … 1, of the epoch so far
};

class Progress {
 public:
  /// Nothing is drawn when `wanted` is false or stderr is no terminal.
  explicit Progress(bool wanted);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(const ProgressState& state);
  /// Removes the line, so that something else can be printed.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  bool enabled_;
  bool drawn_ = false;
  Clock::time_point started_ = Clock::now();
  Clock::time_point last_ = {};
};

}  // namespace lockstep::trainers
