#pragma once
// What a trainer adds to the common training loop: a model, how it learns from a micro-batch, and what it
// prints.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <torch/torch.h>

#include "common/options.h"
#include "lockstep/torch/training_recorder.h"
#include "lockstep_loader/dataset/dataset.h"
#include "lockstep_loader/torch/device_batches.h"

namespace lockstep::trainers {

/// Consecutive samples of the global batch, as tensors over the loader's own memory or copies on a device.
struct MicroBatch {
  std::vector<NamedTensor> fields;  ///< [rows, …record shape]
  std::int64_t first_sample = 0;    ///< in the global batch
  std::int64_t rows = 0;
  std::int64_t global_rows = 0;
  bool invariant = false;  ///< in the invariant mode, whose losses are means over the global batch already

  /// Throws Error(not_found) naming the fields there are.
  const torch::Tensor& field(const std::string& name) const;
  bool last() const { return first_sample + rows == global_rows; }
  /// This micro-batch's part of the mean over the global batch, from `loss`, a loss function's own mean.
  torch::Tensor part_of_mean(const torch::Tensor& loss) const;
};

/// A whole batch as one part.
MicroBatch whole_batch(const loader::DeviceBatch& batch);

/// The share of a dataset's samples that are right, from batches of many on the training's device, with its
/// workers. `count_correct` gives a scalar for each batch; gradients are off.
double share_of_correct(const loader::DatasetPtr& dataset, const TrainingOptions& options,
                        const std::function<torch::Tensor(const MicroBatch&)>& count_correct);

struct PartResult {
  torch::Tensor loss;                    ///< scalar, this micro-batch's part of the global batch's loss
  std::optional<torch::Tensor> correct;  ///< scalar, samples that were right, where that has a meaning
};

class Task {
 public:
  virtual ~Task() = default;

  virtual torch::nn::Module& module() = 0;
  /// Null for a task that updates its parameters itself.
  virtual torch::optim::Optimizer* optimizer() = 0;

  /// Before the first micro-batch of step `step`, counted from 0 over the whole run, resumed parts included.
  virtual void begin_step(std::int64_t step) { (void)step; }
  /// Forward and backward: adds this micro-batch's gradients to the parameters' `.grad`. In the invariant
  /// mode an accumulator does that, and the loss returned here is shown to nobody.
  virtual PartResult accumulate(const MicroBatch& part) = 0;
  /// The loss of a global batch in the invariant mode, from what the accumulator says of the loss function.
  virtual float invariant_loss(float accumulated) { return accumulated; }
  /// Whether an accumulator sums this task's gradients in the invariant mode; else the task does.
  virtual bool uses_autograd() const { return true; }
  /// One optimizer step with the gradients of the whole global batch.
  virtual void update() { optimizer()->step(); }
  virtual void zero_gradients() { module().zero_grad(); }

  /// What --verbose prints after a step, ended by a newline. May be empty.
  virtual std::string step_report() { return {}; }
};

}  // namespace lockstep::trainers
