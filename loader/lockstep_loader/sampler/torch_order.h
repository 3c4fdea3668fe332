#pragma once
// Torch order: the samplers of torch.utils.data as PyTorch 2.11 runs them inside a DataLoader, bit for bit,
// with every draw that the loader itself makes. The rules are in README.md.
//
// Epochs must be opened in sequence (DistributedSampler excepted) and closed with end_epoch before the next
// begins. The generators that an epoch draws from have moved on when it is closed; between begin_epoch and
// end_epoch only the base seed has been taken. So samplers that share a generator take turns epoch by epoch.
// Not thread-safe; the orders are.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "lockstep_loader/order/torch_generator.h"
#include "lockstep_loader/sampler/sampler.h"

namespace lockstep::loader {

/// Where draws come from. Pointers may be shared: the same object for the loader and the sampler is
/// DataLoader(…, sampler=RandomSampler(…, generator=g), generator=g).
struct TorchGenerators {
  TorchGeneratorPtr loader;   ///< DataLoader(generator=…), or null
  TorchGeneratorPtr sampler;  ///< generator=… of a sampler made by hand, or null
  TorchGeneratorPtr
      global;  ///< the default generator, as torch.manual_seed leaves it; may be null where nothing needs it
};

/// SequentialSampler. Draws nothing but the loader's base seed.
/// All factories throw Error(invalid_argument) when a draw needs a generator that is null, saying which.
SamplerPtr torch_sequential(std::int64_t records, const TorchGenerators& generators);

struct TorchRandomOptions {
  std::int64_t records = 0;
  bool replacement = false;
  std::optional<std::int64_t> samples;  ///< num_samples
};

/// RandomSampler. For shuffle=True, whose sampler the loader makes, pass the loader's generator as `sampler`
/// too. Throws Error(invalid_argument) for no samples, as PyTorch does: an empty dataset cannot be shuffled.
SamplerPtr torch_random(const TorchRandomOptions& options, const TorchGenerators& generators);

struct TorchWeightedOptions {
  std::vector<double> weights;
  std::int64_t samples = 0;
  bool replacement = true;
};

/// WeightedRandomSampler. Drawing without replacement, or a single one, depends on the system's log1p
/// (order/README.md).
SamplerPtr torch_weighted(const TorchWeightedOptions& options, const TorchGenerators& generators);

/// SubsetRandomSampler.
SamplerPtr torch_subset(std::vector<std::int64_t> indices, const TorchGenerators& generators);

struct TorchDistributedOptions {
  std::int64_t records = 0;
  int rank = 0;
  int world_size = 1;
  bool shuffle = true;
  std::uint64_t seed = 0;
  bool drop_last = false;
};

/// DistributedSampler, with set_epoch(epoch) called before each epoch: any epoch, in any sequence. The rank's
/// own positions only; PyTorch's rule (every world_size-th position, padded), not the cut of the global
/// batch.
SamplerPtr torch_distributed(const TorchDistributedOptions& options, const TorchGenerators& generators);

}  // namespace lockstep::loader
