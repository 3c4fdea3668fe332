#include "common/options.h"

#include <algorithm>

#include "lockstep/base/error.h"
#include "lockstep/torch/environment.h"

namespace lockstep::trainers {
namespace {

constexpr std::int64_t kMost = 1 << 20;  // more workers, threads or prefetched batches are a typing error

int small(const CommandLine& line, const std::string& name, std::int64_t least) {
  const std::int64_t value = line.integer(name, least);
  if (value > kMost)
    fail(ErrorCode::invalid_argument, {line.program(), "--" + name, "at most " + std::to_string(kMost),
                                       std::to_string(value), "Pass a smaller number"});
  return static_cast<int>(value);
}

/// A global batch of `batch_size` in `accum_steps` pieces of equal size, the last one shorter.
std::int64_t micro_batch_of(const CommandLine& line, std::int64_t batch_size, std::int64_t accum_steps) {
  if (!line.given("micro-batch")) return (batch_size + accum_steps - 1) / accum_steps;
  if (line.given("accum-steps"))
    fail(ErrorCode::invalid_argument,
         {line.program(), "--micro-batch and --accum-steps", "one of the two", "both",
          "Pass --micro-batch (samples of a piece) or --accum-steps (number of pieces)"});
  return std::min(line.integer("micro-batch", 1), batch_size);
}

ResumeMode resume_of(const CommandLine& line) {
  const std::string mode = line.choice("resume", {"no", "yes", "auto"});
  if (mode != "no" && line.text("checkpoint").empty())
    fail(ErrorCode::invalid_argument, {line.program(), "--resume", "a checkpoint folder", "none",
                                       "Pass --checkpoint DIR with the folder that the earlier run wrote"});
  return mode == "no" ? ResumeMode::no : mode == "yes" ? ResumeMode::required : ResumeMode::automatic;
}

loader::BadSample bad_sample_of(const std::string& name) {
  return name == "fail"   ? loader::BadSample::fail
         : name == "skip" ? loader::BadSample::skip
                          : loader::BadSample::substitute;
}

record::RecorderOptions recorder_of(const CommandLine& line) {
  record::RecorderOptions options;
  options.full_batches = line.integer("record-full-batches", 0);
  options.tensors_every = line.integer("record-tensors-every", 0);
  options.tensor_values = line.flag("record-values");
  options.on_disk_error = line.choice("on-disk-error", {"stop", "go-on"}) == "stop"
                              ? record::OnDiskError::stop
                              : record::OnDiskError::go_on;
  return options;
}

void declare_output_options(CommandLine& line) {
  line.option("record", "", "folder for the recording, one file a run");
  line.option("record-full-batches", "5",
              "first N steps whose batches are recorded with statistics, ids and labels");
  line.option("record-tensors-every", "100",
              "gradients, optimizer state and parameters every N steps; 0: never");
  line.flag("record-values", "with every recorded tensor, its elements");
  line.option("on-disk-error", "stop", "when the recording's disk refuses: stop, or go-on without recording");
  line.option("checkpoint", "", "folder for checkpoints; the last two are kept");
  line.option("checkpoint-every", "0", "a checkpoint every N steps, besides the end of each epoch");
  line.option("checkpoint-every-epochs", "0",
              "keep the checkpoint and gradients of every k-th epoch in DIR/kept");
  line.option_with_implied_value(
      "resume", "no", "yes",
      "go on from the newest whole checkpoint; --resume=auto starts anew when there is none");
  line.option("verify-batches", "0", "before training, read N batches twice with other workers and compare");
  line.flag("verbose", "print every step");
  line.flag("quiet", "print results only");
  line.flag("json", "print the result as one JSON object");
}

}  // namespace

void declare_training_options(CommandLine& line, const TrainerDefaults& defaults) {
  line.option("seed", "0", "of the order, the initial parameters and all augmentation");
  line.option("epochs", defaults.epochs, "passes over the data");
  line.option("batch-size", defaults.batch_size, "samples of one optimizer step (the global batch)");
  line.option("learning-rate", defaults.learning_rate, "step size of the optimizer");
  line.option("max-steps", "-1", "stop after N optimizer steps; -1: never");
  line.option("order", "native", "order of the samples: native, or torch (PyTorch's DataLoader bit for bit)");
  line.option("last-batch", "keep", "a short last batch: keep, drop or wrap");
  line.option("bad-sample", "fail", "a record that cannot be read: fail, skip or substitute");
  line.option("workers", "0", "loader threads; 0 loads in the training thread");
  line.option("prefetch-factor", "2", "batches fetched ahead, per worker");
  line.option("threads", "1", "threads of torch's operations; 0: as torch finds it");
  line.option("device", "cpu", "where the model computes: cpu, cuda or cuda:N, with the same bits");
  line.flag("invariant",
            "lockstep's kernels: the same bits for every micro-batch and number of threads (default)");
  line.flag("no-invariant", "LibTorch's own kernels, to see the difference");
  line.option("accum-steps", "1", "pieces into which a global batch is cut, each with its own backward");
  line.option("micro-batch", "", "the same, as samples of a piece");
  line.option("data", "", "folder or file with the data");
  declare_output_options(line);
}

TrainingOptions read_training_options(const CommandLine& line) {
  TrainingOptions options;
  options.seed = line.seed("seed");
  options.epochs = line.integer("epochs", 0);
  options.batch_size = line.integer("batch-size", 1);
  options.learning_rate = line.number("learning-rate");
  options.max_steps = line.integer("max-steps", -1);
  options.order = line.choice("order", {"native", "torch"}) == "torch" ? OrderKind::torch : OrderKind::native;
  const std::string last = line.choice("last-batch", {"keep", "drop", "wrap"});
  options.last = last == "keep"   ? loader::LastBatch::keep
                 : last == "drop" ? loader::LastBatch::drop
                                  : loader::LastBatch::wrap;
  options.bad_sample = bad_sample_of(line.choice("bad-sample", {"fail", "skip", "substitute"}));
  options.workers = small(line, "workers", 0);
  options.prefetch_factor = small(line, "prefetch-factor", 1);
  options.threads = small(line, "threads", 0);
  options.device = device_named(line.text("device"));
  options.invariant = !line.flag("no-invariant");
  options.accum_steps = line.integer("accum-steps", 1);
  options.micro_batch = micro_batch_of(line, options.batch_size, options.accum_steps);
  options.data = line.text("data");
  options.record = line.text("record");
  options.recorder = recorder_of(line);
  options.checkpoint = line.text("checkpoint");
  options.checkpoint_every = line.integer("checkpoint-every", 0);
  options.checkpoint_every_epochs = line.integer("checkpoint-every-epochs", 0);
  options.resume = resume_of(line);
  options.verify_batches = line.integer("verify-batches", 0);
  options.verbose = line.flag("verbose");
  options.quiet = line.flag("quiet");
  options.json = line.flag("json");
  options.command_line = line.arguments();
  return options;
}

}  // namespace lockstep::trainers
