// A training program in miniature, without torch: linear regression by plain float arithmetic, recorded
// through the public Recorder. It reads the LOCKSTEP_* variables that every trainer reads, and can be told to
// go wrong in each way that the comparison must recognise. Arguments are name=value.

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "lockstep/base/view.h"
#include "lockstep/record/recorder.h"

namespace {

using namespace lockstep;
using namespace lockstep::record;

volatile std::sig_atomic_t g_interrupted = 0;

constexpr std::int64_t kSamples = 240;
constexpr std::int64_t kBatch = 12;
constexpr std::int64_t kFeatures = 4;

class Arguments {
 public:
  Arguments(int argc, char** argv) {
    for (const char* name : {"RECORD", "WORKERS", "THREADS", "SEED", "MICRO_BATCH"}) {
      std::string key = name;
      std::transform(key.begin(), key.end(), key.begin(),
                     [](char c) { return c == '_' ? '-' : c + ('a' - 'A'); });
      if (const char* value = std::getenv((std::string("LOCKSTEP_") + name).c_str())) values_[key] = value;
    }
    for (int i = 1; i < argc; ++i) {
      const std::string argument = argv[i];
      const auto equals = argument.find('=');
      if (equals == std::string::npos) throw std::invalid_argument("argument without '=': " + argument);
      values_[argument.substr(0, equals)] = argument.substr(equals + 1);
    }
  }
  std::string text(const std::string& name, const std::string& fallback = {}) const {
    const auto found = values_.find(name);
    return found == values_.end() ? fallback : found->second;
  }
  std::int64_t number(const std::string& name, std::int64_t fallback) const {
    const std::string value = text(name);
    return value.empty() ? fallback : std::stoll(value);
  }

