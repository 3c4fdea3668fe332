#include "listing.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "lockstep/base/error.h"
#include "lockstep_loader/order/index_cipher.h"
#include "lockstep_loader/order/torch_draws.h"
#include "lockstep_loader/order/worker_seed.h"
#include "lockstep_loader/sampler/split.h"
#include "source.h"

namespace lockstep::list_samples {
namespace {

constexpr std::int64_t kChunk = 4096;

using Ids = std::function<void(std::int64_t first, std::span<std::int64_t> out)>;

/// "123" with quotes, or null: 64-bit integers do not survive a reader that takes numbers as doubles.
std::string next_draw(const loader::TorchGeneratorPtr& generator) {
  return generator ? fmt::format("\"{}\"", generator->peek_int64()) : "null";
}

/// Reads an order in large pieces, however small the batches are.
class ChunkedReader {
 public:
  explicit ChunkedReader(loader::EpochOrderPtr order) : order_(std::move(order)) {}

  std::int64_t id(std::int64_t position) {
    if (position < first_ || position >= first_ + static_cast<std::int64_t>(ids_.size())) {
      ids_.resize(static_cast<std::size_t>(std::min(kChunk, order_->size() - position)));
      order_->ids(first_ = position, ids_);
    }
    return ids_[static_cast<std::size_t>(position - first_)];
  }

 private:
  loader::EpochOrderPtr order_;
  std::int64_t first_ = 0;
  std::vector<std::int64_t> ids_;
};

/// One list of `count` ids under a heading such as "part":0, as ids or as their digest.
void print_list(const Options& options, Output& output, const std::string& heading, std::int64_t count,
                const Ids& ids) {
  std::vector<std::int64_t> chunk;
  IdsDigest digest;
  if (!options.digest) output.print("{{{}\"ids\":[", heading);
  for (std::int64_t first = 0; first < count; first += kChunk) {
    chunk.resize(static_cast<std::size_t>(std::min(kChunk, count - first)));
    ids(first, chunk);
    options.digest ? digest.add(chunk) : output.print_ids(chunk, first > 0);
    if (interrupted) output.flush();
  }
  if (options.digest) {
    output.print("{{{}\"count\":{},\"sha256\":\"{}\"}}\n", heading, digest.count(), digest.hex());
  } else {
    output.print("]}}\n");
  }
}

void print_next(const Generators& generators, Output& output) {
  output.print("{{\"base_seed\":null,\"next\":{},\"next_global\":{}}}\n", next_draw(generators.loader),
               next_draw(generators.global));
}

std::int64_t records(const Options& options) {
  if (options.count) return *options.count;
  fail(ErrorCode::invalid_argument,
       {"list_samples", "--count", "the number of records", "none", "Pass --count N"});
}

void list_permutation(const Options& options, Output& output) {
  const std::int64_t count = records(options);
  if (options.order == Order::native) {
    const loader::IndexCipher cipher(count, options.seed.value_or(0), options.epoch);
    return print_list(options, output, "", count,
                      [&](std::int64_t first, std::span<std::int64_t> out) { cipher.ids(first, out); });
  }
  const Generators generators = make_generators(options);
  const loader::TorchPermutation permutation(count, generators.either());
  print_list(options, output, "", count, [&](std::int64_t first, std::span<std::int64_t> out) {
    for (std::int64_t& id : out) id = permutation[first++];
  });
  if (options.draws) print_next(generators, output);
}

void list_split(const Options& options, Output& output) {
  const std::int64_t count = records(options);
  const Generators generators = make_generators(options);
  const auto parts = options.order == Order::native
                         ? loader::native_random_split(count, *options.split, options.seed.value_or(0))
                         : loader::torch_random_split(count, *options.split, generators.either());
  for (std::size_t part = 0; part < parts.size(); ++part) {
    print_list(options, output, fmt::format("\"part\":{},", part),
               static_cast<std::int64_t>(parts[part].size()),
               [&](std::int64_t first, std::span<std::int64_t> out) {
                 std::copy_n(parts[part].begin() + first, out.size(), out.begin());
               });
  }
  if (options.draws) print_next(generators, output);
}

/// The epochs of a loader, one after the other.
class EpochListing {
 public:
  EpochListing(const Options& options, Output& output)
      : options_(options),
        output_(output),
        generators_(make_generators(options)),
        sampler_(make_sampler(options, generators_, note_)),
        plan_(make_batch_plan(options, sampler_->size())),
        fetch_plan_(make_fetch_plan(options)) {}

  void list() {
    print_notes();
    std::int64_t start = options_.start;
    std::int64_t index = pass_epochs(start);
    for (const std::int64_t end = index + options_.epochs; index < end && !at_limit(); ++index) {
      list_epoch(index, start);
      start = 0;
    }
  }

 private:
  /// Batches that the consumer takes in the epoch with this index, counted from 0.
  std::int64_t batches_taken(std::int64_t index) const {
    const std::int64_t batches = plan_.batches();
    return exhausts(index) ? batches
                           : std::min(batches, *options_.stop_after[static_cast<std::size_t>(index)]);
  }
  bool exhausts(std::int64_t index) const {
    if (index >= static_cast<std::int64_t>(options_.stop_after.size())) return true;
    const auto& stop = options_.stop_after[static_cast<std::size_t>(index)];
    return !stop || *stop > plan_.batches();
  }
  std::int64_t samples_taken(std::int64_t index) const {
    return std::min(plan_.samples(), batches_taken(index) * plan_.batch_size);
  }
  std::int64_t epoch_number(std::int64_t index) const {
    return options_.set_epoch ? options_.epoch + index : options_.epoch;
  }
  bool at_limit() const { return options_.limit && listed_ >= *options_.limit; }

