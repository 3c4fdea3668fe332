#include "task.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "evaluation.h"
#include "lockstep/torch/invariant_mode.h"
#include "lockstep/torch/optimizer.h"
#include "lockstep_loader/prefetch/loader.h"
#include "lockstep_loader/sampler/native.h"

namespace lockstep::trainers {
namespace {

std::unique_ptr<torch::optim::AdamWOptions> adamw_options(const LanguageOptions& options, double decay) {
  auto chosen = std::make_unique<torch::optim::AdamWOptions>(options.schedule.learning_rate);
  chosen->betas({options.beta1, options.beta2}).eps(options.epsilon).weight_decay(decay);
  return chosen;
}

std::unique_ptr<torch::optim::Optimizer> make_optimizer(const torch::nn::Module& model,
                                                        const LanguageOptions& options) {
  std::vector<torch::Tensor> matrices, vectors;
  for (const torch::Tensor& parameter : model.parameters())
    (parameter.dim() >= 2 ? matrices : vectors).push_back(parameter);
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::move(matrices), adamw_options(options, options.weight_decay));
  groups.emplace_back(std::move(vectors), adamw_options(options, 0));
  return std::make_unique<AdamW>(groups, torch::optim::AdamWOptions(options.schedule.learning_rate));
}

double sum_in_order(const torch::Tensor& losses) {
  const torch::Tensor values = losses.cpu();
  const float* const data = values.const_data_ptr<float>();
  double sum = 0;
  for (std::int64_t i = 0; i < values.numel(); ++i) sum += static_cast<double>(data[i]);
  return sum;
}

}  // namespace

LanguageTask::LanguageTask(std::shared_ptr<Gpt2> model, const LanguageOptions& options)
    : model_(std::move(model)), options_(options), optimizer_(make_optimizer(*model_, options)) {}

PartResult LanguageTask::accumulate(const MicroBatch& part) {
  const torch::Tensor targets = part.field("targets").view({-1});  // [B · T]
  // The logits, [B · T, V], have no name here: their gradient takes their memory.
  const torch::Tensor loss =
      part.part_of_mean(torch::nn::functional::cross_entropy(model_->forward(part.field("tokens")), targets));
  loss.backward();
  return {loss, std::nullopt};
}

void LanguageTask::update() {
  learning_rate_ = options_.schedule.at(step_);
  for (auto& group : optimizer_->param_groups()) group.options().set_lr(learning_rate_);
  if (options_.clip > 0) gradient_norm_ = clip_gradients(model_->parameters(), options_.clip);
  optimizer_->step();
}

std::string LanguageTask::step_report() {
  return fmt::format(
      "  learning rate {:.6e}{}\n", learning_rate_,
      options_.clip > 0 ? fmt::format("  |gradient| {:.6e}", gradient_norm_.item<float>()) : "");
}

double LanguageTask::loss(const loader::DatasetPtr& windows, std::int64_t most,
                          const TrainingOptions& options) {
  const Evaluation evaluation(*model_);
  const InvariantMode mode(options.invariant);
  loader::LoaderOptions chosen;
  chosen.batch_size = options.micro_batch;
  chosen.workers = options.workers;
  loader::Loader batches(windows, loader::native_sequential(windows->size()), chosen);
  double sum = 0;
  std::int64_t left = most > 0 ? most : windows->size(), tokens = 0;
  loader::DeviceBatches on_device(batches, options.device);
  batches.begin(0);
  while (left > 0) {
    const auto batch = on_device.next();
    if (!batch) break;
    const MicroBatch whole = whole_batch(*batch);
    const std::int64_t rows = std::min(left, whole.rows);
    const torch::Tensor targets = whole.field("targets").narrow(0, 0, rows).reshape({-1});
    const torch::Tensor logits = model_->forward(whole.field("tokens").narrow(0, 0, rows));
    on_device.prefetch();
    sum += sum_in_order(torch::cross_entropy_loss(logits, targets, {}, at::Reduction::None));
    tokens += targets.numel();
    left -= rows;
  }
  return sum / static_cast<double>(tokens);
}

LanguageTask::Logits LanguageTask::logits(const loader::DatasetPtr& windows, const TrainingOptions& options) {
  const Evaluation evaluation(*model_);
  const InvariantMode mode(options.invariant);
  loader::LoaderOptions one;
  one.batch_size = 1;
  loader::Loader batches(windows, loader::native_sequential(windows->size()), one);
  loader::DeviceBatches on_device(batches, options.device);
  batches.begin(0);
  const auto batch = on_device.next();
  const MicroBatch first = whole_batch(*batch);
  const torch::Tensor tokens = first.field("tokens").clone();
  return {tokens[0].cpu(), model_->forward(tokens).cpu()};
}

}  // namespace lockstep::trainers
