#pragma once
// Learns a score from pairs: the record that ranks higher is to score higher by a margin.

#include <cstdint>
#include <memory>

#include <torch/torch.h>

#include "common/options.h"
#include "common/task.h"
#include "lockstep_loader/dataset/dataset.h"

namespace lockstep::trainers {

struct RankingOptions {
  std::int64_t features = 0, hidden = 32;
  double margin = 1.0, momentum = 0.9, learning_rate = 0.01;
  bool images = false;     ///< data are pixels from 0 to 255
  std::uint64_t seed = 0;  ///< of the initial parameters
};

class RankingTask final : public Task {
 public:
  explicit RankingTask(const RankingOptions& options);

  torch::nn::Module& module() override { return *scorer_; }
  torch::optim::Optimizer* optimizer() override { return sgd_.get(); }
  /// Fields: data1, data2 [B, …], targets float32 [B].
  PartResult accumulate(const MicroBatch& part) override;
  std::string step_report() override;

  /// The share of pairs that are put in the right order, from 0 to 1.
  double accuracy(const loader::DatasetPtr& pairs, const TrainingOptions& options);

 private:
  torch::Tensor score(const torch::Tensor& data);

  RankingOptions options_;
  torch::nn::Sequential scorer_;
  std::unique_ptr<torch::optim::Optimizer> sgd_;
  torch::Tensor scores1_, scores2_;  // of the step's last micro-batch, for the report
};

}  // namespace lockstep::trainers
