#pragma once
// The model as it computes outside of training.

#include <torch/torch.h>

namespace lockstep::trainers {

/// Without dropout and gradients until the object dies.
class Evaluation {
 public:
  explicit Evaluation(torch::nn::Module& model) : model_(model) { model_.eval(); }
  ~Evaluation() { model_.train(); }
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

 private:
  torch::nn::Module& model_;
  torch::NoGradGuard no_grad_;
};

}  // namespace lockstep::trainers
