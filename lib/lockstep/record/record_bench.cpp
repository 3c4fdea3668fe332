// What a recorded step costs, by part, and what reading costs. The step is the default of the Fashion-MNIST
// trainer: 64 images of 784 uint8, 64 labels, one loss.

#include <filesystem>
#include <numeric>
#include <vector>

#include <benchmark/benchmark.h>

#include "lockstep/base/temporary_folder_test.h"
#include "lockstep/record/format_internal.h"
#include "lockstep/record/reader.h"
#include "lockstep/record/recorder.h"

namespace lockstep::record {
namespace {

namespace fs = std::filesystem;

struct Step {
  Step() : images(64 * 784), labels(64), ids(64) {
    for (std::size_t i = 0; i < images.size(); ++i) images[i] = static_cast<std::uint8_t>(i * 37 + i / 784);
    std::iota(ids.begin(), ids.end(), 60'000 - 64);
    fields = {{"images", {images.data(), DType::uint8, {64, 784}}},
              {"labels", {labels.data(), DType::int64, {64}}}};
  }

  std::vector<std::uint8_t> images;
  std::vector<std::int64_t> labels, ids;
  std::vector<FieldPart> fields;
};

void record_step(Recorder& recorder, const Step& step, std::int64_t number) {
  recorder.begin_step(number, 0, number);
  recorder.batch_part(0, step.ids, step.fields);
  recorder.loss("loss", 0.7312f);
  recorder.end_step();
}

RecorderOptions from_step_on(std::int64_t full_batches) {
  RecorderOptions options;
  options.full_batches = full_batches;
  return options;
}

void StepByDefault(benchmark::State& state) {
  const TemporaryFolder folder;
  const Step step;
  Recorder recorder(folder.path(), {}, from_step_on(0));
  std::int64_t number = 0;
  for (auto _ : state) record_step(recorder, step, number++);
}
BENCHMARK(StepByDefault)->Unit(benchmark::kMicrosecond)->UseRealTime();

void StepInFull(benchmark::State& state) {
  const TemporaryFolder folder;
  const Step step;
  Recorder recorder(folder.path(), {}, from_step_on(std::int64_t{1} << 40));
  std::int64_t number = 0;
  for (auto _ : state) record_step(recorder, step, number++);
}
BENCHMARK(StepInFull)->Unit(benchmark::kMicrosecond)->UseRealTime();

void PartDigestOfImages(benchmark::State& state) {
  const Step step;
  for (auto _ : state) benchmark::DoNotOptimize(fingerprint::digest_samples(step.fields[0].samples, 0));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(step.images.size()));
}
BENCHMARK(PartDigestOfImages)->Unit(benchmark::kMicrosecond);

void PartUnorderedDigestOfImages(benchmark::State& state) {
  const Step step;
  for (auto _ : state)
    benchmark::DoNotOptimize(fingerprint::digest_samples_unordered(step.fields[0].samples));
}
BENCHMARK(PartUnorderedDigestOfImages)->Unit(benchmark::kMicrosecond);

void PartDigestsOfIdsAndLabels(benchmark::State& state) {
  const Step step;
  const ConstView ids{step.ids.data(), DType::int64, {64}};
  for (auto _ : state) {
    benchmark::DoNotOptimize(fingerprint::digest_samples(ids, 0));
    benchmark::DoNotOptimize(fingerprint::digest_samples_unordered(ids));
    benchmark::DoNotOptimize(fingerprint::digest_samples(step.fields[1].samples, 0));
  }
}
BENCHMARK(PartDigestsOfIdsAndLabels)->Unit(benchmark::kMicrosecond);

void PartFramesAndOneWrite(benchmark::State& state) {
  const TemporaryFolder folder;
  Recorder recorder(folder.path(), {}, from_step_on(0));
  std::int64_t number = 0;
  for (auto _ : state) {
    recorder.begin_step(number, 0, number);
    ++number;
    recorder.batch_part(0, {}, {});
    recorder.loss("loss", 0.7312f);
    recorder.end_step();
  }
}
BENCHMARK(PartFramesAndOneWrite)->Unit(benchmark::kMicrosecond)->UseRealTime();

void TensorOfOneMillionFloats(benchmark::State& state) {
  const TemporaryFolder folder;
  const std::vector<float> weights(1'000'000, 0.5f);
  RecorderOptions options;
  options.tensor_statistics = state.range(0) != 0;
  Recorder recorder(folder.path(), {}, options);
  recorder.begin_step(0, 0, 0);
  for (auto _ : state) recorder.tensor(Phase::gradient, "w", {weights.data(), DType::float32, {1000, 1000}});
  recorder.end_step();
  state.SetBytesProcessed(state.iterations() * 4'000'000);
}
BENCHMARK(TensorOfOneMillionFloats)->Arg(0)->Arg(1)->ArgName("statistics")->Unit(benchmark::kMicrosecond);

/// A run of default steps on the disk, with `value_bytes` of values a step.
fs::path written_run(const TemporaryFolder& folder, std::int64_t steps, std::size_t value_bytes) {
  RecorderOptions options = from_step_on(0);
  options.tensor_values = true;
  options.tensor_statistics = false;
  options.sync_every = 0;
  Recorder recorder(folder.path(), {}, options);
  const Step step;
  const std::vector<std::uint8_t> values(value_bytes);
  for (std::int64_t number = 0; number < steps; ++number) {
    recorder.begin_step(number, 0, number);
    recorder.batch_part(0, step.ids,
                        {{"images", {step.images.data(), DType::uint8, {64, 4}}}, step.fields[1]});
    recorder.loss("loss", 0.7312f);
    if (value_bytes > 0) {
      recorder.tensor(Phase::named, "v",
                      {values.data(), DType::uint8, {static_cast<std::int64_t>(value_bytes)}});
    }
    recorder.end_step();
  }
  recorder.close();
  return recorder.file();
}

void ReadFile(benchmark::State& state, std::int64_t steps, std::size_t value_bytes) {
  const TemporaryFolder folder;
  const fs::path file = written_run(folder, steps, value_bytes);
  const auto bytes = static_cast<std::int64_t>(fs::file_size(file));
  std::int64_t frames = 0;
  for (auto _ : state) frames += check(file).good_frames;
  state.SetItemsProcessed(frames);
  state.SetBytesProcessed(state.iterations() * bytes);
  state.counters["ns_per_frame"] = benchmark::Counter(
      static_cast<double>(frames) * 1e-9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK_CAPTURE(ReadFile, small_frames, 100'000, 0)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(ReadFile, values_of_16KiB, 10'000, 16 << 10)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(ReadFile, values_of_1MiB, 300, 1 << 20)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace lockstep::record

BENCHMARK_MAIN();
