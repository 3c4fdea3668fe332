// A training program of somebody else: linear regression without autograd, with the loader and the recorder.
// It trains three times, twice with the same seed, and expects the comparison to say so.
#include <array>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lockstep/record/compare.h"
#include "lockstep/record/reader.h"
#include "lockstep/record/recorder.h"
#include "lockstep_loader/dataset/in_memory.h"
#include "lockstep_loader/prefetch/loader.h"
#include "lockstep_loader/sampler/native.h"

namespace {

using namespace lockstep;

constexpr std::int64_t kRows = 200, kEpochs = 20, kBatch = 16;
constexpr std::array<float, 3> kTruth{2.0f, -3.0f, 0.5f};  // two weights, one bias

loader::DatasetPtr make_data() {
  std::vector<float> x, y;
  for (std::int64_t i = 0; i < kRows; ++i) {
    const float a = static_cast<float>(i * 37 % 101) / 50.0f - 1.0f,
                b = static_cast<float>(i * 53 % 97) / 48.0f - 1.0f;
    x.insert(x.end(), {a, b});
    y.push_back(kTruth[0] * a + kTruth[1] * b + kTruth[2]);
  }
  return loader::InMemoryDataset::copy_of({{"x", {x.data(), DType::float32, Shape{kRows, 2}, Device::cpu}},
                                           {"y", {y.data(), DType::float32, Shape{kRows}, Device::cpu}}});
}

record::RunInfo describe(std::uint64_t seed, int workers) {
  record::RunInfo info;
  info.program = "train";
  info.semantic["seed"] = std::to_string(seed);
  info.placement["workers"] = std::to_string(workers);
  return info;
}

struct Model {
  std::array<float, 3> parameters{};

  /// One step of gradient descent; the loss is the mean over the batch, before the step.
  float step(const float* x, const float* y, std::int64_t rows, float rate) {
    std::array<float, 3> gradient{};
    float loss = 0.0f;
    for (std::int64_t r = 0; r < rows; ++r) {
      const float error = parameters[0] * x[2 * r] + parameters[1] * x[2 * r + 1] + parameters[2] - y[r];
      loss += error * error;
      gradient[0] += 2.0f * error * x[2 * r];
      gradient[1] += 2.0f * error * x[2 * r + 1];
      gradient[2] += 2.0f * error;
    }
    for (std::size_t p = 0; p < 3; ++p) parameters[p] -= rate * gradient[p] / static_cast<float>(rows);
    return loss / static_cast<float>(rows);
  }
};

struct Trained {
  std::filesystem::path recording;
  float loss = 0.0f;
};

Trained train(const std::filesystem::path& folder, std::uint64_t seed, int workers) {
  loader::LoaderOptions options;
  options.batch_size = kBatch;
  options.workers = workers;
  loader::Loader batches(make_data(), loader::native_random({kRows, seed, false, {}}), options);
  record::Recorder recorder(folder, describe(seed, workers));
  Model model;
  Trained result{recorder.file(), 0.0f};
  std::int64_t step = 0;
  for (std::int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    batches.begin(epoch);
    while (auto batch = batches.next()) {
      const ConstView x = batch->field("x"), y = batch->field("y");
      recorder.begin_step(step++, epoch, batch->index);
      recorder.batch_part(batch->first_sample, batch->ids, {{"x", x}, {"y", y}});
      result.loss = model.step(static_cast<const float*>(x.data), static_cast<const float*>(y.data),
                               batch->rows(), 0.2f);
      recorder.loss("loss", result.loss);
      if (recorder.wants_tensors()) {
        recorder.tensor(record::Phase::parameter, "w",
                        {model.parameters.data(), DType::float32, Shape{3}, Device::cpu});
      }
      recorder.end_step();
    }
  }
  recorder.close();
  return result;
}

bool expect(bool condition, const char* what) {
  std::printf("%s: %s\n", condition ? "ok" : "WRONG", what);
  return condition;
}

int run(const std::filesystem::path& folder) {
  std::filesystem::remove_all(folder);
  const Trained first = train(folder / "first", 7, 0), again = train(folder / "again", 7, 3);
  const Trained other = train(folder / "other", 8, 0);
  const record::Run a = record::open_run(first.recording.string());
  const auto same = record::compare_runs(a, record::open_run(again.recording.string()));
  record::CompareOptions force;
  force.force = true;
  const auto different = record::compare_runs(a, record::open_run(other.recording.string()), force);
  bool good = expect(first.loss < 1e-6f, "the model has learned the line");
  good &= expect(same.outcome == record::Outcome::same && same.steps_compared == 260,
                 "0 and 3 workers train the same");
  good &=
      expect(different.outcome == record::Outcome::different && different.first && different.first->step == 0,
             "another seed differs from the first step on");
  return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "recordings");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train: %s\n", error.what());
    return 2;
  }
}
