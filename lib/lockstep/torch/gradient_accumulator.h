#pragma once
// One gradient from many micro-batches, with the bits that one backward over the whole batch would give.

#include <ATen/core/Tensor.h>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <torch/nn/module.h>

namespace lockstep {

namespace invariant {
class Accumulation;
struct MicroBatch;
}  // namespace invariant

/// Sums gradients over the samples of a global batch that goes through the model in pieces:
///
///     GradientAccumulator accumulator(*model);
///     accumulator.begin(64);
///     for (auto [first, samples] : cuts) {
///       const auto micro_batch = accumulator.micro_batch(first, samples);
///       torch::cross_entropy_loss(model->forward(x.narrow(0, first, samples)), y.narrow(0, first,
///       samples)).backward();
///     }
///     const auto loss = accumulator.finish();   // .grad of every parameter is there
///     optimizer.step();
///
/// Inside the invariant mode the parameters, wherever the cuts are, get the gradient of one backward over the
/// whole batch, bit for bit (contracts, section 4): weight gradients go straight into accumulators of fp32,
/// one for each place where a parameter is used, and a cut rounds nothing. A loss's own mean is over the
/// global batch, so the loss of a micro-batch is not divided again. Not for several threads at a time.
class GradientAccumulator {
 public:
  /// Parameters that need no gradient are left out. Throws Error(invalid_argument) where none is left, one is
  /// not a leaf or not float32.
  explicit GradientAccumulator(std::vector<at::Tensor> parameters);
  /// Parameters with names, by which errors speak: `module.named_parameters()`.
  explicit GradientAccumulator(const torch::OrderedDict<std::string, at::Tensor>& named_parameters);
  /// A module's parameters under their own names.
  explicit GradientAccumulator(const torch::nn::Module& module);
  ~GradientAccumulator();
  GradientAccumulator(const GradientAccumulator&) = delete;
  GradientAccumulator& operator=(const GradientAccumulator&) = delete;

  /// Begins a global batch of `samples`. `count` is the number of targets that the loss counts in all of it
  /// (or their weight); it must be given where targets may be ignored or weighted, and is otherwise told by
  /// the first loss. Throws Error(invalid_argument) when a batch is begun already, for samples or a count
  /// that is not above 0, and for a parameter with a gradient that is not zero.
  void begin(std::int64_t samples, std::optional<double> count = std::nullopt);

  /// A part of the global batch: its forward and its one backward happen while the object lives, in this
  /// thread. Every micro-batch meets LibTorch's default generator in the state in which the first one met it,
  /// and leaves it as the first one did, so that what a forward draws (dropout's keys) is the same in all of
  /// them.
  class Scope {
   public:
    ~Scope();
    Scope(Scope&& other) noexcept;
    Scope& operator=(Scope&&) = delete;

   private:
    friend class GradientAccumulator;
    Scope(std::shared_ptr<invariant::MicroBatch> micro_batch, at::Tensor draws_after);
    std::shared_ptr<invariant::MicroBatch> micro_batch_, before_;
    at::Tensor draws_after_;  ///< LibTorch's generator from then on; undefined: as it is
  };

  /// Samples first_sample … first_sample + samples - 1 of the global batch. Micro-batches come in ascending
  /// order without a gap. `lengths`: the rows of each sample, where samples of different length are packed;
  /// else every sample has the same number. Throws Error(invalid_argument) outside of begin() … finish(), for
  /// a gap, an overlap, another order, a micro-batch that is still open, and outside of the invariant mode.
  [[nodiscard]] Scope micro_batch(std::int64_t first_sample, std::int64_t samples,
                                  std::vector<std::int64_t> lengths = {});

  /// Fills .grad and ends the global batch. Returns the loss, total / count, rounded once: of the loss
  /// operation that the micro-batches used, the sum of them where there were several, and NaN where there was
  /// none (losses() tells each). Throws Error(invalid_argument) where samples are missing, a parameter got no
  /// gradient, or the targets counted are not `count`; the batch is then ended too, and no .grad is touched.
  float finish();
  /// The losses of the last finished batch, in the order in which the forward met them.
  const std::vector<float>& losses() const { return losses_; }

  /// Ends a begun global batch without gradients, after an exception for example.
  void cancel();

  /// Bytes that accumulators hold now.
  std::int64_t bytes() const;

 private:
  bool is_open() const;
  void check_complete() const;
  void end();

  std::shared_ptr<invariant::Accumulation> accumulation_;
  std::weak_ptr<invariant::MicroBatch> open_;
  std::vector<float> losses_;
};

}  // namespace lockstep
