#pragma once
// The seeds that PyTorch gives its worker processes, for parity with Python training scripts. They tie
// results to the number of workers; lockstep's own transforms draw by record instead.

#include <array>
#include <cstdint>

namespace lockstep::loader {

struct WorkerSeed {
  std::uint64_t torch = 0;               ///< base seed + worker: torch.manual_seed and random.seed
  std::array<std::uint32_t, 4> numpy{};  ///< numpy.random.seed
};

/// Seeds of worker `worker` (0 or more) under `base_seed`, an int64 that is not negative.
WorkerSeed worker_seed(std::uint64_t base_seed, std::uint32_t worker);

}  // namespace lockstep::loader
