#pragma once
// Language modelling with cross entropy: how GPT-2 learns from a micro-batch, and its loss on held-out text.

#include <cstdint>
#include <memory>
#include <string>

#include <torch/torch.h>

#include "common/options.h"
#include "common/schedule.h"
#include "common/task.h"
#include "lockstep_loader/dataset/dataset.h"
#include "model.h"

namespace lockstep::trainers {

struct LanguageOptions {
  Schedule schedule;
  double weight_decay = 0.1;  ///< of matrices alone: neither of biases nor of norms
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double clip = 1;  ///< the largest norm of all gradients; 0: they are left as they are
};

class LanguageTask final : public Task {
 public:
  LanguageTask(std::shared_ptr<Gpt2> model, const LanguageOptions& options);

  torch::nn::Module& module() override { return *model_; }
  torch::optim::Optimizer* optimizer() override { return optimizer_.get(); }
  void begin_step(std::int64_t step) override { step_ = step; }
  /// Fields: tokens and targets int64 [B, T].
  PartResult accumulate(const MicroBatch& part) override;
  void update() override;
  std::string step_report() override;

  /// The mean of -log p over the tokens of the first `most` windows (0: of all), summed in double, in order.
  double loss(const loader::DatasetPtr& windows, std::int64_t most, const TrainingOptions& options);

  struct Logits {
    torch::Tensor tokens;  ///< int64 [T]
    torch::Tensor logits;  ///< float32 [T, V]
  };
  /// Of the first window, on the CPU.
  Logits logits(const loader::DatasetPtr& windows, const TrainingOptions& options);

 private:
  std::shared_ptr<Gpt2> model_;
  LanguageOptions options_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  std::int64_t step_ = 0;
  double learning_rate_ = 0;
  torch::Tensor gradient_norm_;  // where the model is
};

}  // namespace lockstep::trainers
