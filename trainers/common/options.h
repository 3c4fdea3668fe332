#pragma once
// What every trainer takes. Settings that decide what is computed are semantic; the rest is placement and
// must not.

#include <c10/core/Device.h>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "common/command_line.h"
#include "lockstep/record/recorder.h"
#include "lockstep_loader/batch/batch.h"

namespace lockstep::trainers {

enum class ResumeMode : std::uint8_t { no, required, automatic };
enum class OrderKind : std::uint8_t { native, torch };

/// Defaults in which trainers differ.
struct TrainerDefaults {
  std::string epochs = "1", batch_size = "64", learning_rate = "0.1";
};

struct TrainingOptions {
  std::uint64_t seed = 0;
  std::int64_t epochs = 1;
  std::int64_t batch_size = 64;
  std::int64_t max_steps =
      -1;  ///< optimizer steps of the whole run, resumed parts included; -1: until the last epoch ends
  double learning_rate = 0.1;
  OrderKind order = OrderKind::native;
  loader::LastBatch last = loader::LastBatch::keep;
  loader::BadSample bad_sample = loader::BadSample::fail;

  int workers = 0;
  int prefetch_factor = 2;
  int threads = 1;  ///< of torch; 0: as torch finds it
  c10::Device device = c10::kCPU;
  bool invariant =
      true;  ///< on lockstep's kernels: the same bits for every micro-batch and number of threads
  std::int64_t accum_steps = 1;
  std::int64_t micro_batch =
      64;  ///< samples of one forward and backward; follows from accum_steps or is given itself

  std::filesystem::path data;    ///< empty: the trainer looks at its known places
  std::filesystem::path record;  ///< empty: no recording
  record::RecorderOptions recorder;
  std::filesystem::path checkpoint;   ///< empty: no checkpoints
  std::int64_t checkpoint_every = 0;  ///< steps; 0: only at the ends of epochs
  std::int64_t checkpoint_every_epochs =
      0;  ///< keeps every k-th epoch for good, with its last gradients; 0: none
  ResumeMode resume = ResumeMode::no;

  std::int64_t verify_batches = 0;  ///< batches read twice before training; 0: none
  bool verbose = false;
  bool quiet = false;
  bool json = false;
  std::vector<std::string> command_line;
};

/// Declares the options of TrainingOptions.
void declare_training_options(CommandLine& line, const TrainerDefaults& defaults);

/// Throws Error(invalid_argument) for values that cannot work together, Error(unsupported) for a CUDA device
/// that cannot be used. Comes before anything else of LibTorch (cuda_device).
TrainingOptions read_training_options(const CommandLine& line);

}  // namespace lockstep::trainers
