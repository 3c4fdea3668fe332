// loader_bench [--python <interpreter>] [Google Benchmark's options, such as --benchmark_out=FILE]
// The loader, with native order and running digests, against a bare gather, against torch::data and Python's
// DataLoader on Fashion-MNIST, ordered against arrival order, and the time to resume at sample 10^9.

#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unistd.h>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "loader/comparison.h"
#include "loader/gather.h"
#include "loader/python_rival.h"
#include "loader/torch_rival.h"
#include "lockstep/base/version.h"
#include "lockstep_loader/format/fashion_mnist.h"
#include "lockstep_loader/prefetch/loader.h"
#include "lockstep_loader/prefetch/sequencer_internal.h"
#include "lockstep_loader/sampler/native.h"

namespace lockstep::bench {
namespace {

namespace fs = std::filesystem;
using internal::Clock;

Clock clock_for(int other_threads) { return other_threads == 0 ? Clock::thread : Clock::wall; }

/// Epoch after epoch of a loader, each in another order.
class Epochs {
 public:
  Epochs(loader::DatasetPtr dataset, int workers, int prefetch_factor = 2)
      : loader_(dataset, loader::native_random({dataset->size(), 7, false, {}}),
                {.batch_size = kBatchSize, .workers = workers, .prefetch_factor = prefetch_factor}) {}

  void operator()() {
    loader_.begin(epoch_++);
    while (const auto batch = loader_.next()) benchmark::DoNotOptimize(batch->fields[0].data);
  }

 private:
  loader::Loader loader_;
  std::int64_t epoch_ = 0;
};

void against_gather(benchmark::State& state, std::size_t bytes, int threads, int prefetch_factor) {
  const Records records(bytes == 784 ? 60'000 : 50'000, bytes);
  const std::string what =
      fmt::format("{}-byte records, {}", bytes,
                  threads == 1 ? "no worker" : fmt::format("2 workers × {}", prefetch_factor));
  Epochs epochs(records.dataset(), threads == 1 ? 0 : threads, prefetch_factor);
  compare(
      state,
      {what, fmt::format("gather, {} thread{}", threads, threads == 1 ? "" : "s"), 0.8, records.count(), {}},
      clock_for(threads - 1), epochs, [&] { records.gather(threads); });
}

// The same fetches through the same threads; only the delivery differs.
class RawEpochs {
 public:
  RawEpochs(const loader::DatasetPtr& dataset, int workers, loader::Delivery delivery)
      : dataset_(dataset),
        sampler_(loader::native_random({dataset->size(), 7, false, {}})),
        fetcher_(dataset, 0, loader::BadSample::fail, 16),
        sequencer_(workers, 2 * workers, delivery) {}

  void operator()() {
    const auto order =
        std::make_shared<loader::EpochPositions>(sampler_->begin_epoch(epoch_, {}), dataset_->size(), false);
    const std::int64_t batches = dataset_->size() / kBatchSize;
    sequencer_.start(
        [this, order, epoch = epoch_](std::int64_t index, const std::atomic<bool>& cancelled) {
          return fetcher_.fetch({.epoch = epoch,
                                 .index = index,
                                 .global_samples = kBatchSize,
                                 .first_sample = 0,
                                 .first_position = index * kBatchSize,
                                 .rows = kBatchSize},
                                *order, cancelled);
        },
        0, batches);
    while (const auto fetched = sequencer_.take()) benchmark::DoNotOptimize(fetched->batch.fields[0].data);
    ++epoch_;
  }

 private:
  loader::DatasetPtr dataset_;
  loader::SamplerPtr sampler_;
  loader::BatchFetcher fetcher_;
  std::int64_t epoch_ = 0;
  loader::Sequencer sequencer_;
};

// Threads of their own for each measurement: which processors they sit on differs from one time to the next,
// and would otherwise pass for a difference of the two.
void ordered_against_arrival(benchmark::State& state, std::size_t bytes) {
  const Records records(bytes == 784 ? 60'000 : 50'000, bytes);
  const auto dataset = records.dataset();
  const auto epoch = [&](loader::Delivery delivery) { RawEpochs(dataset, 2, delivery)(); };
  compare(
      state,
      {fmt::format("{}-byte records, 2 workers, in order", bytes),
       "in order of arrival",
       0.95,
       records.count(),
       {}},
      Clock::wall, [&] { epoch(loader::Delivery::in_order); }, [&] { epoch(loader::Delivery::arrival); }, 61);
}

/// Fashion-MNIST as two blocks of bytes, which is how the rivals get it.
struct Images {
  loader::DatasetPtr dataset;
  std::vector<std::uint8_t> pixels, labels;

