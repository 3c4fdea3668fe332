#include "lockstep/record/call_order.h"

#include <utility>

#include <fmt/format.h>

#include "lockstep/base/error.h"

namespace lockstep::record {
namespace {

[[noreturn]] void refuse(const char* call, std::string what, std::string expected, std::string got,
                         std::string next) {
  fail(ErrorCode::invalid_argument, {std::string("recorder ") + call, std::move(what), std::move(expected),
                                     std::move(got), std::move(next)});
}

void check_shape(const FieldPart& part, std::int64_t samples) {
  if (part.samples.shape.rank() == 0 || part.samples.shape[0] != samples) {
    refuse("batch_part", fmt::format("field '{}'", part.name), fmt::format("{} samples, one an id", samples),
           "shape " + part.samples.shape.text(), "Put the samples along the first axis");
  }
}

void check_kind(const FieldKind& field, const FieldPart& part) {
  if (field.fits(part)) return;
  const auto text = [](const std::string& name, DType dtype, const Shape& sample) {
    return fmt::format("'{}' {} {}", name, dtype_name(dtype), sample.text());
  };
  refuse("batch_part", "field of a later micro-batch",
         text(field.name, field.dtype, field.sample_shape) + " a sample, as in the first one",
         text(part.name, part.samples.dtype, part.samples.shape.without_first()),
         "Name, dtype and sample shape must not change inside a step");
}

}  // namespace

void CallOrder::require_open(const char* call) const {
  if (closed_) refuse(call, "state", "an open recording", "a closed one", "Make a new Recorder");
}

void CallOrder::require_step(const char* call) const {
  require_open(call);
  if (!step_open_) refuse(call, "state", "an open step", "none", "Call begin_step first");
}

void CallOrder::begin_step(std::int64_t step) {
  require_open("begin_step");
  if (step_open_) {
    refuse("begin_step", "state", "no open step", fmt::format("step {}", last_step_), "Call end_step first");
  }
  if (step <= last_step_) {
    refuse("begin_step", "step", fmt::format("more than {}", last_step_), std::to_string(step),
           "Count optimizer steps over all epochs");
  }
  step_open_ = batch_open_ = true;
  last_step_ = step;
  parts_ = samples_ = 0;
}

void CallOrder::batch_part(std::int64_t first_sample, std::int64_t samples,
                           const std::vector<FieldPart>& fields) {
  require_step("batch_part");
  if (!batch_open_) {
    refuse("batch_part", "order",
           "all micro-batches of a step before its first gradient, optimizer state or parameter",
           "one after it", "Record tensors when the step's last backward is done");
  }
  check_part(first_sample, samples, fields);
  if (parts_ == 0) {
    fields_.resize(fields.size());
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (!fields_[i].fits(fields[i]))
        fields_[i] = {fields[i].name, fields[i].samples.dtype, fields[i].samples.shape.without_first()};
    }
  }
  samples_ += samples;
  ++parts_;
}

void CallOrder::check_part(std::int64_t first_sample, std::int64_t samples,
                           const std::vector<FieldPart>& fields) const {
  if (first_sample != samples_) {
    refuse("batch_part", "first_sample", fmt::format("{}, right after the micro-batch before", samples_),
           std::to_string(first_sample),
           "Hand over micro-batches in ascending order, without gap or overlap");
  }
  for (const FieldPart& part : fields) check_shape(part, samples);
  if (parts_ > 0 && fields.size() != fields_.size()) {
    refuse("batch_part", "number of fields",
           std::to_string(fields_.size()) + " as in the step's first micro-batch",
           std::to_string(fields.size()), "Hand over the same fields with every micro-batch of a step");
  }
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (parts_ > 0) check_kind(fields_[i], fields[i]);
    for (std::size_t k = 0; k < i; ++k) {
      if (fields[k].name == fields[i].name)
        refuse("batch_part", "field name", "distinct names", fmt::format("'{}' twice", fields[i].name),
               "Rename one");
    }
  }
}

void CallOrder::tensor(Phase phase) {
  require_step("tensor");
  if (phase == Phase::batch || phase == Phase::loss) {
    refuse("tensor", "phase", "named, gradient, optimizer or parameter", std::string(phase_name(phase)),
           "Use batch_part for data and loss for losses");
  }
  if (phase != Phase::named && parts_ > 0) batch_open_ = false;
}

void CallOrder::force_tensors() {
  require_step("force_tensors");
  forced_ = true;
}

void CallOrder::end_step() {
  require_step("end_step");
  step_open_ = batch_open_ = forced_ = false;
}

void CallOrder::close() {
  require_open("close");
  if (step_open_)
    refuse("close", "state", "no open step", fmt::format("step {}", last_step_), "Call end_step first");
  closed_ = true;
}

bool CallOrder::wants_tensors(std::int64_t tensors_every) const {
  return step_open_ && (forced_ || (tensors_every > 0 && last_step_ % tensors_every == 0));
}

}  // namespace lockstep::record
