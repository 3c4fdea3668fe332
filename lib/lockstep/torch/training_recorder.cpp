#include "lockstep/torch/training_recorder.h"

#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include <torch/nn/module.h>
#include <torch/optim.h>

#include "lockstep/base/error.h"
#include "lockstep/torch/environment.h"
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

}  // namespace

TrainingRecorder::TrainingRecorder(const std::filesystem::path& directory, record::RunInfo info,
                                   record::RecorderOptions options)
    : recorder_(directory, with_environment(std::move(info)), options) {}

void TrainingRecorder::begin_step(std::int64_t step, std::int64_t epoch, std::int64_t batch_index) {
  recorder_.begin_step(step, epoch, batch_index);
}

void TrainingRecorder::batch_part(std::int64_t first_sample, const std::vector<std::int64_t>& ids,
                                  const std::vector<NamedTensor>& fields) {
  std::vector<at::Tensor> held;  // views borrow from these until the recorder has read them
  std::vector<record::FieldPart> parts;
  held.reserve(fields.size());
  for (const NamedTensor& field : fields) {
    held.push_back(viewable(field.tensor));
    if (held.back().dim() < 1 || held.back().size(0) != static_cast<std::int64_t>(ids.size()))
      fail(ErrorCode::invalid_argument,
           {"batch_part", "field " + field.name, fmt::format("[{}, …]", ids.size()),
            c10::str(field.tensor.sizes()), "Pass one row a sample id"});
    parts.push_back({field.name, view_of(held.back())});
  }
  recorder_.batch_part(first_sample, ids, parts);
}

void TrainingRecorder::record_batch(std::int64_t step, std::int64_t epoch, std::int64_t batch_index,
                                    const std::vector<std::int64_t>& ids,
                                    const std::vector<NamedTensor>& fields) {
  begin_step(step, epoch, batch_index);
  batch_part(0, ids, fields);
}

void TrainingRecorder::name_field(const std::string& field, const std::string& dataset_and_variant) {
  recorder_.name_field(field, dataset_and_variant);
}

void TrainingRecorder::loss(const std::string& name, const at::Tensor& value) {
  if (!value.defined() || value.numel() != 1 || !value.is_floating_point())
    fail(ErrorCode::invalid_argument,
         {"loss", name, "one floating-point element",
          value.defined() ? c10::str(value.sizes(), " of ", value.scalar_type()) : "an undefined tensor",
          "Reduce it to its sum or mean first"});
  // item() would take longer than the rest of the call.
  if (value.scalar_type() == at::kFloat && value.is_cpu() && !value.is_neg())
    recorder_.loss(name, *value.const_data_ptr<float>());
  else if (value.scalar_type() == at::kDouble)
    recorder_.loss(name, value.item<double>());
  else
    recorder_.loss(name, value.item<float>());
}

void TrainingRecorder::named(const std::string& name, const at::Tensor& tensor) {
  record_tensor(record::Phase::named, name, tensor);
}

void TrainingRecorder::record_tensor(record::Phase phase, const std::string& name, const at::Tensor& tensor) {
  const at::Tensor held = viewable(tensor);
  recorder_.tensor(phase, name, view_of(held));
}

void TrainingRecorder::record_gradients(const torch::nn::Module& module) {
  if (!wants_tensors()) return;
  for (const auto& parameter : module.named_parameters())
    if (parameter.value().grad().defined())
      record_tensor(record::Phase::gradient, parameter.key(), parameter.value().grad());
}

void TrainingRecorder::record_parameters(const torch::nn::Module& module) {
  if (!wants_tensors()) return;
  for (const auto& parameter : module.named_parameters())
    record_tensor(record::Phase::parameter, parameter.key(), parameter.value());
  for (const auto& buffer : module.named_buffers())
    if (buffer.value().defined()) record_tensor(record::Phase::parameter, buffer.key(), buffer.value());
}

void TrainingRecorder::record_optimizer(const torch::optim::Optimizer& optimizer,
                                        const torch::nn::Module& module) {
  if (!wants_tensors()) return;
  const Names names = parameter_names(module);
  const auto& groups = optimizer.param_groups();
  for (std::size_t group = 0; group < groups.size(); ++group) {
    const auto& parameters = groups[group].params();
    for (std::size_t index = 0; index < parameters.size(); ++index) {
      const auto state = optimizer.state().find(parameters[index].unsafeGetTensorImpl());
      if (state == optimizer.state().end()) continue;
      const std::string name = name_of(names, parameters[index], group, index);
      for (const NamedTensor& buffer : state_buffers(*state->second, name))
        record_tensor(record::Phase::optimizer, name + '.' + buffer.name, buffer.tensor);
    }
  }
}

}  // namespace lockstep
