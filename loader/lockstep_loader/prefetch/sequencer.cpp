#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "lockstep_loader/prefetch/sequencer_internal.h"

namespace lockstep::loader {
namespace {

using Clock = std::chrono::steady_clock;

// Jobs shorter than this are cheaper to do than to sleep for.
constexpr std::chrono::microseconds kShortJob{200};
// One job that takes long because its thread lost the processor makes no long jobs of the others.
constexpr int kMostShortness = 8;

struct Slot {
  std::optional<Fetched> result;
  std::exception_ptr error;
  bool ready = false;
};

Fetched open(Slot slot) {
  if (slot.error) std::rethrow_exception(slot.error);
  return std::move(*slot.result);
}

}  // namespace

// One start(): kept alive by every worker that still runs one of its jobs. Guarded by the sequencer's mutex,
// but for the job and the flag.
struct Sequencer::Run {
  Run(Job job_, std::int64_t first, std::int64_t end_, int depth)
      : job(std::move(job_)),
        end(end_),
        claimed(first),
        finished(first),
        taken(first),
        slots(static_cast<std::size_t>(depth)) {}

  bool can_claim() const {
    return claimed < end && claimed < taken + static_cast<std::int64_t>(slots.size());
  }
  bool short_jobs() const { return 2 * shortness >= kMostShortness; }
  void note(Clock::duration length) {
    shortness = length < kShortJob ? std::min(shortness + 1, kMostShortness) : std::max(shortness - 1, 0);
  }
  Slot& slot(std::int64_t number) { return slots[static_cast<std::size_t>(number) % slots.size()]; }

  const Job job;
  const std::int64_t end;
  std::atomic<bool> cancelled{false};
  std::int64_t claimed;   // next job to hand out
  std::int64_t finished;  // next place in order of arrival
  std::int64_t taken;     // next place that the consumer takes
  int shortness = 0;      // goes up with a short job, down with a long one
  std::vector<Slot> slots;
};

struct Sequencer::Claim {
  std::shared_ptr<Run> run;
  std::int64_t index = 0;
};

Sequencer::Sequencer(int workers, int depth, Delivery delivery)
    : workers_(workers), depth_(depth), delivery_(delivery) {}

Sequencer::~Sequencer() {
  stop();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  space_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Sequencer::start(Job job, std::int64_t first, std::int64_t end) {
  stop();
  {
    const std::lock_guard lock(mutex_);
    run_ = std::make_shared<Run>(std::move(job), first, end, depth_);
  }
  while (static_cast<int>(threads_.size()) < workers_) threads_.emplace_back([this] { work(); });
  space_.notify_all();
}

void Sequencer::stop() {
  std::shared_ptr<Run> dropped;  // freed after the lock
  const std::lock_guard lock(mutex_);
  if (run_) run_->cancelled = true;
  dropped = std::move(run_);
}

std::optional<Fetched> Sequencer::take() {
  if (!run_) return std::nullopt;
  if (workers_ == 0) return take_inline();
  std::unique_lock lock(mutex_);
  Run& run = *run_;
  if (run.taken == run.end) return std::nullopt;
  while (!run.slot(run.taken).ready) {
    if (const auto claim = claim_instead_of_waiting()) {
      run_claim(*claim, lock);
      continue;
    }
    consumer_waits_ = true;
    ready_.wait(lock);
    consumer_waits_ = false;
  }
  Slot slot = std::exchange(run.slot(run.taken), Slot{});
  ++run.taken;
  wake_workers();
  lock.unlock();
  return open(std::move(slot));
}

std::optional<Fetched> Sequencer::take_inline() {
  if (run_->taken == run_->end) return std::nullopt;
  return run_->job(run_->taken++, run_->cancelled);
}

// Waiting costs a sleep and a wake-up, so the consumer lends a hand where a job costs no more than that, or
// where nobody has begun with the one that it needs. A short job that it needs and that is not done although
// all the others are is in the hands of a worker that lost its processor: doing it a second time is quicker,
// and gives the same result.
std::optional<Sequencer::Claim> Sequencer::claim_instead_of_waiting() {
  if (!run_->short_jobs() && run_->claimed != run_->taken) return std::nullopt;
  if (auto claim = try_claim()) return claim;
  if (delivery_ == Delivery::arrival) return std::nullopt;
  return Claim{run_, run_->taken};
}

std::optional<Sequencer::Claim> Sequencer::try_claim() {
  if (!run_ || !run_->can_claim()) return std::nullopt;
  return Claim{run_, run_->claimed++};
}

void Sequencer::run_claim(const Claim& claim, std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  const Clock::time_point start = Clock::now();
  Slot slot;
  try {
    slot.result = claim.run->job(claim.index, claim.run->cancelled);
  } catch (...) {
    slot.error = std::current_exception();
  }
  slot.ready = true;
  const Clock::duration length = Clock::now() - start;
  lock.lock();
  Run& run = *claim.run;
  run.note(length);
  const std::int64_t place = delivery_ == Delivery::in_order ? claim.index : run.finished++;
  if (place >= run.taken && !run.slot(place).ready) run.slot(place) = std::move(slot);
  if (consumer_waits_ && claim.run == run_ && run.slot(run.taken).ready) ready_.notify_one();
}

// Workers that found no space are woken at once where jobs are long. Where they are short, only when half of
// the space is free again: what is ready by then lasts meanwhile, and a wake-up a batch would cost more than
// the batch.
void Sequencer::wake_workers() {
  if (sleepers_ == 0 || !run_->can_claim()) return;
  const std::int64_t free = run_->taken + depth_ - run_->claimed;
  if (!run_->short_jobs()) space_.notify_one();
  if (run_->short_jobs() && 2 * free >= depth_) space_.notify_all();
}

void Sequencer::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (const auto claim = try_claim()) {
      run_claim(*claim, lock);
      continue;
    }
    ++sleepers_;
    space_.wait(lock);
    --sleepers_;
  }
}

}  // namespace lockstep::loader
