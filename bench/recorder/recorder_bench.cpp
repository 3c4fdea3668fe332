// What a recording costs the Fashion-MNIST trainer (MLP, batch of 64, one thread): the whole training step,
// loader included, with a recording against the same step without one. A measurement is a block of 100 steps,
// so that each holds one step whose gradients and parameters the default records.

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "common/data.h"
#include "common/training.h"
#include "lockstep/base/paired_timing_internal.h"
#include "lockstep/torch/environment.h"
#include "lockstep_loader/format/fashion_mnist.h"
#include "task.h"

namespace {

using namespace lockstep;
using namespace lockstep::trainers;

constexpr int kBlock = 100;
constexpr int kBlocks = 41;
constexpr int kWarmUp = 200;  // past the first batches, which are recorded in full

class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lockstep-bench-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// A trainer that goes on for ever.
class Trainer {
 public:
  Trainer(const std::filesystem::path& record, const record::RecorderOptions& recorder) {
    options_.epochs = 1'000'000;
    options_.learning_rate = 0.05;
    options_.quiet = true;
    options_.record = record;
    options_.recorder = recorder;
    enforce_determinism(options_.seed, options_.threads);
    model_ = make_mlp(256);
    auto sgd = std::make_unique<torch::optim::SGD>(
        model_->parameters(), torch::optim::SGDOptions(options_.learning_rate).momentum(0.9));
    task_ = std::make_unique<ClassificationTask>(model_, std::move(sgd));
    setup_ = {
        "recorder_bench", loader::open_fashion_mnist(fashion_mnist_data({}), loader::Split::train), {}, {}};
    training_ = std::make_unique<Training>(*task_, setup_, options_);
    run(kWarmUp);
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) training_->step();
  }

 private:
  TrainingOptions options_;
  TrainingSetup setup_;
  std::shared_ptr<Classifier> model_;
  std::unique_ptr<ClassificationTask> task_;
  std::unique_ptr<Training> training_;
};

struct Seconds {
  double plain = 0, recorded = 0;
};

/// A block of both, step by step in turns, so that what disturbs the machine disturbs both alike.
Seconds time_block(Trainer& plain, Trainer& recorded, internal::Clock clock) {
  Seconds seconds;
  for (int i = 0; i < kBlock; ++i) {
    Trainer* const turns[] = {i % 2 == 0 ? &plain : &recorded, i % 2 == 0 ? &recorded : &plain};
    for (Trainer* trainer : turns)
      (trainer == &plain ? seconds.plain : seconds.recorded) +=
          internal::time_calls([&] { trainer->run(1); }, 1, clock);
  }
  return seconds;
}

void recorded_against_plain(benchmark::State& state, const record::RecorderOptions& options,
                            internal::Clock clock) {
  const Folder folder;
  Trainer plain({}, {}), recorded(folder.path(), options);
  for (auto _ : state) {
    std::vector<double> ratios, plain_us, recorded_us;
    for (int block = 0; block < kBlocks; ++block) {
      const Seconds seconds = time_block(plain, recorded, clock);
      ratios.push_back(seconds.recorded / seconds.plain);
      plain_us.push_back(seconds.plain / kBlock * 1e6);
      recorded_us.push_back(seconds.recorded / kBlock * 1e6);
    }
    std::sort(ratios.begin(), ratios.end());
    const std::size_t rank = internal::interval_rank(ratios.size());
    state.SetIterationTime(internal::median_of(recorded_us) * 1e-6);
    state.counters["plain_us"] = internal::median_of(plain_us);
    state.counters["recorded_us"] = internal::median_of(recorded_us);
    state.counters["cost_percent"] = 100 * (internal::median_of(ratios) - 1);
    state.counters["cost_low"] = 100 * (ratios[rank] - 1);
    state.counters["cost_high"] = 100 * (ratios[ratios.size() - 1 - rank] - 1);
  }
}

record::RecorderOptions every_tensor(bool values) {
  record::RecorderOptions options;
  options.tensors_every = 1;
  options.tensor_values = values;
  return options;
}

void add(const std::string& name, const record::RecorderOptions& options) {
  for (const auto clock : {internal::Clock::wall, internal::Clock::thread})
    benchmark::RegisterBenchmark(
        (name + (clock == internal::Clock::wall ? "/wall" : "/processor")).c_str(),
        [options, clock](benchmark::State& state) { recorded_against_plain(state, options, clock); })
        ->Iterations(1)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
}

}  // namespace

int main(int argc, char** argv) {
  record::RecorderOptions no_tensors;
  no_tensors.tensors_every = 0;
  add("default", {});
  add("batches_and_losses_only", no_tensors);
  add("every_gradient_and_parameter", every_tensor(false));
  add("every_gradient_and_parameter_with_values", every_tensor(true));
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
