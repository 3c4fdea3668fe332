// A training step of fashion_mnist's CNN in the invariant mode, against the same model on LibTorch's own
// kernels, in one process and in turns.

#include <memory>
#include <string>

#include <torch/torch.h>

#include "fashion_mnist/model.h"
#include "lockstep/torch/gradient_accumulator.h"
#include "lockstep/torch/invariant_mode.h"
#include "lockstep/torch/optimizer.h"
#include "rival.h"

namespace {

using namespace lockstep;

constexpr std::int64_t kBatch = 64;

/// A model, its optimizer and the batch.
template <class Optimizer>
class Side {
 public:
  Side()
      : model(trainers::make_cnn()),
        optimizer(model->parameters(), torch::optim::SGDOptions(0.02).momentum(0.9)),
        images(torch::randint(256, {kBatch, trainers::kSide, trainers::kSide}, torch::kByte)),
        labels(torch::randint(trainers::kClasses, {kBatch}, torch::kLong)) {}

  torch::Tensor loss(std::int64_t first, std::int64_t samples) const {
    return torch::nn::functional::cross_entropy(model->forward(images.narrow(0, first, samples)),
                                                labels.narrow(0, first, samples));
  }
  void step() {
    model->zero_grad();
    loss(0, kBatch).backward();
    optimizer.step();
  }

  std::shared_ptr<trainers::Classifier> model;
  Optimizer optimizer;
  torch::Tensor images, labels;
};

void accumulate(Side<Sgd>& ours, GradientAccumulator& accumulator, std::int64_t micro_batch) {
  ours.model->zero_grad();
  accumulator.begin(kBatch);
  for (std::int64_t first = 0; first < kBatch; first += micro_batch) {
    const auto scope = accumulator.micro_batch(first, micro_batch);
    ours.loss(first, micro_batch).backward();
  }
  accumulator.finish();
  ours.optimizer.step();
}

void accumulate(Side<torch::optim::SGD>& rival, std::int64_t micro_batch) {
  rival.model->zero_grad();
  for (std::int64_t first = 0; first < kBatch; first += micro_batch)
    (rival.loss(first, micro_batch) * (static_cast<double>(micro_batch) / kBatch)).backward();
  rival.optimizer.step();
}

}  // namespace

int main() {
  Side<Sgd> ours;
  Side<torch::optim::SGD> rival;
  GradientAccumulator accumulator(*ours.model);
  bench::compare(
      "cnn forward",
      [&] {
        const InvariantMode mode;
        const torch::NoGradGuard no_grad;
        ours.loss(0, kBatch);
      },
      [&] {
        const torch::NoGradGuard no_grad;
        rival.loss(0, kBatch);
      });
  bench::compare(
      "cnn step",
      [&] {
        const InvariantMode mode;
        ours.step();
      },
      [&] { rival.step(); });
  for (const std::int64_t micro_batch : {16, 8})
    bench::compare(
        "cnn step, micro-batches of " + std::to_string(micro_batch),
        [&] {
          const InvariantMode mode;
          accumulate(ours, accumulator, micro_batch);
        },
        [&] { accumulate(rival, micro_batch); });
}
