// torch.classes.lockstep: objects that live longer than a call.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include <torch/custom_class.h>
#include <torch/library.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/batch_invariant_config.h"
#include "lockstep/torch/gradient_accumulator.h"
#include "lockstep/torch/training_recorder.h"

namespace {

using Named = std::vector<std::tuple<std::string, at::Tensor>>;  // list(model.named_parameters())
using Settings = c10::Dict<std::string, std::string>;
using Fields = c10::Dict<std::string, at::Tensor>;

[[noreturn]] void refuse(const char* call, const char* what, const char* expected, const char* got,
                         const char* next) {
  lockstep::fail(lockstep::ErrorCode::invalid_argument, {call, what, expected, got, next});
}

class BatchInvariantConfig : public torch::CustomClassHolder {
 public:
  BatchInvariantConfig(bool force_cpu, std::string precision, std::optional<std::int64_t> manual_seed,
                       bool enforce_deterministic_algorithms, std::int64_t threads) {
    options_.force_cpu = force_cpu;
    options_.precision = std::move(precision);
    if (manual_seed) options_.manual_seed = static_cast<std::uint64_t>(*manual_seed);
    options_.enforce_deterministic_algorithms = enforce_deterministic_algorithms;
    options_.threads = static_cast<int>(threads);
  }
  void enter() {
    if (entered_)
      refuse("BatchInvariantConfig.enter", "state", "one that is not entered", "one that is",
             "Make another one");
    entered_ = std::make_unique<lockstep::BatchInvariantConfig>(options_);
  }
  void exit() { entered_.reset(); }

 private:
  lockstep::BatchInvariantOptions options_;
  std::unique_ptr<lockstep::BatchInvariantConfig> entered_;
};

class GradientAccumulator : public torch::CustomClassHolder {
 public:
  explicit GradientAccumulator(const Named& parameters) : accumulator_(named(parameters)) {}

  void begin(std::int64_t samples, std::optional<double> count) { accumulator_.begin(samples, count); }
  void enter_micro_batch(std::int64_t first_sample, std::int64_t samples, std::vector<std::int64_t> lengths) {
    auto scope = accumulator_.micro_batch(first_sample, samples, std::move(lengths));
    scope_.emplace(std::move(scope));
  }
  void exit_micro_batch() { scope_.reset(); }
  double finish() { return static_cast<double>(accumulator_.finish()); }
  std::vector<double> losses() const { return {accumulator_.losses().begin(), accumulator_.losses().end()}; }
  void cancel() {
    scope_.reset();
    accumulator_.cancel();
  }
  std::int64_t bytes() const { return accumulator_.bytes(); }

 private:
  static torch::OrderedDict<std::string, at::Tensor> named(const Named& parameters) {
    torch::OrderedDict<std::string, at::Tensor> result("parameter");
    for (const auto& [name, tensor] : parameters) result.insert(name, tensor);
    return result;
  }

  lockstep::GradientAccumulator accumulator_;
  std::optional<lockstep::GradientAccumulator::Scope> scope_;
};

class Recorder : public torch::CustomClassHolder {
 public:
  Recorder(const std::string& directory, std::optional<Settings> semantic, std::int64_t tensors_every,
           bool tensor_values, std::int64_t full_batches, std::int64_t rank, std::int64_t world_size)
      : recorder_(directory, info(semantic, rank, world_size),
                  options(tensors_every, tensor_values, full_batches)) {}

  void begin_step(std::int64_t step, std::int64_t epoch, std::optional<std::int64_t> batch_index) {
    recorder_.begin_step(step, epoch, batch_index.value_or(step));
  }
  void batch_part(std::int64_t first_sample, const std::vector<std::int64_t>& ids, const Fields& fields) {
    recorder_.batch_part(first_sample, ids, named(fields));
  }
  void batch(std::int64_t step, const std::vector<std::int64_t>& ids, const Fields& fields,
             std::int64_t epoch, std::optional<std::int64_t> batch_index) {
    begin_step(step, epoch, batch_index);
    batch_part(0, ids, fields);
  }
  void loss(const std::string& name, const c10::IValue& value) {
    if (value.isTensor())
      recorder_.loss(name, value.toTensor().detach());
    else if (value.isDouble() || value.isInt())
      recorder_.loss(name, value.toScalar().toDouble());
    else
      refuse("Recorder.loss", "value", "a tensor with one element, or a number", "something else", "");
  }
  void parameters(const Named& tensors) { record(lockstep::record::Phase::parameter, tensors); }
  void gradients(const Named& parameters) {
    if (!recorder_.wants_tensors()) return;
    std::vector<lockstep::NamedTensor> gradients;
    for (const auto& [name, parameter] : parameters)
      if (parameter.grad().defined()) gradients.push_back({name, parameter.grad()});
    recorder_.record_tensors(lockstep::record::Phase::gradient, gradients);
  }
  void optimizer(const Named& tensors) { record(lockstep::record::Phase::optimizer, tensors); }
  void named_tensor(const std::string& name, const at::Tensor& tensor) {
    recorder_.named(name, tensor.detach());
  }
  bool wants_tensors() const { return recorder_.wants_tensors(); }
  void force_tensors() { recorder_.force_tensors(); }
  void event(const std::string& kind, const std::string& text) { recorder_.event(kind, text); }
  void end_step() { recorder_.end_step(); }
  void sync() { recorder_.sync(); }
  void close() { recorder_.close(); }
  std::string file() const { return recorder_.file().string(); }

