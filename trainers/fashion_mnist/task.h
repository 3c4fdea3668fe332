#pragma once
// Classification with cross entropy, and the accuracy on a test set.

#include <cstdint>
#include <memory>
#include <string>

#include <torch/torch.h>

#include "common/options.h"
#include "common/task.h"
#include "lockstep_loader/dataset/dataset.h"
#include "model.h"

namespace lockstep::trainers {

class ClassificationTask final : public Task {
 public:
  ClassificationTask(std::shared_ptr<Classifier> model, std::unique_ptr<torch::optim::Optimizer> optimizer)
      : model_(std::move(model)), optimizer_(std::move(optimizer)) {}

  torch::nn::Module& module() override { return *model_; }
  torch::optim::Optimizer* optimizer() override { return optimizer_.get(); }
  /// Fields: image uint8 [B, 28, 28], label uint8 [B].
  PartResult accumulate(const MicroBatch& part) override;
  std::string step_report() override;

  /// The share of `dataset` that is classified correctly, from 0 to 1.
  double accuracy(const loader::DatasetPtr& dataset, const TrainingOptions& options);

 private:
  std::shared_ptr<Classifier> model_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
};

}  // namespace lockstep::trainers
