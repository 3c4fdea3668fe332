#include "lockstep_loader/prefetch/loader.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/batch/batch_plan.h"
#include "lockstep_loader/batch/epoch_positions.h"
#include "lockstep_loader/batch/fetch.h"
#include "lockstep_loader/prefetch/sequencer_internal.h"

namespace lockstep::loader {
namespace {

constexpr int kMaxWorkers = 1024;
constexpr int kMaxPrefetchFactor = 1 << 16;

[[noreturn]] void refuse(std::string what, std::string expected, std::string got, std::string next) {
  fail(ErrorCode::invalid_argument,
       {"loader", std::move(what), std::move(expected), std::move(got), std::move(next)});
}

void check_options(const LoaderOptions& options) {
  if (options.workers < 0 || options.workers > kMaxWorkers) {
    refuse("workers", fmt::format("0 to {}", kMaxWorkers), std::to_string(options.workers),
           "Pass 0 to fetch without threads.");
  }
  if (options.prefetch_factor < 1 || options.prefetch_factor > kMaxPrefetchFactor) {
    refuse("prefetch_factor", fmt::format("1 to {}", kMaxPrefetchFactor),
           std::to_string(options.prefetch_factor), "Pass the number of batches that a worker may be ahead.");
  }
  if (!options.in_order) {
    fail(ErrorCode::unsupported,
         {"loader", "in_order", "true", "false",
          "Arrival order depends on timing and cannot be repeated; ordered delivery costs "
          "next to nothing (bench/loader)."});
  }
}

void check_sampler(const Sampler& sampler, const LoaderOptions& options) {
  if (options.last == LastBatch::wrap && !sampler.state().empty()) {
    fail(ErrorCode::unsupported,
         {"loader", "last-batch policy in torch order", "keep or drop, as PyTorch has them", "wrap",
          "Choose keep or drop, or native order."});
  }
  if (options.world_size > 1 && sampler.is_one_rank()) {
    refuse(
        "world_size", "1 with a sampler that is one rank's part already", std::to_string(options.world_size),
        "Leave rank and world_size of the loader alone and pass the batch size of one rank, as in PyTorch.");
  }
  if (options.world_size > 1 && options.world_size > sampler.size()) {
    refuse("world_size", fmt::format("at most {}, the samples of an epoch", sampler.size()),
           std::to_string(options.world_size), "Use fewer ranks: some would never get a sample.");
  }
}

constexpr std::size_t kKeptByConsumer = 2;  // buffers that come back beside those that are fetched ahead

// The thread that fetches in next() has nobody to be ahead of.
int depth_of(const LoaderOptions& options) { return std::max(1, options.workers * options.prefetch_factor); }

}  // namespace

struct Loader::Impl {
  Impl(DatasetPtr dataset_, SamplerPtr sampler_, LoaderOptions options_)
      : dataset(std::move(dataset_)),
        sampler(std::move(sampler_)),
        options(options_),
        plan{sampler->size(), options.batch_size, options.last, options.rank, options.world_size},
        fetcher(dataset, options.seed, options.bad_sample,
                static_cast<std::size_t>(depth_of(options)) + kKeptByConsumer, options.allocate),
        sequencer(options.workers, depth_of(options)) {
    plan.check();
    check_sampler(*sampler, options);
  }

  // Where the consumer stands.
  struct Progress {
    bool begun = false;             // begin() was called
    bool open = false;              // the sampler's epoch is open
    std::int64_t epoch = 0;         // opened last
    std::int64_t next_batch = 0;    // that take() hands out next
    std::int64_t done = 0;          // batches delivered, failed ones included once a later one was delivered
    std::int64_t total_before = 0;  // samples of the epochs before
    std::int64_t digest_first_batch = 0;
    DeliveredDigest digest;
  };

  FetchPlan fetch_plan() const {
    return {options.batch_size, options.last == LastBatch::drop, options.workers, options.prefetch_factor,
            options.persistent_workers};
  }

  FetchRequest request(std::int64_t epoch, std::int64_t index, int rank, int world_size) const {
    BatchPlan cut = plan;
    cut.rank = rank, cut.world_size = world_size;
    const BatchRange range = cut.range(index);
    return {.epoch = epoch,
            .index = index,
            .global_samples = range.global_samples,
            .first_sample = range.first_sample,
            .first_position = index * options.batch_size + range.first_sample,
            .rows = range.count};
  }

  // Positions of an epoch that its first `batches` batches hold, all ranks.
  std::int64_t positions_before(std::int64_t batches) const {
    return batches == plan.batches() ? plan.samples() : batches * options.batch_size;
  }

