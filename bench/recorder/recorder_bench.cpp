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
#include "lockstep/base/temporary_folder_test.h"
#include "lockstep/torch/environment.h"
#include "lockstep_loader/format/fashion_mnist.h"
#include "task.h"

namespace {

using namespace lockstep;
using namespace lockstep::trainers;

constexpr int kBlock = 100;
constexpr int kBlocks = 41;
constexpr int kWarmUp = 200;  // past the first batches, which are recorded in full

TrainingOptions endless(const std::filesystem::path& record, const record::RecorderOptions& recorder) {
  TrainingOptions options;
  options.epochs = 1'000'000;
  options.learning_rate = 0.02;
  options.quiet = true;
  options.record = record;
  options.recorder = recorder;
  return options;
}

/// One model, trained in turns by a loop that records and by one that does not: with two models, where their
/// memory lies makes a difference of several percent.
class Contest {
 public:
  Contest(const std::filesystem::path& record, const record::RecorderOptions& recorder)
      : plain_options_(endless({}, {})), recorded_options_(endless(record, recorder)) {
    enforce_determinism(plain_options_.seed, plain_options_.threads);
    const auto model = make_mlp(256);
    const auto sgd = torch::optim::SGDOptions(plain_options_.learning_rate).momentum(0.9);
    task_ = std::make_unique<ClassificationTask>(
        model, std::make_unique<torch::optim::SGD>(model->parameters(), sgd));
    setup_ = {
        "recorder_bench", loader::open_fashion_mnist(fashion_mnist_data({}), loader::Split::train), {}, {}};
    plain_ = std::make_unique<Training>(*task_, setup_, plain_options_);
    recorded_ = std::make_unique<Training>(*task_, setup_, recorded_options_);
    for (int i = 0; i < kWarmUp; ++i) plain_->step(), recorded_->step();
  }

  Training& plain() { return *plain_; }
  Training& recorded() { return *recorded_; }

 private:
  TrainingOptions plain_options_, recorded_options_;
  TrainingSetup setup_;
  std::unique_ptr<ClassificationTask> task_;
  std::unique_ptr<Training> plain_, recorded_;
};

struct Seconds {
  double plain = 0, recorded = 0;
};

/// A block of both, step by step in turns, so that what disturbs the machine disturbs both alike.
Seconds time_block(Training& plain, Training& recorded, internal::Clock clock) {
  Seconds seconds;
  for (int i = 0; i < kBlock; ++i) {
    Training* const turns[] = {i % 2 == 0 ? &plain : &recorded, i % 2 == 0 ? &recorded : &plain};
    for (Training* training : turns)
      (training == &plain ? seconds.plain : seconds.recorded) +=
          internal::time_calls([&] { training->step(); }, 1, clock);
  }
  return seconds;
}

void recorded_against_plain(benchmark::State& state, const record::RecorderOptions& options,
                            internal::Clock clock) {
  const TemporaryFolder folder;
  Contest contest(options.tensors_every < 0 ? std::filesystem::path() : folder.path(), options);
  for (auto _ : state) {
    std::vector<double> ratios, plain_us, recorded_us;
    for (int block = 0; block < kBlocks; ++block) {
      const Seconds seconds = time_block(contest.plain(), contest.recorded(), clock);
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
  record::RecorderOptions nothing;
  nothing.tensors_every = -1;
  add("nothing", nothing);
  add("default", {});
  add("batches_and_losses_only", no_tensors);
  add("every_gradient_and_parameter", every_tensor(false));
  add("every_gradient_and_parameter_with_values", every_tensor(true));
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
