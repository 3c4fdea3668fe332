// The same in LibTorch: the user's own model, optimizer and loop, with our loader and recorder around it.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include <torch/torch.h>

#include "lockstep/record/compare.h"
#include "lockstep/record/reader.h"
#include "lockstep/torch/environment.h"
#include "lockstep/torch/training_recorder.h"
#include "lockstep_loader/dataset/in_memory.h"
#include "lockstep_loader/prefetch/loader.h"
#include "lockstep_loader/sampler/native.h"
#include "lockstep_loader/torch/batch_tensors.h"

namespace {

constexpr std::int64_t kRows = 128, kEpochs = 5;

lockstep::loader::DatasetPtr make_data() {
  const torch::Tensor x = torch::linspace(-1, 1, kRows * 4).reshape({kRows, 4}).contiguous();
  const torch::Tensor y = x.sum(1).contiguous();
  using lockstep::loader::InMemoryDataset;
  return InMemoryDataset::copy_of({{"x", lockstep::view_of(x)}, {"y", lockstep::view_of(y)}});
}

std::filesystem::path train(const std::filesystem::path& folder, std::uint64_t seed, int workers) {
  lockstep::enforce_determinism(seed, 1);
  lockstep::loader::LoaderOptions options;
  options.batch_size = 16;
  options.workers = workers;
  lockstep::loader::Loader batches(make_data(), lockstep::loader::native_random({kRows, seed, false, {}}),
                                   options);
  lockstep::record::RunInfo info;
  info.program = "train_torch";
  info.semantic["seed"] = std::to_string(seed);
  lockstep::record::RecorderOptions every_step;
  every_step.tensors_every = 1;
  lockstep::TrainingRecorder recorder(folder, info, every_step);
  torch::nn::Linear model(4, 1);
  torch::optim::SGD optimizer(model->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  std::int64_t step = 0;
  for (std::int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    batches.begin(epoch);
    while (auto batch = batches.next()) {
      const torch::Tensor x = lockstep::loader::to_tensor(*batch, "x"),
                          y = lockstep::loader::to_tensor(*batch, "y");
      recorder.record_batch(step++, epoch, batch->index, batch->ids, {{"x", x}, {"y", y}});
      optimizer.zero_grad();
      const torch::Tensor loss = torch::mse_loss(model->forward(x).squeeze(1), y);
      loss.backward();
      recorder.loss("loss", loss);
      recorder.record_gradients(*model);
      optimizer.step();
      recorder.record_optimizer(optimizer, *model);
      recorder.record_parameters(*model);
      recorder.end_step();
    }
  }
  recorder.close();
  return recorder.file();
}

int run(const std::filesystem::path& folder) {
  std::filesystem::remove_all(folder);
  const auto open = [](const std::filesystem::path& file) {
    return lockstep::record::open_run(file.string());
  };
  const auto first = open(train(folder / "first", 7, 0)), again = open(train(folder / "again", 7, 2));
  const auto other = open(train(folder / "other", 8, 0));
  lockstep::record::CompareOptions force;
  force.force = true;
  const auto same = lockstep::record::compare_runs(first, again);
  const auto different = lockstep::record::compare_runs(first, other, force);
  std::printf("same seed: %s; other seed: %s; LibTorch %s\n", std::string(outcome_name(same.outcome)).c_str(),
              std::string(outcome_name(different.outcome)).c_str(), TORCH_VERSION);
  using lockstep::record::Outcome;
  return same.outcome == Outcome::same && different.outcome == Outcome::different ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "recordings");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_torch: %s\n", error.what());
    return 2;
  }
}
