// Seconds and memory of compare_batches over the length of a run: `compare_scale_bench <compare_batches>
// [folder]`. Writes pairs of recordings of 250,000, 500,000 and 1,000,000 steps (batch digest and loss each),
// compares each pair in a process of its own, and says whether the time is linear and the memory at most 64
// MiB. Exit 1 when not.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "lockstep/record/recorder.h"

namespace {

namespace fs = std::filesystem;
using namespace lockstep;

constexpr std::int64_t kSamples = 4;
constexpr std::int64_t kRepeats = 3;
constexpr long kLimitKiB = 64 * 1024;
constexpr double kLinear = 1.25;  ///< seconds a step may grow by this from the shortest run to the longest

void write_run(const fs::path& folder, std::int64_t steps) {
  record::RunInfo info;
  info.semantic["seed"] = "1";
  record::RecorderOptions options;
  options.tensors_every = 0;
  options.sync_every = 0;
  record::Recorder recorder(folder, info, options);
  std::vector<std::int64_t> ids(kSamples);
  std::vector<float> data(kSamples * 8);
  for (std::int64_t step = 0; step < steps; ++step) {
    for (std::int64_t i = 0; i < kSamples; ++i) ids[static_cast<std::size_t>(i)] = step * kSamples + i;
    std::fill(data.begin(), data.end(), static_cast<float>(step));
    recorder.begin_step(step, 0, step);
    recorder.batch_part(0, ids, {{"data", {data.data(), DType::float32, {kSamples, 8}}}});
    recorder.loss("loss", 1.0f / static_cast<float>(step + 1));
    recorder.end_step();
  }
  recorder.close();
}

struct Cost {
  double seconds = 0;
  long peak_kib = 0;
  int exit_code = -1;
};

Cost compare(const char* program, const fs::path& a, const fs::path& b) {
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = fork();
  if (child == 0) {
    execl(program, program, "--quiet", a.c_str(), b.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  int status = 0;
  rusage usage{};
  wait4(child, &status, 0, &usage);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return {seconds, usage.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
}

std::uintmax_t folder_bytes(const fs::path& folder) {
  std::uintmax_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder)) bytes += entry.file_size();
  return bytes;
}

/// The fastest of a few, since what else a machine does only adds.
Cost measure(const char* program, const fs::path& folder, std::int64_t steps) {
  write_run(folder / "a", steps);
  write_run(folder / "b", steps);
  Cost best;
  for (std::int64_t i = 0; i < kRepeats; ++i) {
    const Cost cost = compare(program, folder / "a", folder / "b");
    if (i == 0 || cost.seconds < best.seconds) best.seconds = cost.seconds;
    best.peak_kib = std::max(best.peak_kib, cost.peak_kib);
    best.exit_code = cost.exit_code;
  }
  fmt::print("{:>9} {:>9.1f} {:>9.2f} {:>11.2f} {:>10.1f} {:>6}\n", steps,
             static_cast<double>(folder_bytes(folder / "a")) / 1e6, best.seconds,
             1e6 * best.seconds / static_cast<double>(steps), static_cast<double>(best.peak_kib) / 1024,
             best.exit_code);
  fs::remove_all(folder);
  return best;
}

int run(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: compare_scale_bench <compare_batches> [folder]\n");
    return 2;
  }
  std::string folder =
      ((argc > 2 ? fs::path(argv[2]) : fs::temp_directory_path()) / "compare-XXXXXX").string();
  if (!mkdtemp(folder.data())) return 2;
  fmt::print("{:>9} {:>9} {:>9} {:>11} {:>10} {:>6}\n", "steps", "MB a run", "seconds", "us a step",
             "peak MiB", "exit");
  const Cost quarter = measure(argv[1], folder, 250'000);
  const Cost half = measure(argv[1], folder, 500'000);
  const Cost whole = measure(argv[1], folder, 1'000'000);
  const bool same = quarter.exit_code == 0 && half.exit_code == 0 && whole.exit_code == 0;
  const bool linear = whole.seconds <= kLinear * 4 * quarter.seconds;
  const bool small = whole.peak_kib <= kLimitKiB;
  fmt::print("same: {}; at most 64 MiB: {}; linear: {} ({:.2f} times the seconds for 4 times the steps)\n",
             same, small, linear, whole.seconds / quarter.seconds);
  return same && linear && small ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "compare_scale_bench: {}\n", error.what());
    return 2;
  }
}