 private:
  static lockstep::record::RunInfo info(const std::optional<Settings>& semantic, std::int64_t rank,
                                        std::int64_t world_size) {
    lockstep::record::RunInfo info;
    info.rank = static_cast<std::int32_t>(rank);
    info.world_size = static_cast<std::int32_t>(world_size);
    if (semantic)
      for (const auto& entry : *semantic) info.semantic.emplace(entry.key(), entry.value());
    return info;
  }
  static lockstep::record::RecorderOptions options(std::int64_t tensors_every, bool tensor_values,
                                                   std::int64_t full_batches) {
    lockstep::record::RecorderOptions options;
    options.tensors_every = tensors_every;
    options.tensor_values = tensor_values;
    options.full_batches = full_batches;
    return options;
  }
  static std::vector<lockstep::NamedTensor> named(const Fields& fields) {
    std::vector<lockstep::NamedTensor> result;
    for (const auto& entry : fields) result.push_back({entry.key(), entry.value()});
    return result;
  }
  void record(lockstep::record::Phase phase, const Named& tensors) {
    if (!recorder_.wants_tensors()) return;
    std::vector<lockstep::NamedTensor> plain;
    for (const auto& [name, tensor] : tensors) plain.push_back({name, tensor.detach()});
    recorder_.record_tensors(phase, plain);
  }

  lockstep::TrainingRecorder recorder_;
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(lockstep, library) {
  using torch::arg;
  library.class_<BatchInvariantConfig>("BatchInvariantConfig")
      .def(torch::init<bool, std::string, std::optional<std::int64_t>, bool, std::int64_t>(), "",
           {arg("force_cpu") = true, arg("precision") = "fp32", arg("manual_seed") = arg::none(),
            arg("enforce_deterministic_algorithms") = true, arg("threads") = 0})
      .def("enter", &BatchInvariantConfig::enter)
      .def("exit", &BatchInvariantConfig::exit);
  library.class_<GradientAccumulator>("GradientAccumulator")
      .def(torch::init<const Named&>(), "", {arg("named_parameters")})
      .def("begin", &GradientAccumulator::begin, "", {arg("samples"), arg("count") = arg::none()})
      .def("enter_micro_batch", &GradientAccumulator::enter_micro_batch, "",
           {arg("first_sample"), arg("samples"), arg("lengths") = std::vector<std::int64_t>{}})
      .def("exit_micro_batch", &GradientAccumulator::exit_micro_batch)
      .def("finish", &GradientAccumulator::finish)
      .def("losses", &GradientAccumulator::losses)
      .def("cancel", &GradientAccumulator::cancel)
      .def("bytes", &GradientAccumulator::bytes);
  library.class_<Recorder>("Recorder")
      .def(torch::init<const std::string&, std::optional<Settings>, std::int64_t, bool, std::int64_t,
                       std::int64_t, std::int64_t>(),
           "",
           {arg("directory"), arg("semantic") = arg::none(), arg("tensors_every") = 100,
            arg("tensor_values") = false, arg("full_batches") = 5, arg("rank") = 0, arg("world_size") = 1})
      .def("begin_step", &Recorder::begin_step, "",
           {arg("step"), arg("epoch") = 0, arg("batch_index") = arg::none()})
      .def("batch_part", &Recorder::batch_part, "", {arg("first_sample"), arg("ids"), arg("fields")})
      .def("batch", &Recorder::batch, "",
           {arg("step"), arg("ids"), arg("fields"), arg("epoch") = 0, arg("batch_index") = arg::none()})
      .def("loss", &Recorder::loss, "", {arg("name"), arg("value")})
      .def("gradients", &Recorder::gradients, "", {arg("named_parameters")})
      .def("optimizer", &Recorder::optimizer, "", {arg("named_tensors")})
      .def("parameters", &Recorder::parameters, "", {arg("named_parameters")})
      .def("tensor", &Recorder::named_tensor, "", {arg("name"), arg("tensor")})
      .def("wants_tensors", &Recorder::wants_tensors)
      .def("force_tensors", &Recorder::force_tensors)
      .def("event", &Recorder::event, "", {arg("kind"), arg("text")})
      .def("end_step", &Recorder::end_step)
      .def("sync", &Recorder::sync)
      .def("close", &Recorder::close)
      .def("file", &Recorder::file);
}
