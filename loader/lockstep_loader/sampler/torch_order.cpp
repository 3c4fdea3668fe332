#include "lockstep_loader/sampler/torch_order.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/order/id_list.h"
#include "lockstep_loader/order/torch_draws.h"
#include "lockstep_loader/order/weight_table.h"
#include "lockstep_loader/sampler/checks_internal.h"
#include "lockstep_loader/sampler/native.h"
#include "lockstep_loader/sampler/torch_sampler_internal.h"

namespace lockstep::loader {
namespace {

/// Rows of RandomSampler(replacement=True): PyTorch draws them 32 at a time.
constexpr std::int64_t kBlock = 32;

using Indices = std::shared_ptr<const std::vector<std::int64_t>>;

class ListOrder final : public EpochOrder {
 public:
  explicit ListOrder(IdList ids) : ids_(std::move(ids)) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(ids_.size()); }
  void ids(std::int64_t first, std::span<std::int64_t> out) const override {
    auto at = static_cast<std::size_t>(first);
    for (std::int64_t& id : out) id = ids_[at++];
  }

 private:
  IdList ids_;
};

/// One permutation after the other, the last one cut.
class PermutationsOrder final : public EpochOrder {
 public:
  PermutationsOrder(std::int64_t records, std::int64_t samples, TorchGenerator engine)
      : records_(records), samples_(samples) {
    for (std::int64_t begun = 0; begun < samples; begun += records)
      permutations_.emplace_back(records, engine);
  }
  std::int64_t size() const override { return samples_; }
  void ids(std::int64_t first, std::span<std::int64_t> out) const override {
    std::int64_t position = first % records_;
    auto permutation = permutations_.begin() + first / records_;
    for (std::int64_t& id : out) {
      id = (*permutation)[position];
      if (++position == records_) {
        position = 0;
        ++permutation;
      }
    }
  }

 private:
  std::int64_t records_;
  std::int64_t samples_;
  std::vector<TorchPermutation> permutations_;
};

class PermutedIndicesOrder final : public EpochOrder {
 public:
  PermutedIndicesOrder(Indices indices, TorchGenerator engine)
      : indices_(std::move(indices)), places_(static_cast<std::int64_t>(indices_->size()), engine) {}
  std::int64_t size() const override { return places_.size(); }
  void ids(std::int64_t first, std::span<std::int64_t> out) const override {
    for (std::int64_t& id : out) id = (*indices_)[static_cast<std::size_t>(places_[first++])];
  }

 private:
  Indices indices_;
  TorchPermutation places_;
};

/// Rank r takes positions r, r + world, … of one shuffled list that is repeated as far as needed.
class DistributedOrder final : public EpochOrder {
 public:
  DistributedOrder(const TorchDistributedOptions& options, std::int64_t samples, std::int64_t epoch)
      : options_(options), samples_(samples) {
    if (!options.shuffle) return;
    TorchGenerator engine(options.seed + static_cast<std::uint64_t>(epoch));
    permutation_.emplace(options.records, engine);
  }
  std::int64_t size() const override { return samples_; }
  void ids(std::int64_t first, std::span<std::int64_t> out) const override {
    for (std::int64_t& id : out) {
      id = (first++ * options_.world_size + options_.rank) % options_.records;
      if (permutation_) id = (*permutation_)[id];
    }
  }

 private:
  TorchDistributedOptions options_;
  std::int64_t samples_;
  std::optional<TorchPermutation> permutation_;
};

class TorchSequential final : public TorchSampler {
 public:
  TorchSequential(std::int64_t records, const TorchGenerators& generators)
      : TorchSampler(Engine::none, generators), order_(native_sequential(records)->begin_epoch(0, {})) {}
  std::int64_t size() const override { return order_->size(); }

 protected:
  EpochOrderPtr make_order(std::int64_t, TorchGenerator) const override { return order_; }
  std::uint64_t outputs(const Pulled&) const override { return 0; }
  std::string describe_order() const override { return fmt::format("sequential, {} records", size()); }

