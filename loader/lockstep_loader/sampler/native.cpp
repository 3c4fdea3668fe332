#include "lockstep_loader/sampler/native.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/random/philox.h"
#include "lockstep_loader/order/index_cipher.h"
#include "lockstep_loader/order/weight_table.h"
#include "lockstep_loader/sampler/checks_internal.h"

namespace lockstep::loader {
namespace {

__extension__ using Wide = unsigned __int128;

/// floor(x * bound / 2^128) for the 128 bits x of one Philox block.
std::uint64_t draw_below(std::uint64_t bound, std::uint64_t seed, std::uint32_t stream, std::uint32_t epoch,
                         std::int64_t position) {
  const auto at = static_cast<std::uint64_t>(position);
  const random::Block block = random::philox4x32(
      seed, {stream, epoch, static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at >> 32)});
  const std::uint64_t high = std::uint64_t{block[0]} << 32 | block[1];
  const std::uint64_t low = std::uint64_t{block[2]} << 32 | block[3];
  return static_cast<std::uint64_t>((Wide{high} * bound + (Wide{low} * bound >> 64)) >> 64);
}

class SequentialOrder final : public EpochOrder {
 public:
  explicit SequentialOrder(std::int64_t size) : size_(size) {}
  std::int64_t size() const override { return size_; }
  void ids(std::int64_t first, std::span<std::int64_t> out) const override {
    for (std::int64_t& id : out) id = first++;
  }

 private:
  std::int64_t size_;
};

class PermutedOrder final : public EpochOrder {
 public:
  PermutedOrder(std::int64_t records, std::int64_t samples, std::uint64_t seed, std::int64_t epoch)
      : records_(records), samples_(samples), seed_(seed), epoch_(epoch), first_(records, seed, epoch) {}
  std::int64_t size() const override { return samples_; }

  void ids(std::int64_t first, std::span<std::int64_t> out) const override {
    while (!out.empty()) {
      const std::int64_t repeat = first / records_;
      const std::int64_t position = first % records_;
      const auto part = std::min<std::int64_t>(static_cast<std::int64_t>(out.size()), records_ - position);
      const auto now = out.first(static_cast<std::size_t>(part));
      if (repeat == 0) {
        first_.ids(position, now);
      } else {
        IndexCipher(records_, seed_, epoch_, static_cast<std::uint32_t>(repeat)).ids(position, now);
      }
      out = out.subspan(now.size());
      first += part;
    }
  }

 private:
  std::int64_t records_;
  std::int64_t samples_;
  std::uint64_t seed_;
  std::int64_t epoch_;
  IndexCipher first_;
};

class ReplacementOrder final : public EpochOrder {
 public:
  ReplacementOrder(std::int64_t records, std::int64_t samples, std::uint64_t seed, std::int64_t epoch)
      : records_(static_cast<std::uint64_t>(records)),
        samples_(samples),
        seed_(seed),
        epoch_(checked_epoch(epoch)) {}
  std::int64_t size() const override { return samples_; }
  void ids(std::int64_t first, std::span<std::int64_t> out) const override {
    for (std::int64_t& id : out) {
      id = static_cast<std::int64_t>(draw_below(records_, seed_, kReplacementStream, epoch_, first++));
    }
  }

 private:
  std::uint64_t records_;
  std::int64_t samples_;
  std::uint64_t seed_;
  std::uint32_t epoch_;
};

class WeightedOrder final : public EpochOrder {
 public:
  WeightedOrder(std::shared_ptr<const WeightTable> table, std::int64_t samples, std::uint64_t seed,
                std::int64_t epoch)
      : table_(std::move(table)), samples_(samples), seed_(seed), epoch_(checked_epoch(epoch)) {}
  std::int64_t size() const override { return samples_; }
  void ids(std::int64_t first, std::span<std::int64_t> out) const override {
    for (std::int64_t& id : out) {
      id = table_->find(draw_below(table_->total(), seed_, kWeightedStream, epoch_, first++));
    }
  }

 private:
  std::shared_ptr<const WeightTable> table_;
  std::int64_t samples_;
  std::uint64_t seed_;
  std::uint32_t epoch_;
};

class SubsetOrder final : public EpochOrder {
 public:
  SubsetOrder(std::shared_ptr<const std::vector<std::int64_t>> indices, EpochOrderPtr places)
      : indices_(std::move(indices)), places_(std::move(places)) {}
  std::int64_t size() const override { return places_->size(); }
  void ids(std::int64_t first, std::span<std::int64_t> out) const override {
    places_->ids(first, out);
    for (std::int64_t& id : out) id = (*indices_)[static_cast<std::size_t>(id)];
  }