  void begin(std::int64_t epoch) {
    check_epoch(epoch);
    close(false);
    open(epoch);
    if (restored && options.verify_restored) verify(*restored);
    restored.reset();
    sequencer.start(
        [this, epoch, order = positions](std::int64_t index, const std::atomic<bool>& cancelled) {
          return fetcher.fetch(request(epoch, index, options.rank, options.world_size), *order, cancelled);
        },
        progress.next_batch, plan.batches());
  }

  void check_epoch(std::int64_t epoch) const {
    if (epoch < 0 || epoch > std::numeric_limits<std::uint32_t>::max()) {
      refuse("epoch", "0 to 4294967295", std::to_string(epoch), "Count epochs from 0.");
    }
    if (restored && epoch != restored->epoch) {
      refuse("epoch", fmt::format("{}, where the restored state stands", restored->epoch),
             std::to_string(epoch), "Begin with state().epoch after a restore.");
    }
  }

  void open(std::int64_t epoch) {
    auto order = sampler->begin_epoch(epoch, fetch_plan());
    const std::int64_t total_before = progress.total_before;
    progress = Progress{};
    progress.begun = progress.open = true;
    progress.epoch = epoch;
    progress.total_before = total_before;
    if (restored) resume_progress();
    if (order->size() != sampler->size()) {
      refuse("positions of the epoch", std::to_string(sampler->size()), std::to_string(order->size()),
             "A sampler's size stays the same in every epoch.");
    }
    positions = std::make_shared<const EpochPositions>(std::move(order), dataset->size(),
                                                       sampler->with_replacement());
  }

  void resume_progress() {
    progress.next_batch = progress.done = restored->batches;
    progress.total_before = restored->samples_total - restored->samples;
    const LoaderState part = own_part(*restored);
    progress.digest_first_batch = part.digest_first_batch;
    progress.digest = {part.ids_digest, part.bytes_digest};
  }

  // The state with the digests that this rank goes on with.
  LoaderState own_part(LoaderState state) const {
    const bool same_part = state.rank == options.rank && state.world_size == options.world_size;
    const bool whole = state.world_size == 1;
    if (!same_part && !whole) state.digest_first_batch = state.batches;
    if (!same_part && !(whole && options.rank == 0)) state.ids_digest = {}, state.bytes_digest = {};
    state.rank = options.rank, state.world_size = options.world_size;
    return state;
  }

  // Ends the epoch that is open, for the sampler and for the counts.
  void close(bool exhausted) {
    sequencer.stop();
    ahead.reset();
    if (!progress.open) return;
    progress.open = false;
    progress.total_before += positions_before(exhausted ? progress.next_batch : progress.done);
    sampler->end_epoch(progress.next_batch, exhausted);
  }

  std::optional<Batch> next() {
    if (!progress.begun) refuse("next()", "begin(epoch) before it", "no epoch", "Call begin(0) first.");
    if (!progress.open) return std::nullopt;
    std::optional<Fetched> fetched = take();
    if (!fetched) {
      close(true);
      return std::nullopt;
    }
    progress.done = progress.next_batch;
    progress.digest.merge(fetched->digest);
    for (const BadSampleEvent& event : fetched->batch.bad) ++(event.replacement < 0 ? skipped : substituted);
    return std::move(fetched->batch);
  }

  std::optional<Fetched> take() {
    if (progress.next_batch == plan.batches()) return std::nullopt;
    ++progress.next_batch;  // a batch that throws has had its turn
    if (!ahead) return sequencer.take();
    Ahead seen = *std::exchange(ahead, std::nullopt);
    if (seen.error) std::rethrow_exception(seen.error);
    return std::move(seen.fetched);
  }

  const Batch* peek() {
    if (!progress.open || progress.next_batch == plan.batches()) return nullptr;
    if (!ahead) ahead = look_ahead();
    return ahead->fetched ? &ahead->fetched->batch : nullptr;
  }

  // What take() will hand out.
  struct Ahead {
    std::optional<Fetched> fetched;
    std::exception_ptr error;
  };

  Ahead look_ahead() {
    try {
      return {sequencer.take(), nullptr};
    } catch (...) {
      return {std::nullopt, std::current_exception()};
    }
  }

  LoaderState state() const {
    if (restored) return own_part(*restored);
    LoaderState state = configuration();
    state.epoch = progress.epoch;
    if (progress.open) {
      state.batches = progress.done;
      state.samples = positions_before(progress.done);
      state.digest_first_batch = progress.digest_first_batch;
      state.ids_digest = progress.digest.ids;
      state.bytes_digest = progress.digest.bytes;
    } else if (progress.begun) {
      ++state.epoch;
    }
    state.samples_total = progress.total_before + state.samples;
    state.sampler_state = sampler->state();
    return state;
  }

