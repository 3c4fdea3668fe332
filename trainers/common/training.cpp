#include "common/training.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <torch/torch.h>

#include "common/checkpointing.h"
#include "common/interrupt.h"
#include "common/loading.h"
#include "common/progress.h"
#include "common/run_info.h"
#include "common/task.h"
#include "lockstep/base/error.h"
#include "lockstep/torch/gradient_accumulator.h"
#include "lockstep/torch/invariant_mode.h"

namespace lockstep::trainers {
namespace {

double mean_loss(const EpochTotals& totals) { return totals.loss / static_cast<double>(totals.samples); }

std::optional<double> accuracy(const EpochTotals& totals) {
  if (totals.correct < 0) return std::nullopt;
  return static_cast<double>(totals.correct) / static_cast<double>(totals.samples);
}

struct StepResult {
  torch::Tensor loss;
  std::optional<torch::Tensor> correct;
};

}  // namespace

struct Training::Impl {
  Impl(Task& task, const TrainingSetup& setup, const TrainingOptions& options)
      : task_(task),
        setup_(setup),
        options_(options),
        loader_(open_loader(setup.dataset, options, options.workers)),
        batches_(loader_, options.device),
        progress_(!options.quiet && !options.verbose) {
    state_.program = setup.program;
    state_.semantic = semantic_settings(setup, options);
    task.module().to(options.device);
    if (options.invariant && task.uses_autograd()) accumulator_.emplace(task.module());
  }

  void open();
  bool step();
  TrainingResult finish();

  void check_epoch() const;
  void resume();
  void open_recorder();
  void train_step(const loader::DeviceBatch& batch);
  StepResult accumulate(const MicroBatch& whole);
  PartResult accumulate_part(const MicroBatch& part);
  void record_batch(const loader::Batch& batch);
  void record_initial_parameters();
  void record_outcome(const StepResult& result, const loader::Batch& batch);
  void record_update();
  void count(const StepResult& result, const loader::Batch& batch);
  bool checkpoint_is_due(const loader::Batch& batch) const;
  void write_checkpoint(bool end_of_epoch);
  bool end_of_epoch(const loader::Batch& batch) const {
    return batch.index + 1 == loader_.batches_per_epoch();
  }
  bool at_last_step() const { return options_.max_steps >= 0 && state_.next_step >= options_.max_steps; }
  void end_epoch();
  void report_epoch();
  void show_progress(const loader::Batch& batch);
  void notice(const std::string& text);

