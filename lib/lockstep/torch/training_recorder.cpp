#include "lockstep/torch/training_recorder.h"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include <torch/nn/module.h>
#include <torch/optim.h>

#include "lockstep/base/error.h"
#include "lockstep/fingerprint/statistics.h"
#include "lockstep/torch/environment.h"
#include "lockstep/torch/late_fingerprints_internal.h"
#include "lockstep/torch/tensor_view.h"

namespace lockstep {
namespace {

record::RunInfo with_environment(record::RunInfo info) {
  for (auto& [name, value] : torch_environment()) info.environment.try_emplace(name, value);
  return info;
}

using Names = std::unordered_map<const void*, std::string>;

Names parameter_names(const torch::nn::Module& module) {
  Names names;
  for (const auto& parameter : module.named_parameters())
    names.emplace(parameter.value().unsafeGetTensorImpl(), parameter.key());
  return names;
}

std::string name_of(const Names& names, const at::Tensor& parameter, std::size_t group, std::size_t index) {
  const auto found = names.find(parameter.unsafeGetTensorImpl());
  return found != names.end() ? found->second : fmt::format("group{}.parameter{}", group, index);
}

using Buffers = std::vector<NamedTensor>;

void add_step(Buffers& buffers, std::int64_t step) {
  buffers.push_back({"step", torch::tensor(step, torch::dtype(torch::kLong))});
}

void add_tensor(Buffers& buffers, const char* name, const at::Tensor& tensor) {
  if (tensor.defined()) buffers.push_back({name, tensor});
}

template <class AdamState>
Buffers adam_buffers(const AdamState& state) {
  Buffers buffers;
  add_step(buffers, state.step());
  add_tensor(buffers, "exp_avg", state.exp_avg());
  add_tensor(buffers, "exp_avg_sq", state.exp_avg_sq());
  add_tensor(buffers, "max_exp_avg_sq", state.max_exp_avg_sq());
  return buffers;
}

Buffers rmsprop_buffers(const torch::optim::RMSpropParamState& state) {
  Buffers buffers;
  add_step(buffers, state.step());
  add_tensor(buffers, "square_avg", state.square_avg());
  add_tensor(buffers, "momentum_buffer", state.momentum_buffer());
  add_tensor(buffers, "grad_avg", state.grad_avg());
  return buffers;
}

Buffers state_buffers(const torch::optim::OptimizerParamState& state, const std::string& parameter) {
  Buffers buffers;
  if (const auto* sgd = dynamic_cast<const torch::optim::SGDParamState*>(&state)) {
    add_tensor(buffers, "momentum_buffer", sgd->momentum_buffer());
    return buffers;
  }
  if (const auto* adam = dynamic_cast<const torch::optim::AdamParamState*>(&state))
    return adam_buffers(*adam);
  if (const auto* adamw = dynamic_cast<const torch::optim::AdamWParamState*>(&state))
    return adam_buffers(*adamw);
  if (const auto* rmsprop = dynamic_cast<const torch::optim::RMSpropParamState*>(&state))
    return rmsprop_buffers(*rmsprop);
  if (const auto* adagrad = dynamic_cast<const torch::optim::AdagradParamState*>(&state)) {
    add_step(buffers, adagrad->step());
    add_tensor(buffers, "sum", adagrad->sum());
    return buffers;
  }
  fail(ErrorCode::unsupported,
       {"record_optimizer", "state of " + parameter, "SGD, Adam, AdamW, Adagrad or RMSprop",
        "another optimizer", "Record its buffers with record_tensor(Phase::optimizer, …)"});
}

void require_rows(const NamedTensor& field, std::size_t rows) {
  if (field.tensor.defined() && field.tensor.dim() >= 1 &&
      field.tensor.size(0) == static_cast<std::int64_t>(rows))
    return;
  fail(ErrorCode::invalid_argument,
       {"batch_part", "field " + field.name, fmt::format("[{}, …]", rows),
        field.tensor.defined() ? c10::str(field.tensor.sizes()) : "an undefined tensor",
        "Pass one row a sample id"});
}

bool any_on_cuda(const std::vector<NamedTensor>& tensors) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const NamedTensor& one) { return one.tensor.defined() && one.tensor.is_cuda(); });
}

/// The CUDA devices of some tensors, each once.
std::vector<at::Device> devices_of(const std::vector<at::Tensor>& tensors) {
  std::vector<at::Device> devices;
  for (const at::Tensor& tensor : tensors)
    if (tensor.is_cuda() && std::find(devices.begin(), devices.end(), tensor.device()) == devices.end())
      devices.push_back(tensor.device());
  return devices;
}

void record_late_loss(record::LateRecorder& late, const std::string& name, const at::Tensor& value) {
  late.next_call().require_step("loss");
  if (late.has_failed()) return;
  const bool is_double = value.scalar_type() == at::kDouble;
  const at::Tensor held = dense(is_double ? value.detach() : value.detach().to(at::kFloat));
  late.make_room(held.nbytes());
  const at::Tensor fetched = start_fetching(held);
  late.later(std::make_unique<StreamArrival>(devices_of({held})), held.nbytes(),
             [name, fetched, is_double](record::Recorder& recorder) {
               if (is_double)
                 recorder.loss(name, *fetched.const_data_ptr<double>());
               else
                 recorder.loss(name, *fetched.const_data_ptr<float>());
             });
}

