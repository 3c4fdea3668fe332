#include "task.h"

#include <algorithm>

#include <fmt/format.h>

#include "lockstep/torch/initialize.h"
#include "lockstep/torch/optimizer.h"

namespace lockstep::trainers {
namespace {

constexpr std::int64_t kShown = 4;  // pairs that a report shows
constexpr double kHalfRange = 127.5;

torch::Tensor count_correct(const torch::Tensor& scores1, const torch::Tensor& scores2,
                            const torch::Tensor& targets) {
  return ((scores1 - scores2) * targets).gt(0).sum();
}

}  // namespace

RankingTask::RankingTask(const RankingOptions& options)
    : options_(options),
      scorer_(torch::nn::Linear(options.features, options.hidden), torch::nn::Tanh(),
              torch::nn::Linear(options.hidden, 1)),
      sgd_(
          std::make_unique<Sgd>(scorer_->parameters(),
                                torch::optim::SGDOptions(options.learning_rate).momentum(options.momentum))) {
  initialize_parameters(*scorer_, options.seed);
}

torch::Tensor RankingTask::score(const torch::Tensor& data) {
  torch::Tensor x = data.to(torch::kFloat).flatten(1);  // [B, features]
  if (options_.images) x = x / kHalfRange - 1;
  return scorer_->forward(x).squeeze(1);  // [B]
}

PartResult RankingTask::accumulate(const MicroBatch& part) {
  const torch::Tensor& targets = part.field("targets");
  scores1_ = score(part.field("data1"));
  scores2_ = score(part.field("data2"));
  const torch::Tensor loss = torch::margin_ranking_loss(scores1_, scores2_, targets, options_.margin);
  const torch::Tensor scaled = part.part_of_mean(loss);
  scaled.backward();
  return {scaled, count_correct(scores1_.detach(), scores2_.detach(), targets)};
}

std::string RankingTask::step_report() {
  std::string text;
  for (std::int64_t i = 0; i < std::min(kShown, scores1_.size(0)); ++i)
    text += fmt::format("  scores {:.6f} {:.6f}\n", scores1_[i].item<float>(), scores2_[i].item<float>());
  for (const auto& parameter : scorer_->named_parameters())
    text += fmt::format("  {:<9} |gradient| {:.6e}\n", parameter.key(),
                        parameter.value().grad().norm().item<double>());
  return text;
}

double RankingTask::accuracy(const loader::DatasetPtr& pairs, const TrainingOptions& options) {
  return share_of_correct(pairs, options, [this](const MicroBatch& batch) {
    return count_correct(score(batch.field("data1")), score(batch.field("data2")), batch.field("targets"));
  });
}

}  // namespace lockstep::trainers