  Task& task_;
  const TrainingSetup& setup_;
  const TrainingOptions& options_;
  loader::Loader loader_;
  loader::DeviceBatches batches_;
  Progress progress_;
  std::optional<GradientAccumulator> accumulator_;
  std::unique_ptr<TrainingRecorder> recorder_;
  TrainerState state_;
  EpochTotals reported_;      // of the last whole epoch
  std::int64_t samples_ = 0;  // in this process
  bool resumed_ = false;
  bool epoch_open_ = false;
  bool checkpoint_due_ = false;  // after the step that is open
  bool ended_ = false;
  int signal_ = 0;
};

void Training::Impl::open() {
  check_epoch();
  resume();
  ended_ = state_.epoch >= options_.epochs || at_last_step();
  if (ended_)
    notice(fmt::format("nothing left to do after step {}; pass larger --epochs or --max-steps to go on",
                       state_.next_step));
  else
    open_recorder();
}

bool Training::Impl::step() {
  while (!ended_) {
    if (!epoch_open_) loader_.begin(state_.epoch), epoch_open_ = true;
    const std::optional<loader::DeviceBatch> batch = batches_.next();
    if (!batch) {
      end_epoch();
      continue;
    }
    if (batch->host.rows() == 0) continue;  // every record of the batch was skipped
    train_step(*batch);
    show_progress(batch->host);
    ended_ = signal_ != 0 || (at_last_step() && !end_of_epoch(batch->host));
    return true;
  }
  return false;
}

void Training::Impl::end_epoch() {
  report_epoch();
  epoch_open_ = false;
  ++state_.epoch;
  state_.totals = {};
  ended_ = at_last_step() || state_.epoch >= options_.epochs;
}

void Training::Impl::check_epoch() const {
  if (loader_.batches_per_epoch() > 0 || options_.epochs == 0) return;
  fail(ErrorCode::invalid_argument,
       {setup_.program, "batches in an epoch", "at least one",
        fmt::format("none: {} records, --batch-size {}, --last-batch {}", setup_.dataset->size(),
                    options_.batch_size, last_batch_name(options_.last)),
        "Pass a smaller --batch-size, or --last-batch keep"});
}

void Training::Impl::resume() {
  if (options_.resume == ResumeMode::no) return;
  const state::CheckpointSearch found = state::find_checkpoint(options_.checkpoint);
  for (const std::string& message : found.damaged) notice("passed over a damaged checkpoint: " + message);
  if (!found.checkpoint) {
    if (options_.resume == ResumeMode::automatic && found.damaged.empty()) return;
    fail(found.damaged.empty() ? ErrorCode::not_found : ErrorCode::corruption,
         {"--resume", "checkpoint in " + options_.checkpoint.string(), "a whole one",
          found.damaged.empty() ? "none" : "damaged ones only",
          "Start anew without --resume, with an empty --checkpoint folder"});
  }
  state_ = restore_checkpoint(*found.checkpoint, setup_.program, state_.semantic, loader_, task_);
  ++state_.segment;
  resumed_ = true;
  notice(fmt::format("resumed at step {} from {}", state_.next_step, found.file.string()));
}

void Training::Impl::open_recorder() {
  if (options_.record.empty()) return;
  record::RunInfo info = make_run_info(setup_, options_);
  if (!state_.run_id.empty()) {
    info.run_id = state_.run_id;
    info.started_ns = state_.started_ns;
    info.segment = state_.segment;
  }
  info.first_step = state_.next_step;
  recorder_ = std::make_unique<TrainingRecorder>(options_.record, std::move(info), options_.recorder);
  state_.run_id = recorder_->info().run_id;
  state_.started_ns = recorder_->info().started_ns;
  state_.segment = recorder_->info().segment;
  for (const auto& [field, name] : setup_.field_names) recorder_->name_field(field, name);
  if (resumed_) recorder_->event("resume", fmt::format("from the checkpoint of step {}", state_.next_step));
  notice("recording to " + recorder_->file().string());
}

void Training::Impl::train_step(const loader::DeviceBatch& on_device) {
  const loader::Batch& batch = on_device.host;
  signal_ = interrupted();
  checkpoint_due_ = checkpoint_is_due(batch);
  record_batch(batch);
  task_.zero_gradients();
  task_.begin_step(state_.next_step);
  const InvariantMode mode(options_.invariant);
  const StepResult result = accumulate(whole_batch(on_device));
  {
    const InvariantMode off(false);  // what is recorded is only looked at
    record_outcome(result, batch);
  }
  task_.update();
  record_update();
  count(result, batch);
  if (options_.verbose) {
    fmt::print("step {}\n{}", state_.next_step - 1, task_.step_report());
    std::fflush(stdout);
  }
  if (checkpoint_due_) write_checkpoint(end_of_epoch(batch));
}

void Training::Impl::count(const StepResult& result, const loader::Batch& batch) {
  ++state_.next_step;
  samples_ += batch.rows();
  EpochTotals& totals = state_.totals;
  totals.samples += batch.rows();
  totals.loss += result.loss.item<double>() * static_cast<double>(batch.rows());
  if (result.correct)
    totals.correct = std::max<std::int64_t>(totals.correct, 0) + result.correct->item<std::int64_t>();
}

StepResult Training::Impl::accumulate(const MicroBatch& whole) {
  const bool one = options_.micro_batch >= whole.rows;
  StepResult result;
  for (std::int64_t first = 0; first < whole.rows; first += options_.micro_batch) {
    MicroBatch part{
        {}, first, std::min(options_.micro_batch, whole.rows - first), whole.rows, options_.invariant};
    for (const NamedTensor& field : whole.fields)
      part.fields.push_back(
          {field.name, one ? field.tensor : field.tensor.narrow(0, part.first_sample, part.rows)});
    const PartResult piece = accumulate_part(part);
    const torch::Tensor loss = piece.loss.detach();
    result.loss = result.loss.defined() && !options_.invariant ? result.loss + loss : loss;
    if (piece.correct) result.correct = result.correct ? *result.correct + *piece.correct : *piece.correct;
  }
  batches_.prefetch();  // while the device computes
  if (accumulator_) result.loss = torch::scalar_tensor(task_.invariant_loss(accumulator_->finish()));
  return result;
}

PartResult Training::Impl::accumulate_part(const MicroBatch& part) {
  if (!accumulator_) return task_.accumulate(part);
  if (part.first_sample == 0) accumulator_->begin(part.global_rows);
  const auto scope = accumulator_->micro_batch(part.first_sample, part.rows);
  return task_.accumulate(part);
}

void Training::Impl::record_batch(const loader::Batch& batch) {
  if (!recorder_) return;
  recorder_->begin_step(state_.next_step, batch.epoch, batch.index);
  std::vector<record::FieldPart> fields;
  for (std::size_t i = 0; i < batch.fields.size(); ++i) fields.push_back({batch.names[i], batch.fields[i]});
  recorder_->batch_part(0, batch.ids, fields);
  for (const loader::BadSampleEvent& bad : batch.bad)
    recorder_->event("bad_sample",
                     fmt::format("record {} at position {}: {}", bad.record, bad.position, bad.reason));
  if (checkpoint_due_) recorder_->force_tensors();
  if (state_.next_step == 0 && recorder_->wants_tensors()) record_initial_parameters();
}

/// So that a comparison can tell another start from another computation.
void Training::Impl::record_initial_parameters() {
  std::vector<NamedTensor> parameters;
  for (const auto& parameter : task_.module().named_parameters())
    parameters.push_back({"initial " + parameter.key(), parameter.value()});
  recorder_->record_tensors(record::Phase::named, parameters);
}

void Training::Impl::record_outcome(const StepResult& result, const loader::Batch& batch) {
  if (!recorder_) return;
  recorder_->loss("loss", result.loss);
  if (result.correct)
    recorder_->loss("accuracy", result.correct->item<double>() / static_cast<double>(batch.rows()));
  recorder_->record_gradients(task_.module());
}

void Training::Impl::record_update() {
  if (!recorder_) return;
  if (task_.optimizer() != nullptr) recorder_->record_optimizer(*task_.optimizer(), task_.module());
  recorder_->record_parameters(task_.module());
  if (checkpoint_due_) recorder_->event("checkpoint", fmt::format("of step {}", state_.next_step + 1));
  recorder_->end_step();
}

/// Asked before the step: whether a checkpoint is to be written after it.
bool Training::Impl::checkpoint_is_due(const loader::Batch& batch) const {
  if (options_.checkpoint.empty()) return false;
  const std::int64_t steps = state_.next_step + 1;
  return signal_ != 0 || end_of_epoch(batch) || steps == options_.max_steps ||
         (options_.checkpoint_every > 0 && steps % options_.checkpoint_every == 0);
}

void Training::Impl::write_checkpoint(bool end_of_epoch) {
  if (recorder_) recorder_->sync();
  const state::Checkpoint checkpoint = make_checkpoint(state_, loader_, task_);
  state::write_checkpoint(options_.checkpoint, checkpoint);
  const std::int64_t every = options_.checkpoint_every_epochs;
  if (end_of_epoch && every > 0 && (state_.epoch + 1) % every == 0)
    keep_checkpoint(options_.checkpoint, checkpoint, task_);
}

void Training::Impl::report_epoch() {
  if (state_.totals.samples == 0) return;
  reported_ = state_.totals;
  if (options_.quiet || options_.json) return;
  progress_.clear();
  const auto right = accuracy(reported_);
  fmt::print("epoch {}: loss {:.6f}{}\n", state_.epoch + 1, mean_loss(reported_),
             right ? fmt::format(", accuracy {:.2f} %", 100 * *right) : "");
  std::fflush(stdout);
}

void Training::Impl::show_progress(const loader::Batch& batch) {
  progress_.update({state_.epoch, options_.epochs, batch.index + 1, loader_.batches_per_epoch(), samples_,
                    mean_loss(state_.totals), accuracy(state_.totals)});
}

void Training::Impl::notice(const std::string& text) {
  progress_.clear();
  if (!options_.quiet) fmt::print(stderr, "{}: {}\n", setup_.program, text);
}

TrainingResult Training::Impl::finish() {
  progress_.clear();
  TrainingResult result;
  result.steps = state_.next_step;
  result.signal = signal_;
  const EpochTotals& last = state_.totals.samples > 0 ? state_.totals : reported_;
  if (last.samples > 0) result.last_loss = mean_loss(last), result.last_accuracy = accuracy(last);
  result.skipped = loader_.skipped();
  result.substituted = loader_.substituted();
  if (!recorder_) return result;
  result.recording = recorder_->file();
  if (signal_ != 0)
    recorder_->event("interrupted", fmt::format("signal {} after step {}", signal_, state_.next_step - 1));
  else
    recorder_->close();
  result.recording_failure = recorder_->failure();
  return result;
}

Training::Training(Task& task, const TrainingSetup& setup, const TrainingOptions& options)
    : impl_(std::make_unique<Impl>(task, setup, options)) {
  impl_->open();
}
Training::~Training() = default;

bool Training::step() { return impl_->step(); }
std::int64_t Training::steps() const { return impl_->state_.next_step; }
TrainingResult Training::finish() { return impl_->finish(); }

TrainingResult train(Task& task, const TrainingSetup& setup, const TrainingOptions& options) {
  Training training(task, setup, options);
  while (training.step()) {
  }
  return training.finish();
}

}  // namespace lockstep::trainers
