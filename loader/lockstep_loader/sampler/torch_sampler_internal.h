#pragma once
// What the torch samplers have in common: base seeds, epochs in sequence, generators that move on when an
// epoch closes.

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "lockstep_loader/sampler/torch_fetch_internal.h"
#include "lockstep_loader/sampler/torch_order.h"

namespace lockstep::loader {

/// An order whose ids are made when the first of them is asked for, so that an epoch that is only passed
/// through costs nothing but skipping its draws.
class LazyOrder final : public EpochOrder {
 public:
  using Make = std::function<EpochOrderPtr()>;

  LazyOrder(std::int64_t size, Make make) : size_(size), make_(std::move(make)) {}
  std::int64_t size() const override { return size_; }
  void ids(std::int64_t first, std::span<std::int64_t> out) const override {
    std::call_once(once_, [this] { order_ = make_(); });
    order_->ids(first, out);
  }

 private:
  std::int64_t size_;
  Make make_;
  mutable std::once_flag once_;
  mutable EpochOrderPtr order_;
};

class TorchSampler : public Sampler, public std::enable_shared_from_this<TorchSampler> {
 public:
  EpochOrderPtr begin_epoch(std::int64_t epoch, const FetchPlan& plan) final;
  void end_epoch(std::int64_t batches_taken, bool exhausted) final;
  std::uint64_t base_seed() const final { return base_seed_; }
  std::string state() const final;
  void restore(const std::string& bytes) final;
  std::string describe() const final;

 protected:
  /// Which engine the sampler draws from.
  enum class Engine {
    none,   ///< it draws nothing from the generators it is given
    given,  ///< its own generator, or else the global one
    fresh,  ///< a new one seeded by an int64 of the global generator, unless it has its own
  };

  /// Throws Error(invalid_argument) when `engine` needs a generator that is null.
  TorchSampler(Engine engine, TorchGenerators generators);

  virtual EpochOrderPtr make_order(std::int64_t epoch, TorchGenerator engine) const = 0;
  /// 32-bit outputs that an epoch takes from the engine when it is read so far.
  virtual std::uint64_t outputs(const Pulled& pulled) const = 0;
  virtual std::string describe_order() const = 0;
  virtual bool epochs_in_sequence() const { return true; }

 private:
  struct OpenEpoch {
    std::int64_t epoch = 0;
    FetchPlan plan;
    std::string state_before;
  };

  bool seeds_fresh_engine() const { return engine_ == Engine::fresh && !generators_.sampler; }
  TorchGenerator& given_engine() const;
  TorchGenerator engine_copy() const;
  void draw_base_seed(const FetchPlan& plan);
  std::string snapshot() const;

  Engine engine_;
  TorchGenerators generators_;
  std::int64_t next_epoch_ = 0;
  std::uint64_t base_seed_ = 0;
  bool workers_persist_ = false;  // the iterator of an earlier epoch lives on and keeps its base seed
  std::optional<OpenEpoch> open_;
};

}  // namespace lockstep::loader
