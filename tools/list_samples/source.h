#pragma once
// From the command line to the samplers of the library.

#include <cstdint>

#include "lockstep_loader/batch/batch_plan.h"
#include "lockstep_loader/order/torch_generator.h"
#include "lockstep_loader/sampler/sampler.h"
#include "options.h"

namespace lockstep::list_samples {

/// PyTorch's two generators; null where no seed was given, and in native order.
struct Generators {
  loader::TorchGeneratorPtr loader;
  loader::TorchGeneratorPtr global;

  /// The one that --permutation and --split draw from. Throws Error(invalid_argument) when there is none.
  loader::TorchGenerator& either() const;
};

Generators make_generators(const Options& options);

/// Throws Error(invalid_argument or unsupported) for options that make no sampler. A note that the user
/// should read is put into `note`.
loader::SamplerPtr make_sampler(const Options& options, const Generators& generators, std::string& note);

loader::BatchPlan make_batch_plan(const Options& options, std::int64_t positions);
loader::FetchPlan make_fetch_plan(const Options& options);

}  // namespace lockstep::list_samples