 private:
  std::shared_ptr<const std::vector<std::int64_t>> indices_;
  EpochOrderPtr places_;
};

class NativeSequential final : public Sampler {
 public:
  explicit NativeSequential(std::int64_t records) : order_(std::make_shared<SequentialOrder>(records)) {}
  std::int64_t size() const override { return order_->size(); }
  EpochOrderPtr begin_epoch(std::int64_t epoch, const FetchPlan&) override {
    checked_epoch(epoch);
    return order_;
  }
  std::string describe() const override { return fmt::format("native sequential, {} records", size()); }

 private:
  EpochOrderPtr order_;
};

class NativeRandom final : public Sampler {
 public:
  explicit NativeRandom(const NativeRandomOptions& options)
      : options_(options), samples_(options.samples.value_or(options.records)) {}
  std::int64_t size() const override { return samples_; }
  bool with_replacement() const override { return options_.replacement || samples_ > options_.records; }

  EpochOrderPtr begin_epoch(std::int64_t epoch, const FetchPlan&) override {
    const auto& [records, seed, replacement, samples] = options_;
    if (replacement) return std::make_shared<ReplacementOrder>(records, samples_, seed, epoch);
    return std::make_shared<PermutedOrder>(records, samples_, seed, epoch);
  }

  std::string describe() const override {
    return fmt::format("native random{}, {} records, {} samples, seed {}",
                       options_.replacement ? " with replacement" : "", options_.records, samples_,
                       options_.seed);
  }

 private:
  NativeRandomOptions options_;
  std::int64_t samples_;
};

class NativeWeighted final : public Sampler {
 public:
  explicit NativeWeighted(const NativeWeightedOptions& options)
      : table_(std::make_shared<WeightTable>(options.weights)),
        checksum_(weights_checksum(options.weights)),
        samples_(options.samples.value_or(static_cast<std::int64_t>(options.weights.size()))),
        seed_(options.seed) {}
  std::int64_t size() const override { return samples_; }
  bool with_replacement() const override { return true; }
  EpochOrderPtr begin_epoch(std::int64_t epoch, const FetchPlan&) override {
    return std::make_shared<WeightedOrder>(table_, samples_, seed_, epoch);
  }
  std::string describe() const override {
    return fmt::format("native weighted with replacement, {} weights ({}), {} samples, seed {}",
                       table_->size(), checksum_, samples_, seed_);
  }

 private:
  std::shared_ptr<const WeightTable> table_;
  std::string checksum_;
  std::int64_t samples_;
  std::uint64_t seed_;
};

class NativeSubset final : public Sampler {
 public:
  explicit NativeSubset(const NativeSubsetOptions& options)
      : indices_(std::make_shared<std::vector<std::int64_t>>(options.indices)),
        seed_(options.seed),
        shuffle_(options.shuffle),
        repeats_(has_repeats(options.indices)) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(indices_->size()); }
  bool with_replacement() const override { return repeats_; }

  EpochOrderPtr begin_epoch(std::int64_t epoch, const FetchPlan&) override {
    checked_epoch(epoch);
    EpochOrderPtr places = std::make_shared<SequentialOrder>(size());
    if (shuffle_) places = std::make_shared<PermutedOrder>(size(), size(), seed_, epoch);
    return std::make_shared<SubsetOrder>(indices_, std::move(places));
  }

  std::string describe() const override {
    return fmt::format("native subset{}, {} indices ({}), seed {}", shuffle_ ? "" : " in order", size(),
                       ids_checksum(*indices_), seed_);
  }

 private:
  std::shared_ptr<const std::vector<std::int64_t>> indices_;
  std::uint64_t seed_;
  bool shuffle_;
  bool repeats_;
};

}  // namespace

SamplerPtr native_sequential(std::int64_t records) {
  check_count("records", records);
  return std::make_shared<NativeSequential>(records);
}

SamplerPtr native_random(const NativeRandomOptions& options) {
  check_count("records", options.records);
  const std::int64_t samples = options.samples.value_or(options.records);
  check_count("samples", samples);
  if (samples > 0 && options.records == 0) {
    fail(ErrorCode::invalid_argument,
         {"sampler", "samples from a dataset without records", "0", std::to_string(samples),
          "Check the path or the filter that made the dataset"});
  }
  if (!options.replacement && options.records > 0 && samples / options.records > 0xffffffff) {
    fail(ErrorCode::invalid_argument,
         {"sampler", "samples", "less than 2^32 times the records", std::to_string(samples), {}});
  }
  return std::make_shared<NativeRandom>(options);
}

SamplerPtr native_weighted(const NativeWeightedOptions& options) {
  check_count("samples", options.samples.value_or(0));
  return std::make_shared<NativeWeighted>(options);
}

SamplerPtr native_subset(const NativeSubsetOptions& options) {
  check_indices(options.indices);
  return std::make_shared<NativeSubset>(options);
}

}  // namespace lockstep::loader