void fill(record::TensorSummary& summary, const fingerprint::Fingerprint& found, bool statistics) {
  const Shape shape(summary.shape.data(), summary.shape.size());
  summary.digest = fingerprint::finish(found.digest, summary.dtype, shape);
  if (statistics) summary.statistics = fingerprint::finish(found.moments);
}

}  // namespace

TrainingRecorder::TrainingRecorder(const std::filesystem::path& directory, record::RunInfo info,
                                   record::RecorderOptions options)
    : late_(directory, with_environment(std::move(info)), options) {}

void TrainingRecorder::begin_step(std::int64_t step, std::int64_t epoch, std::int64_t batch_index) {
  late_.begin_step(step, epoch, batch_index);
}

void TrainingRecorder::batch_part(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                                  const std::vector<NamedTensor>& fields) {
  if (late_.has_failed()) return;
  for (const NamedTensor& field : fields) require_rows(field, ids.size());
  if (!any_on_cuda(fields)) {
    std::vector<at::Tensor> held;  // views borrow from these until the recorder has read them
    std::vector<record::FieldPart> parts;
    held.reserve(fields.size());
    for (const NamedTensor& field : fields) {
      held.push_back(viewable(field.tensor));
      parts.push_back({field.name, view_of(held.back())});
    }
    late_.batch_part(first_sample, ids, parts);
  } else if (late_.is_in_full() || !LateFingerprints::have_kernels()) {
    batch_part_values(first_sample, ids, fields);
  } else {
    batch_part_digests(first_sample, ids, fields);
  }
}

void TrainingRecorder::batch_part_digests(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                                          const std::vector<NamedTensor>& fields) {
  LateFingerprints fingerprints;
  std::vector<record::FieldPart> parts;
  for (const NamedTensor& field : fields) {
    const at::Tensor held = field.tensor.is_cuda() ? dense(field.tensor) : viewable(field.tensor);
    parts.push_back({field.name, view_of_dense(held)});
    if (field.tensor.is_cuda())
      fingerprints.add(held, first_sample, false);
    else
      parts.back().digest = fingerprint::digest_samples(parts.back().samples, first_sample);
    parts.back().samples.data = nullptr;
  }
  late_.next_call().batch_part(first_sample, static_cast<std::int64_t>(ids.size()), parts);
  late_.make_room(fingerprints.bytes());
  fingerprints.start();
  late_.later(std::make_unique<StreamArrival>(fingerprints.devices()), fingerprints.bytes(),
              [first_sample, ids, parts, fingerprints](record::Recorder& recorder) {
                std::vector<record::FieldPart> known = parts;
                std::size_t next = 0;
                for (record::FieldPart& part : known)
                  if (!part.digest) part.digest = fingerprints[next++].digest;
                recorder.batch_part(first_sample, ids, known);
              });
}

void TrainingRecorder::batch_part_values(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                                         const std::vector<NamedTensor>& fields) {
  std::vector<at::Tensor> held;
  std::vector<record::FieldPart> shapes;
  std::size_t bytes = 0;
  for (const NamedTensor& field : fields) {
    held.push_back(dense(field.tensor));
    shapes.push_back({field.name, view_of_dense(held.back())});
    bytes += held.back().nbytes();
  }
  late_.next_call().batch_part(first_sample, static_cast<std::int64_t>(ids.size()), shapes);
  late_.make_room(bytes);
  const std::vector<at::Device> devices = devices_of(held);
  for (at::Tensor& tensor : held)  // the caller may write to what is his
    tensor = tensor.is_cuda() ? start_fetching(tensor) : viewable(tensor).clone();
  late_.later(std::make_unique<StreamArrival>(devices), bytes,
              [first_sample, ids, shapes, held](record::Recorder& recorder) {
                std::vector<record::FieldPart> parts = shapes;
                for (std::size_t i = 0; i < parts.size(); ++i) parts[i].samples = view_of(held[i]);
                recorder.batch_part(first_sample, ids, parts);
              });
}

void TrainingRecorder::record_batch(std::int64_t step, std::int64_t epoch, std::int64_t batch_index,
                                    const std::vector<std::int64_t>& ids,
                                    const std::vector<NamedTensor>& fields) {
  begin_step(step, epoch, batch_index);
  batch_part(0, ids, fields);
}

void TrainingRecorder::name_field(const std::string& field, const std::string& dataset_and_variant) {
  late_.name_field(field, dataset_and_variant);
}

void TrainingRecorder::loss(const std::string& name, const at::Tensor& value) {
  if (!value.defined() || value.numel() != 1 || !value.is_floating_point())
    fail(ErrorCode::invalid_argument,
         {"loss", name, "one floating-point element",
          value.defined() ? c10::str(value.sizes(), " of ", value.scalar_type()) : "an undefined tensor",
          "Reduce it to its sum or mean first"});
  if (value.is_cuda()) return record_late_loss(late_, name, value);
  // item() would take longer than the rest of the call.
  if (value.scalar_type() == at::kFloat && value.is_cpu() && !value.is_neg())
    late_.loss(name, *value.const_data_ptr<float>());
  else if (value.scalar_type() == at::kDouble)
    late_.loss(name, value.item<double>());
  else
    late_.loss(name, value.item<float>());
}

