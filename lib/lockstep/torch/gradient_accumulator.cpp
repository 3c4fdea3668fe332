#include "lockstep/torch/gradient_accumulator.h"

#include <ATen/ATen.h>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/generator_internal.h"
#include "lockstep/torch/gradient_places_internal.h"
#include "lockstep/torch/invariant_mode.h"

namespace lockstep {

using invariant::Accumulation;
using invariant::MicroBatch;

namespace {

// Numbers of targets are exact; sums of weights are rounded where the batch is cut.
constexpr double kCountTolerance = 1e-6;

[[noreturn]] void refuse(const char* call, std::string what, std::string expected, std::string got,
                         std::string next = {}) {
  fail(ErrorCode::invalid_argument, {std::string("GradientAccumulator ") + call, std::move(what),
                                     std::move(expected), std::move(got), std::move(next)});
}

void add_entry(Accumulation& accumulation, std::string name, const at::Tensor& parameter) {
  if (!parameter.defined() || !parameter.requires_grad()) return;
  if (!parameter.is_leaf()) refuse("constructor", name, "a leaf of the graph", "a computed tensor");
  if (parameter.scalar_type() != at::kFloat)
    refuse("constructor", name, "float32", c10::toString(parameter.scalar_type()));
  if (accumulation.find(parameter) != nullptr) return;  // tied: one parameter under two names
  accumulation.index.emplace(parameter.unsafeGetTensorImpl(), accumulation.entries.size());
  accumulation.entries.push_back({parameter, std::move(name), {}, invariant::prepare_parameter(parameter)});
}

/// What the host learns of the losses, with the numbers of the whole batch.
struct Losses {
  std::vector<double> totals, counted;
  double count = 0;
};

/// One copy, however many they are.
Losses fetch(const Accumulation& batch) {
  std::vector<at::Tensor> numbers;
  for (const invariant::LossPlace& loss : batch.losses) {
    numbers.push_back(loss.sums.select(0, 0));
    numbers.push_back(loss.counted);
  }
  if (batch.derived_count.defined()) numbers.push_back(batch.derived_count);
  Losses losses{{}, {}, batch.count};
  if (numbers.empty()) return losses;
  for (at::Tensor& number : numbers) number = number.to(numbers.front().device());
  const at::Tensor all = at::stack(numbers).to(at::kCPU);
  const auto* next = all.const_data_ptr<double>();
  for (std::size_t i = 0; i < batch.losses.size(); ++i) {
    losses.totals.push_back(*next++);
    losses.counted.push_back(*next++);
  }
  if (!(batch.count > 0) && batch.derived_count.defined()) losses.count = *next;
  return losses;
}

void check_counted(const Accumulation& batch, const Losses& losses) {
  for (std::size_t i = 0; i < batch.losses.size(); ++i) {
    if (!batch.losses[i].is_mean) continue;
    if (!(losses.count > 0))
      refuse("finish", "targets counted by the loss", "at least one", "none",
             "Every target is ignored, or has weight 0");
    if (std::abs(losses.counted[i] - losses.count) > kCountTolerance * losses.count)
      refuse("finish", "targets counted by the loss",
             fmt::format("{}, as begin() was told or the first micro-batch showed", losses.count),
             fmt::to_string(losses.counted[i]), "Give begin() the count of the global batch");
  }
}

}  // namespace

GradientAccumulator::GradientAccumulator(std::vector<at::Tensor> parameters)
    : accumulation_(std::make_shared<Accumulation>()) {
  for (std::size_t i = 0; i < parameters.size(); ++i)
    add_entry(*accumulation_, fmt::format("parameter {}", i), parameters[i]);
  if (accumulation_->entries.empty())
    refuse("constructor", "parameters", "at least one that needs a gradient", "none");
}

GradientAccumulator::GradientAccumulator(const torch::OrderedDict<std::string, at::Tensor>& named_parameters)
    : accumulation_(std::make_shared<Accumulation>()) {
  for (const auto& parameter : named_parameters)
    add_entry(*accumulation_, "'" + parameter.key() + "'", parameter.value());
  if (accumulation_->entries.empty())
    refuse("constructor", "parameters", "at least one that needs a gradient", "none");
}

GradientAccumulator::GradientAccumulator(const torch::nn::Module& module)
    : GradientAccumulator(module.named_parameters()) {}

GradientAccumulator::~GradientAccumulator() { cancel(); }

void GradientAccumulator::begin(std::int64_t samples, std::optional<double> count) {
  Accumulation& batch = *accumulation_;
  if (batch.begun)
    refuse("begin", "state", "no batch that is begun", "one",
           "Call finish(), or cancel() after an exception");
  if (samples <= 0) refuse("begin", "samples", "above 0", std::to_string(samples));
  if (count && !(*count > 0)) refuse("begin", "count", "above 0", fmt::to_string(*count));
  for (const Accumulation::Entry& entry : batch.entries) {
    if (invariant::owner_of(entry.parameter))
      refuse("begin", entry.name, "a parameter of one begun accumulator",
             "one of another begun accumulator too");
    const at::Tensor& gradient = entry.parameter.grad();
    if (gradient.defined() && gradient.ne(0).any().item<bool>())
      refuse("begin", "gradient of " + entry.name, "none, or zeros", "one from before",
             "Call zero_grad() first");
  }
  for (const Accumulation::Entry& entry : batch.entries) invariant::set_owner(entry.parameter, accumulation_);
  batch.begun = true;
  batch.global_samples = samples;
  batch.next_sample = batch.next_row = 0;
  batch.count = count.value_or(0);
  batch.derived_count = at::Tensor();
}

GradientAccumulator::Scope GradientAccumulator::micro_batch(std::int64_t first_sample, std::int64_t samples,
                                                            std::vector<std::int64_t> lengths) {
  Accumulation& batch = *accumulation_;
  if (!batch.begun) refuse("micro_batch", "state", "a begun batch", "none", "Call begin() first");
  if (!invariant_mode_enabled())
    refuse("micro_batch", "state", "the invariant mode", "plain execution, whose sums depend on the cut",
           "Make an InvariantMode first");
  if (is_open()) refuse("micro_batch", "state", "no open micro-batch", "one", "Let its scope end first");
  if (samples <= 0) refuse("micro_batch", "samples", "above 0", std::to_string(samples));
  if (first_sample != batch.next_sample)
    refuse("micro_batch", "first_sample", fmt::format("{}: ascending, without a gap", batch.next_sample),
           std::to_string(first_sample));
  if (samples > batch.global_samples - first_sample)
    refuse("micro_batch", "samples", fmt::format("at most {}", batch.global_samples - first_sample),
           std::to_string(samples), "begin() says how many the global batch has");
  if (!lengths.empty() && lengths.size() != static_cast<std::size_t>(samples))
    refuse("micro_batch", "lengths", fmt::format("{}, one a sample", samples),
           std::to_string(lengths.size()));
  for (const std::int64_t length : lengths)
    if (length <= 0) refuse("micro_batch", "lengths", "above 0", std::to_string(length));
  auto opened = std::make_shared<MicroBatch>();
  opened->accumulation = accumulation_;
  opened->first_sample = first_sample;
  opened->samples = samples;
  opened->global_samples = batch.global_samples;
  opened->lengths = std::move(lengths);
  opened->first_row = batch.next_row;
  at::Tensor draws_after;
  if (first_sample == 0) {
    batch.draws = invariant::generator_state();
  } else {
    draws_after = invariant::generator_state();
    invariant::set_generator_state(batch.draws);
  }
  batch.next_sample += samples;
  batch.next_row += opened->rows();
  open_ = opened;
  return Scope(std::move(opened), std::move(draws_after));
}

GradientAccumulator::Scope::Scope(std::shared_ptr<MicroBatch> micro_batch, at::Tensor draws_after)
    : micro_batch_(micro_batch),
      before_(invariant::set_open_micro_batch(std::move(micro_batch))),
      draws_after_(std::move(draws_after)) {}

GradientAccumulator::Scope::Scope(Scope&& other) noexcept
    : micro_batch_(std::exchange(other.micro_batch_, nullptr)),
      before_(std::move(other.before_)),
      draws_after_(std::move(other.draws_after_)) {}

GradientAccumulator::Scope::~Scope() {
  if (!micro_batch_) return;
  micro_batch_->ended = true;
  invariant::set_open_micro_batch(std::move(before_));
  if (draws_after_.defined()) invariant::set_generator_state(draws_after_);
}

// Graphs hold a micro-batch beyond its scope.
bool GradientAccumulator::is_open() const {
  const auto open = open_.lock();
  return open && !open->ended;
}

void GradientAccumulator::check_complete() const {
  const Accumulation& batch = *accumulation_;
  if (batch.next_sample != batch.global_samples)
    refuse("finish", "samples", fmt::format("all {} of the global batch", batch.global_samples),
           fmt::format("{}", batch.next_sample), "Micro-batches must cover it");
  for (const Accumulation::Entry& entry : batch.entries)
    if (entry.places.empty())
      refuse(
          "finish", entry.name, "a gradient", "none",
          "It was not used in the forward, or backward() was not called; leave it out of the accumulator or "
          "set requires_grad to false");
}

float GradientAccumulator::finish() {
  if (!accumulation_->begun) refuse("finish", "state", "a begun batch", "none", "Call begin() first");
  if (is_open()) refuse("finish", "state", "no open micro-batch", "one", "Let its scope end first");
  const invariant::InsideKernel inside;
  const at::NoGradGuard no_grad;
  Losses losses;
  try {
    check_complete();
    losses = fetch(*accumulation_);
    check_counted(*accumulation_, losses);
  } catch (...) {
    end();
    throw;
  }
  Accumulation& batch = *accumulation_;
  losses_.clear();
  for (std::size_t i = 0; i < losses.totals.size(); ++i)
    losses_.push_back(static_cast<float>(losses.totals[i]) /
                      (batch.losses[i].is_mean ? static_cast<float>(losses.count) : 1.0f));
  for (Accumulation::Entry& entry : batch.entries)
    entry.parameter.mutable_grad() = entry.places.sum(entry.parameter);
  end();
  if (losses_.empty()) return std::numeric_limits<float>::quiet_NaN();
  float sum = losses_.front();
  for (std::size_t i = 1; i < losses_.size(); ++i) sum += losses_[i];
  return sum;
}

void GradientAccumulator::end() {
  Accumulation& batch = *accumulation_;
  for (Accumulation::Entry& entry : batch.entries) {
    entry.places.clear();
    invariant::set_owner(entry.parameter, nullptr);
  }
  batch.losses.clear();
  batch.begun = false;
}

void GradientAccumulator::cancel() {
  if (accumulation_->begun) end();
}

std::int64_t GradientAccumulator::bytes() const {
  std::int64_t bytes = 0;
  for (const Accumulation::Entry& entry : accumulation_->entries) bytes += entry.places.bytes();
  return bytes;
}

}  // namespace lockstep
