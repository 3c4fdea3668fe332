#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/state/archive.h"
#include "lockstep_loader/sampler/torch_sampler_internal.h"

namespace lockstep::loader {
namespace {

constexpr std::uint32_t kStateVersion = 1;

/// Generators that are the same object are stored once, in the first place that names it.
struct SavedState {
  std::uint32_t version = kStateVersion;
  std::string sampler;
  std::int64_t next_epoch = 0;
  std::uint64_t base_seed = 0;
  bool workers_persist = false;
  std::string loader_generator;
  std::string sampler_generator;
  std::string global_generator;

  template <class Archive>
  void serialize(Archive& archive, unsigned) {
    archive& version& sampler& next_epoch& base_seed& workers_persist& loader_generator& sampler_generator&
        global_generator;
  }
};

std::string saved(const TorchGeneratorPtr& generator) {
  return generator ? generator->state() : std::string();
}

[[noreturn]] void other_sampler(const std::string& expected, const std::string& got) {
  fail(ErrorCode::invalid_argument,
       {"torch order", "state", "one of \"" + expected + "\"", "one of \"" + got + "\"",
        "Restore with the options and seeds that the state was taken with"});
}

}  // namespace

TorchSampler::TorchSampler(Engine engine, TorchGenerators generators)
    : engine_(engine), generators_(std::move(generators)) {
  if (engine_ == Engine::none || generators_.sampler || generators_.global) return;
  fail(ErrorCode::invalid_argument,
       {"torch order", "generator of the sampler", "its own or the global one", "neither",
        "PyTorch would draw from an unseeded generator here: seed the global one or give the sampler one"});
}

TorchGenerator& TorchSampler::given_engine() const {
  return generators_.sampler ? *generators_.sampler : *generators_.global;
}

TorchGenerator TorchSampler::engine_copy() const {
  if (engine_ == Engine::none) return TorchGenerator(0);
  TorchGenerator copy = given_engine();
  if (!seeds_fresh_engine()) return copy;
  return TorchGenerator(static_cast<std::uint64_t>(copy.random_int64()));
}

void TorchSampler::draw_base_seed(const FetchPlan& plan) {
  const bool persistent = plan.persistent_workers && plan.workers > 0;
  if (persistent && workers_persist_) return;
  const TorchGeneratorPtr& generator = generators_.loader ? generators_.loader : generators_.global;
  base_seed_ = generator ? static_cast<std::uint64_t>(generator->random_int64()) : 0;
  workers_persist_ = persistent;
}

EpochOrderPtr TorchSampler::begin_epoch(std::int64_t epoch, const FetchPlan& plan) {
  check_plan(plan);
  if (open_) {
    fail(ErrorCode::invalid_argument,
         {"torch order", "epoch " + std::to_string(epoch), "the epoch before to be closed",
          "epoch " + std::to_string(open_->epoch) + " still open", "Call end_epoch first"});
  }
  if (epoch < 0 || (epochs_in_sequence() && epoch != next_epoch_)) {
    fail(ErrorCode::invalid_argument,
         {"torch order", "epoch", std::to_string(next_epoch_), std::to_string(epoch),
          "Each epoch of torch order begins where the one before left the generator: open them in sequence, "
          "restore a "
          "state, or use native order"});
  }
  open_ = OpenEpoch{epoch, plan, snapshot()};
  draw_base_seed(plan);
  return std::make_shared<LazyOrder>(size(), [self = shared_from_this(), epoch, engine = engine_copy()] {
    return self->make_order(epoch, engine);
  });
}

void TorchSampler::end_epoch(std::int64_t batches_taken, bool exhausted) {
  if (!open_) {
    fail(ErrorCode::invalid_argument,
         {"torch order", "end_epoch", "an open epoch", "none", "Call begin_epoch first"});
  }
  const Pulled pulled = indices_pulled(size(), open_->plan, batches_taken, exhausted);
  if (engine_ != Engine::none && pulled.started) {
    constexpr std::uint64_t kSeedOutputs = 2;
    given_engine().discard(seeds_fresh_engine() ? kSeedOutputs : outputs(pulled));
  }
  next_epoch_ = open_->epoch + 1;
  open_.reset();
}

std::string TorchSampler::snapshot() const {
  SavedState state;
  state.sampler = describe();
  state.next_epoch = next_epoch_;
  state.base_seed = base_seed_;
  state.workers_persist = workers_persist_;
  state.loader_generator = saved(generators_.loader);
  if (generators_.sampler != generators_.loader) state.sampler_generator = saved(generators_.sampler);
  if (generators_.global != generators_.loader && generators_.global != generators_.sampler) {
    state.global_generator = saved(generators_.global);
  }
  return state::to_bytes(state);
}

std::string TorchSampler::state() const { return open_ ? open_->state_before : snapshot(); }

void TorchSampler::restore(const std::string& bytes) {
  const auto state = state::from_bytes<SavedState>(bytes);
  if (state.version != kStateVersion) {
    fail(ErrorCode::unsupported, {"torch order", "version of the state", std::to_string(kStateVersion),
                                  std::to_string(state.version), "Use the release that wrote it"});
  }
  if (state.sampler != describe()) other_sampler(describe(), state.sampler);
  // All of them are read before the first is changed, so that a damaged state leaves the sampler as it was.
  const auto read = [](const std::string& blob) {
    return blob.empty() ? std::optional<TorchGenerator>() : TorchGenerator::from_state(blob);
  };
  const auto loader = read(state.loader_generator);
  const auto sampler = read(state.sampler_generator);
  const auto global = read(state.global_generator);
  const auto assign = [&](const TorchGeneratorPtr& to, const std::optional<TorchGenerator>& from) {
    if (!from) return;
    if (!to) other_sampler(describe(), "a sampler with another generator");
    *to = *from;
  };
  assign(generators_.loader, loader);
  assign(generators_.sampler, sampler);
  assign(generators_.global, global);
  next_epoch_ = state.next_epoch;
  base_seed_ = state.base_seed;
  workers_persist_ = state.workers_persist;
  open_.reset();
}

std::string TorchSampler::describe() const {
  std::string text = "torch " + describe_order();
  const auto add = [&text](const char* role, const TorchGeneratorPtr& generator) {
    if (generator) text += fmt::format(", {} generator seed {}", role, generator->seed());
  };
  add("loader's", generators_.loader);
  if (generators_.sampler && generators_.sampler == generators_.loader) {
    text += " in the sampler too";
  } else {
    add("sampler's", generators_.sampler);
  }
  add("global", generators_.global);
  return text;
}

}  // namespace lockstep::loader
