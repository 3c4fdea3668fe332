#pragma once
// The command line of list_samples.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lockstep::list_samples {

enum class Order { native, torch };
enum class SamplerKind { sequential, random, weighted, subset };
/// Which generator a sampler made by hand is given (--sampler-generator).
enum class SamplerGenerator { automatic, loader, global };

struct Options {
  Order order = Order::native;
  SamplerKind sampler = SamplerKind::random;
  std::optional<std::int64_t> count;
  std::optional<std::uint64_t> seed;
  std::optional<std::uint64_t> global_seed;
  SamplerGenerator sampler_generator = SamplerGenerator::automatic;
  bool replacement = false;
  std::optional<std::int64_t> num_samples;
  std::vector<double> weights;
  std::vector<std::int64_t> indices;

  std::int64_t batch_size = 1;
  bool drop_last = false;
  bool wrap_last = false;
  int workers = 0;
  int prefetch_factor = 2;
  bool persistent_workers = false;
  std::int64_t epochs = 1;
  std::vector<std::optional<std::int64_t>> stop_after;  ///< by epoch; nothing: all of it
  int world_size = 1;
  int rank = 0;

  bool distributed = false;
  std::uint64_t sampler_seed = 0;
  bool sampler_drop_last = false;
  bool set_epoch = true;
  std::int64_t epoch = 0;  ///< the first

  std::optional<std::vector<double>> split;
  bool permutation = false;
  std::int64_t start = 0;
  std::optional<std::int64_t> limit;
  bool worker_seeds = false;
  bool digest = false;
  bool draws = false;
  bool quiet = false;
};

/// Nothing when --help or --version was asked for and answered on stdout.
/// Throws Error(invalid_argument) naming the flag, Error(not_found) for a list file.
std::optional<Options> parse_options(int argc, char** argv);

}  // namespace lockstep::list_samples
