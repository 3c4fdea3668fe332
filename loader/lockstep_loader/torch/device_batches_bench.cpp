// What loading costs a training on a CUDA device: a step on each batch of an epoch, with the next batch
// fetched and copied while the device computes, against the same step one after the other, and against a step
// that needs no batch. A step computes for as long as it takes to fetch and copy a batch, where overlap is
// worth the most: 2 is all of it.

#include <algorithm>
#include <cmath>
#include <exception>
#include <memory>
#include <string>

#include <benchmark/benchmark.h>

#include <torch/torch.h>

#include "lockstep/base/paired_timing_internal.h"
#include "lockstep/torch/environment.h"
#include "lockstep_loader/prefetch/loader.h"
#include "lockstep_loader/sampler/native.h"
#include "lockstep_loader/torch/device_batches.h"
#include "lockstep_loader/torch/pinned_memory.h"
#include "lockstep_loader/torch/tensor_dataset.h"

namespace lockstep::loader {
namespace {

using internal::Clock;

constexpr std::int64_t kRecords = 1024, kBatchSize = 64, kSteps = kRecords / kBatchSize;

/// Images of ImageNet's size in float32, 600 kB each.
DatasetPtr images() {
  static const DatasetPtr all = tensor_dataset({{"image", torch::rand({kRecords, 3, 224, 224})}});
  return all;
}

/// Products of matrices, and at the end a number that the host waits for, as for a loss.
class DeviceWork {
 public:
  explicit DeviceWork(at::Device device) : x_(torch::ones({1024, 1024}, device)), y_(torch::empty_like(x_)) {}

  void launch() {
    for (int i = 0; i < products_; ++i) torch::mm_out(y_, x_, x_);
  }
  void wait() const { benchmark::DoNotOptimize(y_[0][0].item<float>()); }
  void operator()() {
    launch();
    wait();
  }
  /// From now on launch() takes about so long.
  void take(double seconds) {
    products_ = 100;
    (*this)();
    const double one = internal::time_calls(*this, 1, Clock::wall) / products_;
    products_ = std::max(1, static_cast<int>(std::lround(seconds / one)));
  }

 private:
  at::Tensor x_, y_;
  int products_ = 1;
};

/// Epoch after epoch through a loader.
class Epochs {
 public:
  Epochs(int workers, bool pinned, at::Device device)
      : loader_(images(), native_random({kRecords, 7, false, {}}),
                {.batch_size = kBatchSize,
                 .workers = workers,
                 .allocate = pinned ? pinned_memory() : Allocate()}),
        batches_(loader_, device) {}

  /// `launch` gives the device a step's work, `wait` waits for it.
  template <class Launch, class Wait>
  void run(bool prefetch, Launch&& launch, Wait&& wait) {
    loader_.begin(epoch_++);
    while (const auto batch = batches_.next()) {
      launch();
      if (prefetch) batches_.prefetch();
      wait();
    }
  }

 private:
  Loader loader_;
  DeviceBatches batches_;
  std::int64_t epoch_ = 0;
};

void overlap(benchmark::State& state) {
  const auto workers = static_cast<int>(state.range(0));
  const bool pinned = state.range(1) != 0;
  try {
    const at::Device device = cuda_device();
    Epochs epochs(workers, pinned, device);
    DeviceWork work(device);
    const auto load = [&] {
      epochs.run(
          false, [] {}, [&] { work.wait(); });
    };
    load();
    const double load_seconds = internal::time_calls(load, 3, Clock::wall) / kSteps;
    work.take(load_seconds);
    const auto train = [&](bool prefetch) {
      epochs.run(
          prefetch, [&] { work.launch(); }, [&] { work.wait(); });
    };
    const auto compute = [&] {
      for (std::int64_t step = 0; step < kSteps; ++step) work();
    };
    for (auto _ : state) {
      const auto gain =
          internal::time_pairs([&] { train(true); }, [&] { train(false); }, Clock::wall, 15, 0.05);
      const auto hidden = internal::time_pairs([&] { train(true); }, compute, Clock::wall, 15, 0.05);
      state.SetIterationTime(gain.operation_seconds / kSteps);
      state.counters["load_ms"] = 1e3 * load_seconds;
      state.counters["step_ms"] = 1e3 * gain.operation_seconds / kSteps;
      state.counters["one_by_one_ms"] = 1e3 * gain.rival_seconds / kSteps;
      state.counters["gain"] = gain.median;
      state.counters["gain_low"] = gain.low;
      state.counters["gain_high"] = gain.high;
      state.counters["of_compute_alone"] = hidden.median;
      state.counters["of_compute_alone_low"] = hidden.low;
      state.counters["of_compute_alone_high"] = hidden.high;
    }
  } catch (const std::exception& error) {
    state.SkipWithError(error.what());
  }
}
BENCHMARK(overlap)
    ->ArgNames({"workers", "pinned"})
    ->ArgsProduct({{0, 2, 8}, {0, 1}})
    ->Iterations(1)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace lockstep::loader