 private:
  EpochOrderPtr order_;
};

class TorchRandom final : public TorchSampler {
 public:
  TorchRandom(std::int64_t records, std::int64_t samples, const TorchGenerators& generators)
      : TorchSampler(Engine::fresh, generators), records_(records), samples_(samples) {}
  std::int64_t size() const override { return samples_; }
  bool with_replacement() const override { return samples_ > records_; }

 protected:
  EpochOrderPtr make_order(std::int64_t, TorchGenerator engine) const override {
    return std::make_shared<PermutationsOrder>(records_, samples_, engine);
  }

  // At its end the sampler draws one permutation more: the one that num_samples cuts, or one that nobody
  // sees.
  std::uint64_t outputs(const Pulled& pulled) const override {
    const std::int64_t permutations =
        pulled.ended ? samples_ / records_ + 1 : (pulled.indices + records_ - 1) / records_;
    return static_cast<std::uint64_t>(permutations) * TorchPermutation::outputs(records_);
  }

  std::string describe_order() const override {
    return fmt::format("random, {} records, {} samples", records_, samples_);
  }

 private:
  std::int64_t records_;
  std::int64_t samples_;
};

class TorchReplacement final : public TorchSampler {
 public:
  TorchReplacement(std::int64_t records, std::int64_t samples, const TorchGenerators& generators)
      : TorchSampler(Engine::fresh, generators), records_(records), samples_(samples) {}
  std::int64_t size() const override { return samples_; }
  bool with_replacement() const override { return true; }

 protected:
  EpochOrderPtr make_order(std::int64_t, TorchGenerator engine) const override {
    IdList ids(records_);
    ids.reserve(static_cast<std::size_t>(samples_));
    std::int64_t id = 0;
    for (std::int64_t i = 0; i < samples_; ++i) {
      torch_randint(records_, {&id, 1}, engine);
      ids.push_back(id);
    }
    return std::make_shared<ListOrder>(std::move(ids));
  }

  std::uint64_t outputs(const Pulled& pulled) const override {
    const std::int64_t whole_blocks = (pulled.indices + kBlock - 1) / kBlock * kBlock;
    return static_cast<std::uint64_t>(std::min(samples_, whole_blocks)) * torch_randint_outputs(records_);
  }

  std::string describe_order() const override {
    return fmt::format("random with replacement, {} records, {} samples", records_, samples_);
  }

 private:
  std::int64_t records_;
  std::int64_t samples_;
};

class TorchWeighted final : public TorchSampler {
 public:
  TorchWeighted(const TorchWeightedOptions& options, const TorchGenerators& generators)
      : TorchSampler(Engine::given, generators),
        options_(options),
        records_(static_cast<std::int64_t>(options.weights.size())) {}
  std::int64_t size() const override { return options_.samples; }
  bool with_replacement() const override { return options_.replacement; }

 protected:
  EpochOrderPtr make_order(std::int64_t, TorchGenerator engine) const override {
    IdList ids(records_);
    for (const std::int64_t id : torch_multinomial(options_.weights, size(), options_.replacement, engine)) {
      ids.push_back(id);
    }
    return std::make_shared<ListOrder>(std::move(ids));
  }

  std::uint64_t outputs(const Pulled&) const override {
    return torch_multinomial_outputs(records_, size(), options_.replacement);
  }

  std::string describe_order() const override {
    return fmt::format("weighted {} replacement, {} weights ({}), {} samples",
                       options_.replacement ? "with" : "without", records_,
                       weights_checksum(options_.weights), size());
  }

