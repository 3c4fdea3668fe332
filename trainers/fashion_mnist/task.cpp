#include "task.h"

#include <fmt/format.h>

#include "lockstep/torch/tensor_view.h"
#include "lockstep_loader/prefetch/loader.h"
#include "lockstep_loader/sampler/native.h"

namespace lockstep::trainers {
namespace {

constexpr std::int64_t kTestBatch = 500;

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
  const torch::NoGradGuard no_grad;
  loader::LoaderOptions chosen;
  chosen.batch_size = kTestBatch;
  chosen.workers = options.workers;
  loader::Loader batches(dataset, loader::native_sequential(dataset->size()), chosen);
  loader::DeviceBatches on_device(batches, options.device);
  torch::Tensor correct = torch::zeros({}, torch::TensorOptions(options.device).dtype(torch::kLong));
  batches.begin(0);
  while (const auto batch = on_device.next()) {
    const MicroBatch whole = whole_batch(*batch);
    correct += count_correct(model_->forward(whole.field("image")), whole.field("label").to(torch::kLong));
    on_device.prefetch();
  }
  return correct.item<double>() / static_cast<double>(dataset->size());
}

}  // namespace lockstep::trainers
