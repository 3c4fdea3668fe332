#include "lockstep/torch/optimizer.h"

#include <algorithm>
#include <map>
#include <span>
#include <utility>

#include <fmt/format.h>

#include <torch/nn/utils/clip_grad.h>

#include "lockstep/base/error.h"
#include "lockstep/optimizer/optimizer.h"
#include "lockstep/torch/dispatch_internal.h"
#include "lockstep/torch/on_device.h"

namespace lockstep {
namespace {

[[noreturn]] void refuse(ErrorCode code, const char* where, const char* what, const std::string& expected,
                         const at::Tensor& tensor, const char* next) {
  fail(code, {where, what, expected, c10::str(tensor.toString(), " ", tensor.sizes()), next});
}

void check_kind(const char* where, const char* what, const at::Tensor& tensor) {
  const bool right = tensor.layout() == at::kStrided && (tensor.is_cpu() || tensor.is_cuda()) &&
                     tensor.scalar_type() == at::kFloat;
  if (!right)
    refuse(ErrorCode::unsupported, where, what, "a dense float32 tensor on the CPU or a CUDA device", tensor,
           "Take torch::optim's own class for it");
}

/// Before anything is written.
void check_parameters(const char* where, torch::optim::Optimizer& optimizer) {
  for (const auto& group : optimizer.param_groups())
    for (const at::Tensor& parameter : group.params()) {
      if (!parameter.grad().defined()) continue;
      check_kind(where, "parameter", parameter);
      check_kind(where, "gradient", parameter.grad());
      if (!parameter.is_contiguous())
        refuse(ErrorCode::invalid_argument, where, "parameter", "contiguous memory", parameter,
               "Call contiguous() on it before the optimizer is made");
    }
}

/// A step's parameters that have a gradient, a list for each device, in the group's order.
std::vector<std::vector<at::Tensor>> by_device(const torch::optim::OptimizerParamGroup& group) {
  std::vector<std::vector<at::Tensor>> lists;
  for (const at::Tensor& parameter : group.params()) {
    if (!parameter.grad().defined()) continue;
    const auto list = std::find_if(lists.begin(), lists.end(), [&](const auto& those) {
      return those.front().device() == parameter.device();
    });
    if (list == lists.end())
      lists.push_back({parameter});
    else
      list->push_back(parameter);
  }
  return lists;
}

/// The gradients' memory, held until a step's end.
class Gradients {
 public:
  const float* hold(const at::Tensor& parameter) {
    held_.push_back(parameter.grad().contiguous());
    return held_.back().const_data_ptr<float>();
  }