 private:
  TorchWeightedOptions options_;
  std::int64_t records_;
};

class TorchSubset final : public TorchSampler {
 public:
  TorchSubset(std::vector<std::int64_t> indices, const TorchGenerators& generators)
      : TorchSampler(Engine::given, generators),
        indices_(std::make_shared<const std::vector<std::int64_t>>(std::move(indices))),
        repeats_(has_repeats(*indices_)) {}
  std::int64_t size() const override { return static_cast<std::int64_t>(indices_->size()); }
  bool with_replacement() const override { return repeats_; }

 protected:
  EpochOrderPtr make_order(std::int64_t, TorchGenerator engine) const override {
    return std::make_shared<PermutedIndicesOrder>(indices_, engine);
  }
  std::uint64_t outputs(const Pulled&) const override { return TorchPermutation::outputs(size()); }
  std::string describe_order() const override {
    return fmt::format("subset, {} indices ({})", size(), ids_checksum(*indices_));
  }

 private:
  Indices indices_;
  bool repeats_;
};

class TorchDistributed final : public TorchSampler {
 public:
  TorchDistributed(const TorchDistributedOptions& options, const TorchGenerators& generators)
      : TorchSampler(Engine::none, generators), options_(options) {
    const bool cut = options.drop_last || options.records % options.world_size == 0;
    samples_ = options.records / options.world_size + (cut ? 0 : 1);
  }
  std::int64_t size() const override { return samples_; }
  bool with_replacement() const override { return samples_ * options_.world_size > options_.records; }
  bool is_one_rank() const override { return true; }

 protected:
  EpochOrderPtr make_order(std::int64_t epoch, TorchGenerator) const override {
    return std::make_shared<DistributedOrder>(options_, samples_, epoch);
  }
  std::uint64_t outputs(const Pulled&) const override { return 0; }
  bool epochs_in_sequence() const override { return false; }
  std::string describe_order() const override {
    return fmt::format("distributed{}{}, {} records, rank {} of {}, sampler seed {}",
                       options_.shuffle ? "" : " in order", options_.drop_last ? " with drop_last" : "",
                       options_.records, options_.rank, options_.world_size, options_.seed);
  }

 private:
  TorchDistributedOptions options_;
  std::int64_t samples_ = 0;
};

void check_samples(std::int64_t samples) {
  if (samples > 0) return;
  fail(ErrorCode::invalid_argument,
       {"torch order", "num_samples", "1 or more, as PyTorch asks", std::to_string(samples),
        "An empty dataset can be read in sequence only"});
}

}  // namespace

SamplerPtr torch_sequential(std::int64_t records, const TorchGenerators& generators) {
  return std::make_shared<TorchSequential>(records, generators);
}

SamplerPtr torch_random(const TorchRandomOptions& options, const TorchGenerators& generators) {
  check_count("records", options.records);
  const std::int64_t samples = options.samples.value_or(options.records);
  check_samples(std::min(samples, options.records));
  if (options.replacement) return std::make_shared<TorchReplacement>(options.records, samples, generators);
  return std::make_shared<TorchRandom>(options.records, samples, generators);
}

SamplerPtr torch_weighted(const TorchWeightedOptions& options, const TorchGenerators& generators) {
  check_samples(options.samples);
  check_multinomial(options.weights, options.samples, options.replacement);
  return std::make_shared<TorchWeighted>(options, generators);
}

SamplerPtr torch_subset(std::vector<std::int64_t> indices, const TorchGenerators& generators) {
  check_indices(indices);
  return std::make_shared<TorchSubset>(std::move(indices), generators);
}

SamplerPtr torch_distributed(const TorchDistributedOptions& options, const TorchGenerators& generators) {
  check_count("records", options.records);
  if (options.world_size < 1 || options.rank < 0 || options.rank >= options.world_size) {
    fail(ErrorCode::invalid_argument,
         {"torch order", "rank and world size", "0 <= rank < world size",
          fmt::format("rank {} of {}", options.rank, options.world_size), "Ranks count from 0"});
  }
  return std::make_shared<TorchDistributed>(options, generators);
}

}  // namespace lockstep::loader