void TrainingRecorder::named(const std::string& name, const at::Tensor& tensor) {
  record_tensor(record::Phase::named, name, tensor);
}

void TrainingRecorder::record_tensor(record::Phase phase, const std::string& name, const at::Tensor& tensor) {
  record_tensors(phase, {{name, tensor}});
}

void TrainingRecorder::record_tensors(record::Phase phase, const std::vector<NamedTensor>& tensors) {
  if (late_.has_failed()) return;
  const bool need_values = late_.options().tensor_values || !LateFingerprints::have_kernels();
  if (!need_values && any_on_cuda(tensors)) return record_fingerprints(phase, tensors);
  for (const NamedTensor& one : tensors) {
    if (one.tensor.defined() && one.tensor.is_cuda()) {
      record_values(phase, one);
    } else {
      const at::Tensor held = viewable(one.tensor);
      late_.tensor(phase, one.name, view_of(held));
    }
  }
}

void TrainingRecorder::record_values(record::Phase phase, const NamedTensor& one) {
  const at::Tensor held = dense(one.tensor);
  to_dtype(held.scalar_type());
  late_.next_call().tensor(phase);
  late_.make_room(held.nbytes());
  const at::Tensor values = start_fetching(held);
  late_.later(std::make_unique<StreamArrival>(devices_of({held})), held.nbytes(),
              [phase, name = one.name, values](record::Recorder& recorder) {
                recorder.tensor(phase, name, view_of(values));
              });
}

void TrainingRecorder::record_fingerprints(record::Phase phase, const std::vector<NamedTensor>& tensors) {
  LateFingerprints fingerprints;
  std::vector<record::TensorSummary> summaries;
  std::vector<std::size_t> late;  // places in `summaries` of those on a device
  for (const NamedTensor& one : tensors) {
    if (one.tensor.defined() && one.tensor.is_cuda()) {
      const at::Tensor held = dense(one.tensor);
      const ConstView view = view_of_dense(held);
      late.push_back(summaries.size());
      summaries.push_back({one.name, view.dtype, {view.shape.begin(), view.shape.end()}, {}, {}, {}, {}});
      fingerprints.add(held, 0, late_.options().tensor_statistics);
    } else {
      const at::Tensor held = viewable(one.tensor);
      summaries.push_back(record::Recorder::summary(one.name, view_of(held), late_.options()));
    }
  }
  late_.next_call().tensor(phase);
  late_.make_room(fingerprints.bytes());
  fingerprints.start();
  late_.later(std::make_unique<StreamArrival>(fingerprints.devices()), fingerprints.bytes(),
              [phase, summaries, late, fingerprints,
               statistics = late_.options().tensor_statistics](record::Recorder& recorder) mutable {
                for (std::size_t i = 0; i < late.size(); ++i)
                  fill(summaries[late[i]], fingerprints[i], statistics);
                for (record::TensorSummary& summary : summaries) recorder.tensor(phase, std::move(summary));
              });
}

void TrainingRecorder::record_gradients(const torch::nn::Module& module) {
  if (!wants_tensors()) return;
  std::vector<NamedTensor> gradients;
  for (const auto& parameter : module.named_parameters())
    if (parameter.value().grad().defined()) gradients.push_back({parameter.key(), parameter.value().grad()});
  record_tensors(record::Phase::gradient, gradients);
}

void TrainingRecorder::record_parameters(const torch::nn::Module& module) {
  if (!wants_tensors()) return;
  std::vector<NamedTensor> tensors;
  for (const auto& parameter : module.named_parameters())
    tensors.push_back({parameter.key(), parameter.value()});
  for (const auto& buffer : module.named_buffers())
    if (buffer.value().defined()) tensors.push_back({buffer.key(), buffer.value()});
  record_tensors(record::Phase::parameter, tensors);
}

void TrainingRecorder::record_optimizer(const torch::optim::Optimizer& optimizer,
                                        const torch::nn::Module& module) {
  if (!wants_tensors()) return;
  const Names names = parameter_names(module);
  const auto& groups = optimizer.param_groups();
  std::vector<NamedTensor> tensors;
  for (std::size_t group = 0; group < groups.size(); ++group) {
    const auto& parameters = groups[group].params();
    for (std::size_t index = 0; index < parameters.size(); ++index) {
      const auto state = optimizer.state().find(parameters[index].unsafeGetTensorImpl());
      if (state == optimizer.state().end()) continue;
      const std::string name = name_of(names, parameters[index], group, index);
      for (const NamedTensor& buffer : state_buffers(*state->second, name))
        tensors.push_back({name + '.' + buffer.name, buffer.tensor});
    }
  }
  record_tensors(record::Phase::optimizer, tensors);
}

}  // namespace lockstep