  Images() {
    const fs::path folder = loader::fashion_mnist_folder(fs::path(LOCKSTEP_DATA_DIR) / "fashion-mnist");
    dataset = loader::open_fashion_mnist(folder, loader::Split::train);
    pixels.resize(static_cast<std::size_t>(dataset->size()) * 784);
    labels.resize(static_cast<std::size_t>(dataset->size()));
    for (std::int64_t i = 0; i < dataset->size(); ++i) {
      std::byte* out[] = {reinterpret_cast<std::byte*>(pixels.data() + i * 784),
                          reinterpret_cast<std::byte*>(labels.data() + i)};
      dataset->get(i, {}, out);
    }
  }
};

const Images& images() {
  static const Images images;
  return images;
}

void against_torch_data(benchmark::State& state, Pixels pixels, int workers) {
  const Images& data = images();
  const auto rival = torch_data_epoch(data.pixels, data.labels, pixels, kBatchSize, workers);
  if (!rival) return state.SkipWithError("built without LibTorch");
  Epochs epochs(data.dataset, workers);
  compare(state,
          {fmt::format("Fashion-MNIST, {} workers", workers),
           fmt::format("torch::data, {}, {} workers", pixels == Pixels::bytes ? "bytes" : "floats", workers),
           14,
           data.dataset->size(),
           {}},
          clock_for(workers), epochs, rival, 15);
}

PythonRival& python(const std::string& interpreter) {
  static std::unique_ptr<PythonRival> rival = [&] {
    const fs::path folder = fs::temp_directory_path();
    const fs::path pixels = folder / fmt::format("loader-bench-{}.pixels", ::getpid());
    const fs::path labels = folder / fmt::format("loader-bench-{}.labels", ::getpid());
    const auto write = [](const fs::path& path, const std::vector<std::uint8_t>& bytes) {
      std::ofstream(path, std::ios::binary)
          .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    };
    write(pixels, images().pixels), write(labels, images().labels);
    auto started = std::make_unique<PythonRival>(interpreter, pixels, labels);
    fs::remove(pixels), fs::remove(labels);
    return started;
  }();
  return *rival;
}

void against_python(benchmark::State& state, const std::string& interpreter, const std::string& kind,
                    int workers) {
  if (interpreter.empty()) return state.SkipWithError("pass --python <an interpreter that has torch>");
  PythonRival& rival = python(interpreter);
  Epochs epochs(images().dataset, workers);
  compare(
      state,
      {fmt::format("Fashion-MNIST, {} workers", workers),
       fmt::format("Python DataLoader, {}, {} workers ({})", kind, workers, rival.version()),
       14,
       images().dataset->size(),
       {}},
      Clock::wall, epochs, [&] { rival.epoch(kind, kBatchSize, workers); }, 15);
}

/// Two thousand million records that take no memory.
class Endless final : public loader::Dataset {
 public:
  std::int64_t size() const override { return 2'000'000'000; }
  const std::vector<loader::Field>& fields() const override { return fields_; }
  void get(std::int64_t index, const random::RecordKey&, std::span<std::byte* const> out) const override {
    std::memcpy(out[0], &index, sizeof index);
  }
  fingerprint::Digest fingerprint() const override { return fingerprint::digest_bytes("endless", 7); }
  std::string describe() const override { return "endless"; }

 private:
  std::vector<loader::Field> fields_{{"id", DType::int64, {}}};
};

// From nothing to the first batch, at sample 10^9 against at sample 0: the ratio says O(1), the time how
// little it is.
void resume_at_a_billion(benchmark::State& state) {
  const auto dataset = std::make_shared<Endless>();
  const auto open = [&] {
    return loader::Loader(dataset, loader::native_random({dataset->size(), 7, false, {}}),
                          {.batch_size = 100});
  };
  const auto resume_at = [&](std::int64_t sample) {
    loader::LoaderState saved = open().state();
    saved.batches = saved.digest_first_batch = sample / 100;
    saved.samples = saved.samples_total = sample;
    return [&open, saved] {
      loader::Loader resumed = open();
      resumed.restore(saved);
      resumed.begin(0);
      benchmark::DoNotOptimize(resumed.next()->ids.data());
    };
  };
  compare(state, {"open, resume at sample 10^9, one batch", "at sample 0", 0, 1, {}}, Clock::thread,
          resume_at(1'000'000'000), resume_at(0));
  state.counters["microseconds"] = 1e6 / state.counters["samples/s"];
}

void add_all(const std::string& interpreter) {
  for (const std::size_t bytes : {784, 3072}) {
    const std::string name = std::to_string(bytes);
    add("gather/" + name + "/1", [bytes](benchmark::State& state) { against_gather(state, bytes, 1, 2); });
    add("gather/" + name + "/2", [bytes](benchmark::State& state) { against_gather(state, bytes, 2, 2); });
    add("gather/" + name + "/2/prefetch:8",
        [bytes](benchmark::State& state) { against_gather(state, bytes, 2, 8); });
    add("ordered/" + name, [bytes](benchmark::State& state) { ordered_against_arrival(state, bytes); });
  }
  for (const int workers : {0, 2}) {
    const std::string name = std::to_string(workers);
    add("torch_data/bytes/" + name,
        [=](benchmark::State& state) { against_torch_data(state, Pixels::bytes, workers); });
    add("torch_data/floats/" + name,
        [=](benchmark::State& state) { against_torch_data(state, Pixels::floats, workers); });
    for (const char* kind : {"items", "batched"}) {
      add(fmt::format("python/{}/{}", kind, workers),
          [=](benchmark::State& state) { against_python(state, interpreter, kind, workers); });
    }
  }
  add("resume/1e9", resume_at_a_billion);
}

/// Takes `--python X` or `--python=X` out of the arguments.
std::string take_python(int& argc, char** argv) {
  std::string interpreter;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--python" && i + 1 < argc) {
      interpreter = argv[++i];
    } else if (word.starts_with("--python=")) {
      interpreter = word.substr(std::strlen("--python="));
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return interpreter;
}

}  // namespace
}  // namespace lockstep::bench

int main(int argc, char** argv) {
  try {
    lockstep::bench::add_all(lockstep::bench::take_python(argc, argv));
    benchmark::AddCustomContext("cpu", lockstep::cpu_model());
    benchmark::AddCustomContext("digest instruction set", lockstep::fingerprint::digest_instruction_set());
    benchmark::AddCustomContext("commit", lockstep::build_info().commit);
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    lockstep::bench::print_table();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "loader_bench: %s\n", error.what());
    return 2;
  }
}