 private:
  std::vector<at::Tensor> held_;
};

template <class State>
State* state_of(torch::optim::Optimizer& optimizer, const at::Tensor& parameter) {
  const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
  return found == optimizer.state().end() ? nullptr : static_cast<State*>(found->second.get());
}

template <class State>
State& add_state(torch::optim::Optimizer& optimizer, const at::Tensor& parameter) {
  auto& slot = optimizer.state()[parameter.unsafeGetTensorImpl()];
  slot = std::make_unique<State>();
  return static_cast<State&>(*slot);
}

at::Tensor zeros_beside(const at::Tensor& parameter) {
  return at::zeros_like(parameter, parameter.options().requires_grad(false), at::MemoryFormat::Contiguous);
}

at::Tensor loss_of(const torch::optim::Optimizer::LossClosure& closure) {
  if (!closure) return {};
  const at::AutoGradMode with_gradients(true);
  return closure();
}

/// What autograd is told of memory that changed without it.
void note_changes(const torch::optim::OptimizerParamGroup& group) {
  for (const at::Tensor& parameter : group.params())
    if (parameter.grad().defined()) parameter.unsafeGetTensorImpl()->bump_version();
}

SgdOptions plain(const torch::optim::SGDOptions& options) {
  return {options.lr(), options.momentum(), options.dampening(), options.weight_decay(), options.nesterov()};
}

template <class Options>
AdamOptions plain(const Options& options, bool decoupled) {
  const auto [beta1, beta2] = options.betas();
  return {options.lr(),      beta1, beta2, options.eps(), options.weight_decay(), decoupled,
          options.amsgrad(), false};
}

void step_together(torch::optim::SGD& optimizer, const std::vector<at::Tensor>& of_one_device,
                   const SgdOptions& options) {
  using State = torch::optim::SGDParamState;
  Gradients gradients;
  std::vector<SgdParameter> parameters;
  for (const at::Tensor& parameter : of_one_device) {
    SgdParameter one{parameter.mutable_data_ptr<float>(), gradients.hold(parameter), nullptr,
                     parameter.numel()};
    if (options.momentum != 0) {
      State* state = state_of<State>(optimizer, parameter);
      one.first = state == nullptr;
      if (one.first) {
        state = &add_state<State>(optimizer, parameter);
        state->momentum_buffer(zeros_beside(parameter));
      }
      one.momentum = state->momentum_buffer().mutable_data_ptr<float>();
    }
    parameters.push_back(one);
  }
  const OnDevice on("Sgd", of_one_device.front());
  sgd(parameters, options, on.device(), on.stream());
}

void step_group(torch::optim::SGD& optimizer, const torch::optim::OptimizerParamGroup& group) {
  const SgdOptions options = plain(static_cast<const torch::optim::SGDOptions&>(group.options()));
  for (const auto& parameters : by_device(group)) step_together(optimizer, parameters, options);
  note_changes(group);
}

template <class State>
State& adam_state(torch::optim::Optimizer& optimizer, const at::Tensor& parameter, bool amsgrad) {
  State* state = state_of<State>(optimizer, parameter);
  if (state == nullptr) {
    state = &add_state<State>(optimizer, parameter);
    state->exp_avg(zeros_beside(parameter));
    state->exp_avg_sq(zeros_beside(parameter));
  }
  if (amsgrad && !state->max_exp_avg_sq().defined()) state->max_exp_avg_sq(zeros_beside(parameter));
  return *state;
}

/// Adam and AdamW, whose states differ in their type alone.
template <class State>
void step_together(torch::optim::Optimizer& optimizer, const std::vector<at::Tensor>& of_one_device,
                   const AdamOptions& options) {
  Gradients gradients;
  std::map<std::int64_t, std::vector<AdamParameter>> by_step;  // a parameter may have begun later than others
  for (const at::Tensor& parameter : of_one_device) {
    State& state = adam_state<State>(optimizer, parameter, options.amsgrad);
    by_step[state.step() + 1].push_back(
        {parameter.mutable_data_ptr<float>(), gradients.hold(parameter),
         state.exp_avg().template mutable_data_ptr<float>(),
         state.exp_avg_sq().template mutable_data_ptr<float>(),
         options.amsgrad ? state.max_exp_avg_sq().template mutable_data_ptr<float>() : nullptr,
         parameter.numel()});
  }
  const OnDevice on(options.decoupled_weight_decay ? "AdamW" : "Adam", of_one_device.front());
  for (const auto& [step, parameters] : by_step) adam(parameters, options, step, on.device(), on.stream());
}

template <class State, class Options>
void step_adam_group(torch::optim::Optimizer& optimizer, const torch::optim::OptimizerParamGroup& group,
                     bool decoupled) {
  const AdamOptions options = plain(static_cast<const Options&>(group.options()), decoupled);
  for (const auto& parameters : by_device(group)) step_together<State>(optimizer, parameters, options);
  for (const at::Tensor& parameter : group.params())
    if (parameter.grad().defined()) {
      auto* const state = state_of<State>(optimizer, parameter);
      state->step(state->step() + 1);
    }
  note_changes(group);
}

}  // namespace

at::Tensor Sgd::step(LossClosure closure) {
  const torch::NoGradGuard no_grad;
  at::Tensor loss = loss_of(closure);
  check_parameters("Sgd", *this);
  invariant::take_over_thread_count();
  for (const auto& group : param_groups()) step_group(*this, group);
  return loss;
}

at::Tensor Adam::step(LossClosure closure) {
  const torch::NoGradGuard no_grad;
  at::Tensor loss = loss_of(closure);
  check_parameters("Adam", *this);
  invariant::take_over_thread_count();
  for (const auto& group : param_groups())
    step_adam_group<torch::optim::AdamParamState, torch::optim::AdamOptions>(*this, group, false);
  return loss;
}

at::Tensor AdamW::step(LossClosure closure) {
  const torch::NoGradGuard no_grad;
  at::Tensor loss = loss_of(closure);
  check_parameters("AdamW", *this);
  invariant::take_over_thread_count();
  for (const auto& group : param_groups())
    step_adam_group<torch::optim::AdamWParamState, torch::optim::AdamWOptions>(*this, group, true);
  return loss;
}

at::Tensor clip_gradients(const std::vector<at::Tensor>& parameters, double max_norm) {
  constexpr const char* kName = "clip_gradients";
  const torch::NoGradGuard no_grad;
  invariant::take_over_thread_count();
  std::vector<at::Tensor> dense;
  std::vector<std::span<float>> spans;
  for (const at::Tensor& parameter : parameters) {
    if (!parameter.grad().defined()) continue;
    check_kind(kName, "gradient", parameter.grad());
    dense.push_back(parameter.grad().contiguous());
    spans.emplace_back(dense.back().mutable_data_ptr<float>(),
                       static_cast<std::size_t>(dense.back().numel()));
  }
  const at::Tensor norm = at::empty({}, dense.empty() ? at::TensorOptions(at::kFloat) : dense[0].options());
  {
    OnDevice on(kName, norm);
    for (const at::Tensor& gradient : dense) on.require_here(kName, gradient);
    const std::vector<std::span<const float>> read(spans.begin(), spans.end());
    clip_gradient_norm(spans, static_cast<float>(max_norm), norm.mutable_data_ptr<float>(),
                       on.scratch<float>(gradient_norm_scratch_elements(read)), on.device(), on.stream());
  }
  std::size_t next = 0;
  for (const at::Tensor& parameter : parameters) {
    if (!parameter.grad().defined()) continue;
    const at::Tensor& scaled = dense[next++];
    if (scaled.is_same(parameter.grad()))
      scaled.unsafeGetTensorImpl()->bump_version();
    else
      parameter.grad().copy_(scaled);
  }
  return norm;
}

float clip_gradient_norm(const std::vector<at::Tensor>& parameters, double max_norm) {
  return clip_gradients(parameters, max_norm).item<float>();
}

}  // namespace lockstep
