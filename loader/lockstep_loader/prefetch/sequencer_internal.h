#pragma once
// Threads that run the jobs 0, 1, 2, … of an epoch ahead of the consumer, and hand their results over in
// order. At most `depth` jobs are claimed and not yet taken, so memory is bounded. The threads live as long
// as the sequencer. Thread-safety: one consumer thread; jobs run in the workers and, while it would wait
// anyway, in the consumer.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "lockstep_loader/batch/fetch.h"

namespace lockstep::loader {

/// `arrival` exists to measure what order costs; the loader does not offer it.
enum class Delivery { in_order, arrival };

class Sequencer {
 public:
  /// Fetches batch `index`; gives up early when `cancelled` is set, its result is then dropped. A pure
  /// function of the index: it may be run twice for one, and either result is taken.
  using Job = std::function<Fetched(std::int64_t index, const std::atomic<bool>& cancelled)>;

  /// `workers` threads, started at the first start(); 0 runs each job in take().
  Sequencer(int workers, int depth, Delivery delivery = Delivery::in_order);
  ~Sequencer();
  Sequencer(const Sequencer&) = delete;
  Sequencer& operator=(const Sequencer&) = delete;

  /// Breaks off what is running and starts with the jobs [first, end). Does not wait for jobs that are under
  /// way.
  void start(Job job, std::int64_t first, std::int64_t end);

  /// The result of the next job; nothing when all were taken. Throws what the job threw, at its place, and
  /// goes on with the job after it in the next call.
  std::optional<Fetched> take();

  /// Drops the jobs that are left. The next take() returns nothing.
  void stop();

 private:
  struct Run;
  struct Claim;

  std::optional<Fetched> take_inline();
  std::optional<Claim> try_claim();
  std::optional<Claim> claim_instead_of_waiting();
  void run_claim(const Claim& claim, std::unique_lock<std::mutex>& lock);
  void wake_workers();
  void work();

  const int workers_;
  const int depth_;
  const Delivery delivery_;
  std::mutex mutex_;
  std::condition_variable space_;  // workers wait for something to claim
  std::condition_variable ready_;  // the consumer waits for a result
  bool stopping_ = false;
  bool consumer_waits_ = false;
  int sleepers_ = 0;  // workers that wait
  std::shared_ptr<Run> run_;
  std::vector<std::thread> threads_;
};

}  // namespace lockstep::loader
