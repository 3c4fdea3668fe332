#include "source.h"

#include <algorithm>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep_loader/sampler/native.h"
#include "lockstep_loader/sampler/torch_order.h"

namespace lockstep::list_samples {
namespace {

[[noreturn]] void usage(std::string what, std::string expected, std::string got, std::string next) {
  fail(ErrorCode::invalid_argument,
       {"list_samples", std::move(what), std::move(expected), std::move(got), std::move(next)});
}

const char* name(SamplerKind kind) {
  switch (kind) {
    case SamplerKind::sequential:
      return "sequential";
    case SamplerKind::random:
      return "random";
    case SamplerKind::weighted:
      return "weighted";
    case SamplerKind::subset:
      return "subset";
  }
  return "";
}

void check_lists(const Options& options) {
  const SamplerKind kind = options.sampler;
  if (kind == SamplerKind::weighted && options.weights.empty())
    usage("--weights", "at least one", "none", {});
  if (kind != SamplerKind::weighted && !options.weights.empty()) {
    usage("--weights", "--sampler weighted", fmt::format("--sampler {}", name(kind)), {});
  }
  if (kind != SamplerKind::subset && !options.indices.empty()) {
    usage("--indices", "--sampler subset", fmt::format("--sampler {}", name(kind)), {});
  }
  if (!options.count) return;
  if (static_cast<std::int64_t>(options.weights.size()) > *options.count) {
    usage("--weights", fmt::format("at most {}, one a record", *options.count),
          std::to_string(options.weights.size()), {});
  }
  const auto outside = std::find_if(options.indices.begin(), options.indices.end(),
                                    [&](std::int64_t index) { return index >= *options.count; });
  if (outside != options.indices.end()) {
    usage("--indices", fmt::format("ids below --count {}", *options.count), std::to_string(*outside), {});
  }
}

void check_draw_flags(const Options& options) {
  const bool draws = options.sampler == SamplerKind::random || options.sampler == SamplerKind::weighted;
  if (options.replacement && !draws) {
    usage("--replacement", "--sampler random or weighted", fmt::format("--sampler {}", name(options.sampler)),
          {});
  }
  if (options.num_samples && !draws) {
    usage("--num-samples", "--sampler random or weighted", fmt::format("--sampler {}", name(options.sampler)),
          {});
  }
}

std::int64_t records(const Options& options) {
  if (options.count) return *options.count;
  usage("--count", "the number of records", "none", "Pass --count N");
}

loader::SamplerPtr native_sampler(const Options& options) {
  const std::uint64_t seed = options.seed.value_or(0);
  switch (options.sampler) {
    case SamplerKind::sequential:
      return loader::native_sequential(records(options));
    case SamplerKind::random:
      return loader::native_random({records(options), seed, options.replacement, options.num_samples});
    case SamplerKind::subset:
      return loader::native_subset({options.indices, seed, true});
    case SamplerKind::weighted:
      break;
  }
  if (!options.replacement) {
    fail(ErrorCode::unsupported,
         {"list_samples", "--sampler weighted without --replacement", "--replacement", "none",
          "In native order each draw depends on its position alone, so it cannot know which records are used "
          "up: draw "
          "with replacement, or use --order torch"});
  }
  return loader::native_weighted({options.weights, seed, options.num_samples});
}

bool made_by_hand(const Options& options) {
  if (options.sampler == SamplerKind::random) return options.replacement || options.num_samples;
  return options.sampler == SamplerKind::weighted || options.sampler == SamplerKind::subset;
}

/// Which generator reaches the sampler; the rule is told by --help and the README.
loader::TorchGeneratorPtr sampler_generator(const Options& options, const Generators& generators,
                                            std::string& note) {
  if (!made_by_hand(options)) return generators.loader;
  if (options.sampler_generator == SamplerGenerator::loader && !generators.loader) {
    usage("--sampler-generator loader", "--seed", "none", "Pass --seed S");
  }
  if (options.sampler_generator == SamplerGenerator::loader) return generators.loader;
  if (options.sampler_generator == SamplerGenerator::global || generators.global) return nullptr;
  if (generators.loader) {
    note =
        "only --seed is given, so the sampler draws from the loader's generator: generator=g in both places";
  }
  return generators.loader;
}

void check_seeded(const Options& options, const Generators& generators) {
  if (generators.loader || generators.global) return;
  const bool draws = options.draws || options.worker_seeds;
  const bool random_order = !options.distributed && options.sampler != SamplerKind::sequential;
  if (!draws && !random_order) return;
  usage("--seed or --global-seed", "one of them", "neither",
        "Without a seed PyTorch's order is another one in every run: pass --seed S for a generator handed to "
        "the loader, "
        "--global-seed S for torch.manual_seed(S)");
}

loader::SamplerPtr torch_sampler(const Options& options, const Generators& generators, std::string& note) {
  check_seeded(options, generators);
  loader::TorchGenerators given{generators.loader, nullptr, generators.global};
  if (options.distributed) {
    return loader::torch_distributed(
        {records(options), options.rank, options.world_size, options.sampler != SamplerKind::sequential,
         options.sampler_seed, options.sampler_drop_last},
        given);
  }
  given.sampler = sampler_generator(options, generators, note);
  switch (options.sampler) {
    case SamplerKind::sequential:
      return loader::torch_sequential(records(options), given);
    case SamplerKind::random:
      return loader::torch_random({records(options), options.replacement, options.num_samples}, given);
    case SamplerKind::subset:
      return loader::torch_subset(options.indices, given);
    case SamplerKind::weighted:
      break;
  }
  const auto weights = static_cast<std::int64_t>(options.weights.size());
  return loader::torch_weighted({options.weights, options.num_samples.value_or(weights), options.replacement},
                                given);
}

}  // namespace

loader::TorchGenerator& Generators::either() const {
  if (loader) return *loader;
  if (global) return *global;
  usage("--seed or --global-seed", "one of them", "neither",
        "Pass the seed of the generator that is drawn from");
}

Generators make_generators(const Options& options) {
  Generators generators;
  if (options.order == Order::native) return generators;
  if (options.seed) generators.loader = std::make_shared<loader::TorchGenerator>(*options.seed);
  if (options.global_seed) generators.global = std::make_shared<loader::TorchGenerator>(*options.global_seed);
  return generators;
}

loader::SamplerPtr make_sampler(const Options& options, const Generators& generators, std::string& note) {
  check_lists(options);
  check_draw_flags(options);
  return options.order == Order::native ? native_sampler(options) : torch_sampler(options, generators, note);
}

// A DistributedSampler has made the rank's own list already: its batches are not cut again.
loader::BatchPlan make_batch_plan(const Options& options, std::int64_t positions) {
  loader::BatchPlan plan;
  plan.positions = positions;
  plan.batch_size = options.batch_size;
  if (options.drop_last) plan.last = loader::LastBatch::drop;
  if (options.wrap_last) plan.last = loader::LastBatch::wrap;
  if (!options.distributed) {
    plan.rank = options.rank;
    plan.world_size = options.world_size;
  }
  plan.check();
  return plan;
}

loader::FetchPlan make_fetch_plan(const Options& options) {
  return {options.batch_size, options.drop_last, options.workers, options.prefetch_factor,
          options.persistent_workers};
}

}  // namespace lockstep::list_samples
