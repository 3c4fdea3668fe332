#pragma once
// How far a DataLoader's sampler has been read when an epoch ends, which decides what was drawn.

#include <cstdint>

#include "lockstep_loader/sampler/sampler.h"

namespace lockstep::loader {

struct Pulled {
  bool started = false;      ///< at least one index was asked for
  std::int64_t indices = 0;  ///< indices that were delivered to batches
  bool ended = false;        ///< the sampler was asked for more than it has, so that it ran to its end
};

/// Throws Error(invalid_argument) for a plan that no DataLoader accepts.
void check_plan(const FetchPlan& plan);

/// The rule (README, "Fetches"): without workers one fetch for each batch asked for; with workers, workers ·
/// prefetch at the start and one for each batch before it is handed out. The end is met in fetch T + 1 of T
/// batches, but already in fetch T when its batch is short and kept.
Pulled indices_pulled(std::int64_t samples, const FetchPlan& plan, std::int64_t batches_taken,
                      bool exhausted);

}  // namespace lockstep::loader