  loader::EpochOrderPtr begin_epoch(std::int64_t index) {
    const std::int64_t sequence =
        options_.distributed || options_.order == Order::native ? epoch_number(index) : index;
    return sampler_->begin_epoch(sequence, fetch_plan_);
  }

  /// Passes the epochs that lie wholly before sample `start`, which becomes a sample of the epoch that is
  /// returned.
  std::int64_t pass_epochs(std::int64_t& start) {
    std::int64_t index = 0;
    const auto named = static_cast<std::int64_t>(options_.stop_after.size());
    while (options_.start > 0 && start >= samples_taken(index)) {
      if (index >= named && plan_.samples() == 0) {
        fail(ErrorCode::invalid_argument, {"list_samples", "--start", "0, since no epoch holds a sample",
                                           std::to_string(options_.start), "Check --count and --drop-last"});
      }
      if (options_.order == Order::native && index >= named) {
        const std::int64_t epochs = start / plan_.samples();
        start %= plan_.samples();
        return index + epochs;
      }
      start -= samples_taken(index);
      begin_epoch(index);
      sampler_->end_epoch(batches_taken(index), exhausts(index));
      ++index;
    }
    return index;
  }

  void list_epoch(std::int64_t index, std::int64_t start) {
    const bool workers_start = index == 0 || !options_.persistent_workers;
    ChunkedReader reader(begin_epoch(index));
    if (options_.worker_seeds && workers_start) print_worker_seeds(epoch_number(index));
    IdsDigest digest;
    for (std::int64_t batch = start / plan_.batch_size; batch < batches_taken(index) && !at_limit();
         ++batch) {
      print_batch(epoch_number(index), batch, std::max<std::int64_t>(0, start - batch * plan_.batch_size),
                  reader, digest);
    }
    sampler_->end_epoch(batches_taken(index), exhausts(index));
    if (options_.digest) {
      output_.print("{{\"epoch\":{},\"count\":{},\"sha256\":\"{}\"}}\n", epoch_number(index), digest.count(),
                    digest.hex());
    }
    if (options_.draws) print_draws(epoch_number(index));
  }

  /// `from` is the first sample of the global batch that is listed.
  void print_batch(std::int64_t epoch, std::int64_t batch, std::int64_t from, ChunkedReader& reader,
                   IdsDigest& digest) {
    const loader::BatchRange range = plan_.range(batch);
    const std::int64_t skip = std::clamp<std::int64_t>(from - range.first_sample, 0, range.count);
    ++listed_;
    if (interrupted) output_.flush();
    if (skip > 0 && skip == range.count) return;
    if (!options_.digest) output_.print("{{\"epoch\":{},\"batch\":{},\"ids\":[", epoch, batch);
    for (std::int64_t i = skip; i < range.count;) {
      const auto size = static_cast<std::size_t>(std::min(kChunk, range.count - i));
      ids_.resize(size);
      for (std::int64_t& id : ids_) id = reader.id((range.first + i++) % plan_.positions);
      options_.digest ? digest.add(ids_)
                      : output_.print_ids(ids_, i - static_cast<std::int64_t>(size) > skip);
    }
    if (!options_.digest) output_.print("]}}\n");
  }

  void print_draws(std::int64_t epoch) {
    output_.print("{{\"epoch\":{},\"base_seed\":\"{}\",\"next\":{},\"next_global\":{}}}\n", epoch,
                  sampler_->base_seed(), next_draw(generators_.loader), next_draw(generators_.global));
  }

  void print_worker_seeds(std::int64_t epoch) {
    for (int worker = 0; worker < options_.workers; ++worker) {
      const loader::WorkerSeed seed =
          loader::worker_seed(sampler_->base_seed(), static_cast<std::uint32_t>(worker));
      output_.print("{{\"epoch\":{},\"worker\":{},\"seed\":\"{}\",\"first_draw\":\"{}\",\"numpy\":[{}]}}\n",
                    epoch, worker, seed.torch, loader::TorchGenerator(seed.torch).peek_int64(),
                    fmt::join(seed.numpy, ","));
    }
  }

  void print_notes() {
    if (options_.worker_seeds && options_.workers == 0)
      note_ = "--worker-seeds: there are no workers (--workers 0)";
    if (!note_.empty() && !options_.quiet) fmt::print(stderr, "list_samples: note: {}\n", note_);
  }

  const Options& options_;
  Output& output_;
  std::string note_;
  Generators generators_;
  loader::SamplerPtr sampler_;
  loader::BatchPlan plan_;
  loader::FetchPlan fetch_plan_;
  std::int64_t listed_ = 0;
  std::vector<std::int64_t> ids_;
};

}  // namespace

void list(const Options& options, Output& output) {
  if (options.permutation) {
    list_permutation(options, output);
  } else if (options.split) {
    list_split(options, output);
  } else {
    EpochListing(options, output).list();
  }
  output.flush();
}

}  // namespace lockstep::list_samples
