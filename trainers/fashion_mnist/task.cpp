#include "task.h"

#include <fmt/format.h>

#include "lockstep/torch/tensor_view.h"

namespace lockstep::trainers {
namespace {

torch::Tensor count_correct(const torch::Tensor& logits, const torch::Tensor& labels) {
  return logits.argmax(1).eq(labels).sum();
}

}  // namespace

PartResult ClassificationTask::accumulate(const MicroBatch& part) {
  const torch::Tensor labels = part.field("label").to(torch::kLong);  // [B]
  const torch::Tensor logits = model_->forward(part.field("image"));  // [B, 10]
  const torch::Tensor loss = torch::nn::functional::cross_entropy(logits, labels);
  const torch::Tensor scaled = part.part_of_mean(loss);
  scaled.backward();
  return {scaled, count_correct(logits.detach(), labels)};
}

std::string ClassificationTask::step_report() {
  std::string text;
  for (const auto& parameter : model_->named_parameters())
    text += fmt::format("  {:<14} {}  |gradient| {:.6e}\n", parameter.key(),
                        digest_of(parameter.value()).hex(), parameter.value().grad().norm().item<double>());
  return text;
}

double ClassificationTask::accuracy(const loader::DatasetPtr& dataset, const TrainingOptions& options) {
  return share_of_correct(dataset, options, [this](const MicroBatch& batch) {
    return count_correct(model_->forward(batch.field("image")), batch.field("label").to(torch::kLong));
  });
}

}  // namespace lockstep::trainers