  // What a state says about the loader rather than about its progress.
  LoaderState configuration() const {
    if (!fingerprint) fingerprint = dataset->fingerprint();
    LoaderState state;
    state.seed = options.seed;
    state.batch_size = options.batch_size;
    state.last = static_cast<std::uint8_t>(options.last);
    state.bad_sample = static_cast<std::uint8_t>(options.bad_sample);
    state.persistent_workers = options.persistent_workers;
    state.sampler = sampler->describe();
    state.dataset = dataset->describe();
    state.dataset_fingerprint = *fingerprint;
    state.rank = options.rank;
    state.world_size = options.world_size;
    return state;
  }

  void restore(const LoaderState& saved) {
    check_resume(saved, configuration());
    check_progress(saved);
    sampler->restore(saved.sampler_state);
    sequencer.stop();
    ahead.reset();
    progress = Progress{};
    restored = saved;
  }

  void check_progress(const LoaderState& saved) const {
    const bool possible = saved.epoch >= 0 && saved.batches >= 0 && saved.batches <= plan.batches() &&
                          saved.samples == positions_before(saved.batches) &&
                          saved.samples_total >= saved.samples && saved.world_size >= 1 &&
                          saved.batch_size % saved.world_size == 0 && saved.rank >= 0 &&
                          saved.rank < saved.world_size && saved.digest_first_batch >= 0 &&
                          saved.digest_first_batch <= saved.batches;
    if (possible) return;
    fail(ErrorCode::corruption,
         {"resume", "progress",
          fmt::format("at most {} batches and the samples that they hold", plan.batches()),
          fmt::format("{} batches, {} samples", saved.batches, saved.samples),
          "Resume from the checkpoint before this one."});
  }

  // Reads again what the state says was delivered. A batch that fails now failed then, too, and added
  // nothing.
  void verify(const LoaderState& saved) const {
    const std::atomic<bool> never{false};
    DeliveredDigest digest;
    for (std::int64_t index = saved.digest_first_batch; index < saved.batches; ++index) {
      try {
        digest.merge(
            fetcher.fetch(request(saved.epoch, index, saved.rank, saved.world_size), *positions, never)
                .digest);
      } catch (const Error&) {
        continue;
      }
    }
    if (digest == DeliveredDigest{saved.ids_digest, saved.bytes_digest}) return;
    const bool ids_differ = !(digest.ids == saved.ids_digest);
    fail(ErrorCode::corruption,
         {"resume", ids_differ ? "record ids delivered before" : "bytes delivered before",
          fmt::format("the digest {:016x}{:016x} of the saved run",
                      (ids_differ ? saved.ids_digest : saved.bytes_digest).lane0,
                      (ids_differ ? saved.ids_digest : saved.bytes_digest).lane1),
          fmt::format("{:016x}{:016x}", (ids_differ ? digest.ids : digest.bytes).lane0,
                      (ids_differ ? digest.ids : digest.bytes).lane1),
          "The data or a transform changed since the checkpoint; start a new run."});
  }

  const DatasetPtr dataset;
  const SamplerPtr sampler;
  const LoaderOptions options;
  const BatchPlan plan;
  const BatchFetcher fetcher;
  mutable std::optional<fingerprint::Digest> fingerprint;
  Progress progress;
  std::optional<LoaderState> restored;  // until the begin() that takes it up
  std::shared_ptr<const EpochPositions> positions;
  std::optional<Ahead> ahead;  // where peek() has looked
  std::int64_t skipped = 0;
  std::int64_t substituted = 0;
  Sequencer sequencer;  // last: its threads use all of the above, and end first
};

Loader::Loader(DatasetPtr dataset, SamplerPtr sampler, LoaderOptions options) {
  if (!dataset || !sampler)
    refuse(dataset ? "sampler" : "dataset", "one", "none", "Pass a non-null pointer.");
  check_options(options);
  impl_ = std::make_unique<Impl>(std::move(dataset), std::move(sampler), options);
}

Loader::~Loader() = default;
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;

std::int64_t Loader::batches_per_epoch() const { return impl_->plan.batches(); }
const LoaderOptions& Loader::options() const { return impl_->options; }
void Loader::begin(std::int64_t epoch) { impl_->begin(epoch); }
std::optional<Batch> Loader::next() { return impl_->next(); }
const Batch* Loader::peek() { return impl_->peek(); }
LoaderState Loader::state() const { return impl_->state(); }
void Loader::restore(const LoaderState& state) { impl_->restore(state); }
const DeliveredDigest& Loader::delivered() const { return impl_->progress.digest; }
std::int64_t Loader::skipped() const { return impl_->skipped; }
std::int64_t Loader::substituted() const { return impl_->substituted; }

}  // namespace lockstep::loader