 private:
  std::map<std::string, std::string> values_;
};

std::uint64_t mixed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

float unit(std::uint64_t key) { return static_cast<float>(mixed(key) >> 40) / 16777216.0f - 0.5f; }

float nudged(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  ++bits;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

void wait_for_interrupt() {
  while (!g_interrupted) std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

/// Fisher and Yates over one epoch.
std::vector<std::int64_t> order_of(std::uint64_t seed, std::int64_t epoch) {
  std::vector<std::int64_t> order(kSamples);
  std::iota(order.begin(), order.end(), 0);
  for (std::int64_t i = kSamples - 1; i > 0; --i) {
    const std::uint64_t draw = mixed(seed * 1000003 + static_cast<std::uint64_t>(epoch * kSamples + i));
    std::swap(order[static_cast<std::size_t>(i)], order[draw % static_cast<std::uint64_t>(i + 1)]);
  }
  return order;
}

struct Batch {
  std::vector<std::int64_t> ids;
  std::vector<float> data, targets;
};

using Vector = std::array<float, kFeatures>;

class Training {
 public:
  explicit Training(const Arguments& arguments)
      : arguments_(arguments),
        wrong_(arguments.text("wrong")),
        at_(arguments.number("at", 0)),
        seed_(static_cast<std::uint64_t>(arguments.number("seed", 1))),
        recorder_(arguments.text("record"), info(), options()) {
    for (std::size_t i = 0; i < kFeatures; ++i) weight_[i] = unit(seed_ * 31 + i) * 0.1f;
    if (wrong_ == "init") weight_[0] += 0.5f;
    if (wrong_ == "threads" && arguments.number("threads", 1) > 1) wrong_ = "forward";
  }

  /// False when it was interrupted: the recording then ends after a whole step.
  bool run() {
    const std::int64_t steps = arguments_.number("steps", 40);
    const std::int64_t first = arguments_.number("first-step", 0);
    for (std::int64_t step = 0; step < first; ++step) train(step, false);
    for (std::int64_t step = first; step < steps; ++step) {
      if (g_interrupted) return false;
      fail_here(step);
      train(step, true);
      if (wrong_ == "slow") std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    finish();
    return true;
  }

 private:
  RunInfo info() const {
    RunInfo info;
    info.program = "fake_trainer";
    info.run_id = arguments_.text("run-id");
    info.started_ns = arguments_.number("started-ns", 0);
    info.segment = static_cast<std::int32_t>(arguments_.number("segment", 0));
    info.first_step = arguments_.number("first-step", 0);
    info.rank = static_cast<std::int32_t>(arguments_.number("rank", 0));
    info.world_size = static_cast<std::int32_t>(arguments_.number("world-size", 1));
    info.semantic = {{"seed", arguments_.text("seed", "1")},
                     {"batch_size", std::to_string(kBatch)},
                     {"learning_rate", arguments_.text("learning-rate", "0.05")}};
    info.placement = {{"workers", arguments_.text("workers", "0")},
                      {"threads", arguments_.text("threads", "1")},
                      {"micro_batch", arguments_.text("micro-batch", "12")}};
    info.environment = {{"torch.deterministic", arguments_.text("deterministic", "1")},
                        {"torch.version", arguments_.text("torch", "2.11.0")}};
    return info;
  }

  RecorderOptions options() const {
    RecorderOptions options;
    options.tensors_every = arguments_.number("tensors-every", 1);
    options.full_batches = arguments_.number("full-batches", 5);
    options.tensor_values = arguments_.text("values", "yes") == "yes";
    options.tensor_statistics = arguments_.text("statistics", "yes") == "yes";
    options.write_every_ms = 0;  // a crash is to lose nothing, so that what is left is known
    return options;
  }

  bool wrong(const char* kind, std::int64_t step) const { return wrong_ == kind && step == at_; }

  void fail_here(std::int64_t step) const {
    if (wrong("crash", step)) std::raise(SIGKILL);
    if (wrong("throw", step))
      throw std::runtime_error(fmt::format("the loss is not finite at step {}", step));
    if (wrong("hang", step)) wait_for_interrupt();
  }

  Batch read(std::int64_t step) const {
    constexpr std::int64_t kPerEpoch = kSamples / kBatch;
    const auto order = order_of(seed_, step / kPerEpoch);
    const auto first = order.begin() + step % kPerEpoch * kBatch;
    Batch batch{{first, first + kBatch}, {}, {}};
    if (wrong("order", step)) std::swap(batch.ids[2], batch.ids[7]);
    if (wrong("samples", step)) batch.ids[3] = (batch.ids[3] + 1) % kSamples;
    for (const std::int64_t id : batch.ids) {
      float target = 0.25f;
      for (std::int64_t i = 0; i < kFeatures; ++i) {
        batch.data.push_back(unit(static_cast<std::uint64_t>(id * kFeatures + i)));
        target += batch.data.back() * static_cast<float>(i + 1);
      }
      batch.targets.push_back(target);
    }
    if (wrong("augment", step)) batch.data[5] = nudged(batch.data[5]);
    return batch;
  }

  void record(const Batch& batch) {
    const std::int64_t micro = arguments_.number("micro-batch", kBatch);
    for (std::int64_t first = 0; first < kBatch; first += micro) {
      const std::int64_t count = std::min(micro, kBatch - first);
      const auto at = batch.ids.begin() + first;
      recorder_.batch_part(
          first, {at, at + count},
          {{"data", {batch.data.data() + first * kFeatures, DType::float32, {count, kFeatures}}},
           {"targets", {batch.targets.data() + first, DType::float32, {count}}}});
    }
  }

  void record(Phase phase, const std::string& name, const float* values, std::int64_t count) {
    recorder_.tensor(phase, name, {values, DType::float32, {count}});
  }

  void train(std::int64_t step, bool recorded) {
    const Batch batch = read(step);
    std::array<float, kBatch> output{};
    Vector gradient{};
    float loss = 0;
    for (std::size_t row = 0; row < kBatch; ++row) {
      for (std::size_t i = 0; i < kFeatures; ++i) output[row] += weight_[i] * batch.data[row * kFeatures + i];
    }
    if (wrong("forward", step)) output[4] = nudged(output[4]);
    for (std::size_t row = 0; row < kBatch; ++row) {
      const float error = output[row] - batch.targets[row];
      loss += error * error;
      for (std::size_t i = 0; i < kFeatures; ++i) gradient[i] += error * batch.data[row * kFeatures + i];
    }
    if (wrong("forward", step)) loss = nudged(loss);
    if (wrong("gradient", step)) gradient[2] = nudged(gradient[2]);
    for (std::size_t i = 0; i < kFeatures; ++i) momentum_[i] = 0.9f * momentum_[i] + gradient[i];
    if (wrong("optimizer", step)) momentum_[1] = nudged(momentum_[1]);
    const float rate = std::stof(arguments_.text("learning-rate", "0.05"));
    for (std::size_t i = 0; i < kFeatures; ++i) weight_[i] -= rate / kBatch * momentum_[i];
    if (wrong("parameter", step)) weight_[3] = nudged(weight_[3]);
    if (wrong("update", step)) weight_[3] += 0.125f;
    if (wrong("resume", step) && arguments_.number("segment", 0) > 0) weight_[3] = nudged(weight_[3]);
    if (!recorded) return;
    recorder_.begin_step(step, step / (kSamples / kBatch), step % (kSamples / kBatch));
    record(batch);
    recorder_.loss("loss", wrong("loss", step) ? nudged(loss) : loss);
    recorder_.loss("accuracy", wrong("metric", step) ? 0.5 : 0.25);
    if (recorder_.wants_tensors()) {
      record(Phase::named, "output", output.data(), kBatch);
      record(Phase::gradient, "weight", gradient.data(), kFeatures);
      record(Phase::optimizer, "weight.momentum", momentum_.data(), kFeatures);
      record(Phase::parameter, "weight", weight_.data(), kFeatures);
    }
    recorder_.end_step();
  }

  void finish() {
    const auto file = recorder_.file();
    if (wrong_ != "unclosed") recorder_.close();
    if (wrong_ == "torn") std::filesystem::resize_file(file, std::filesystem::file_size(file) * 3 / 4);
    if (wrong_ == "damaged") damage(file);
  }

  static void damage(const std::filesystem::path& file) {
    std::FILE* stream = std::fopen(file.c_str(), "r+b");
    const auto middle = static_cast<long>(std::filesystem::file_size(file) / 2);
    std::fseek(stream, middle, SEEK_SET);
    for (int i = 0; i < 64; ++i) std::fputc(0x5a, stream);
    std::fclose(stream);
  }

  const Arguments& arguments_;
  std::string wrong_;
  std::int64_t at_;
  std::uint64_t seed_;
  Vector weight_{}, momentum_{};
  Recorder recorder_;
};

}  // namespace

int main(int argc, char** argv) {
  try {
    const Arguments arguments(argc, argv);
    if (arguments.text("wrong") == "no-record") return 0;
    std::signal(SIGINT, [](int) { g_interrupted = 1; });
    if (!Training(arguments).run()) return 130;
    std::printf("trained\n");
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fake_trainer: %s\n", error.what());
    return 3;
  }
}
