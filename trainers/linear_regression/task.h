#pragma once
// Linear regression twice: with gradients written by hand, and with torch::nn::Linear, autograd and SGD. Both
// minimise half the mean squared error.

#include <cstdint>
#include <memory>
#include <string>

#include <torch/torch.h>

#include "common/task.h"

namespace lockstep::trainers {

/// Whether gradients are those of the sum over the batch, divided by its size in the update, or those of the
/// mean. It is the same update. By hand also bit for bit, since both divide the same sums by the batch size;
/// autograd divides each sample's error instead, which rounds alike only for batch sizes that are powers of
/// two.
enum class LossReduction : std::uint8_t { sum_over_batch, mean };

class RegressionTask : public Task {
 public:
  explicit RegressionTask(LossReduction reduction) : reduction_(reduction) {}

  /// "weight" ([columns] or [1, columns]) or "bias" ([1]).
  torch::Tensor parameter(const std::string& name) { return module().named_parameters()[name]; }
  std::string step_report() override;
  float invariant_loss(float accumulated) override { return loss_ = half_of_mean(accumulated); }

 protected:
  /// From the loss function's value for the global batch, a mean or a sum of squares.
  virtual float half_of_mean(float accumulated) const { return accumulated; }

  LossReduction reduction_;
  torch::Tensor predictions_;  // of the step's last micro-batch, for the report
  float loss_ = 0;
};

/// No autograd: y_hat = x w + b, error = y_hat - y, dw = x^T error, db = sum(error), w -= rate · dw / batch.
std::unique_ptr<RegressionTask> make_scratch(std::int64_t columns, LossReduction reduction,
                                             double learning_rate, std::uint64_t seed);

/// torch::nn::Linear and lockstep::Sgd.
std::unique_ptr<RegressionTask> make_module(std::int64_t columns, LossReduction reduction,
                                            double learning_rate, std::uint64_t seed);

}  // namespace lockstep::trainers
